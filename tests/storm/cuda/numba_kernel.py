"""Numba: a kernel with shared memory, streams, pinned arrays."""

import digests
import numpy

# Numba's own use of a name that NumPy 2.5 no longer has.
if not hasattr(numpy, "row_stack"):
    numpy.row_stack = numpy.vstack
from numba import cuda, uint32

if not cuda.is_available():
    digests.absent("this Numba sees no CUDA device")


@cuda.jit
def turn(words, by):
    part = cuda.shared.array(128, uint32)
    i = cuda.grid(1)
    part[cuda.threadIdx.x] = words[i]
    cuda.syncthreads()
    words[i] = part[127 - cuda.threadIdx.x] * uint32(3) + uint32(by)


host = cuda.pinned_array(1 << 17, dtype=numpy.uint32)
host[:] = numpy.arange(1 << 17, dtype=numpy.uint32)
stream = cuda.stream()
device = cuda.to_device(host, stream=stream)
for number in range(digests.steps(20000)):
    turn[(1 << 17) // 128, 128, stream](device, number)
    if number % 100 == 99:
        device.copy_to_host(host, stream=stream)
stream.synchronize()
digests.show("words", device.copy_to_host())
digests.show("host", host)
