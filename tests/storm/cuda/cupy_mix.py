"""CuPy: its pool, elementwise kernels, FFT, sorting, a kernel from source."""

import digests
import cupy

SOURCE = """
extern "C" __global__ void mix(unsigned *a, unsigned n, unsigned by) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) a[i] = a[i] * 1664525u + by;
}"""
mix = cupy.RawKernel(SOURCE, "mix")
words = cupy.arange(1 << 20, dtype=cupy.uint32)
waves = cupy.random.RandomState(1).rand(1 << 18).astype(cupy.float32)
total = cupy.zeros(4, dtype=cupy.float64)
for number in range(digests.steps(1500)):
    mix(((1 << 20) // 256,), (256,), (words, cupy.uint32(1 << 20), cupy.uint32(number)))
    if number % 10 == 0:
        spectrum = cupy.fft.rfft(waves)
        waves = cupy.fft.irfft(spectrum * 0.999).astype(cupy.float32)
        total[number // 10 % 4] += cupy.sort(words[:10000])[77].astype(cupy.float64)
digests.show("words", words)
digests.show("waves", waves)
digests.show("total", total)
