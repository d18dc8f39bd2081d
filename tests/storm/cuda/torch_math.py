"""cuFFT, cuSOLVER, sorting, cuRAND: libraries with handles and work areas of their own, on several streams."""

import digests
import torch_base  # noqa: F401
import torch

torch.use_deterministic_algorithms(True, warn_only=True)
numbers = torch.Generator(device="cuda").manual_seed(4)
streams = [torch.cuda.Stream(priority=priority) for priority in (0, -1, 0)]
matrix = torch.randn(384, 384, generator=numbers, device="cuda", dtype=torch.float64)
matrix = matrix @ matrix.T + 384 * torch.eye(384, device="cuda", dtype=torch.float64)
wave = torch.randn(1 << 18, generator=numbers, device="cuda")
order = torch.randperm(1 << 18, generator=numbers, device="cuda")
torch.cuda.synchronize()
for step in range(digests.steps(200)):
    with torch.cuda.stream(streams[0]):
        factor = torch.linalg.cholesky(matrix)
        matrix = factor @ factor.T
        q, r = torch.linalg.qr(matrix[:128, :128])
        solved = torch.linalg.solve(matrix[:256, :256], matrix[:256, :8])
    with torch.cuda.stream(streams[1]):
        wave = torch.fft.irfft(torch.fft.rfft(wave) * 0.999, n=wave.numel())
        image = torch.fft.fft2(wave[: 1 << 16].reshape(256, 256)).abs()
    with torch.cuda.stream(streams[2]):
        order = order[torch.argsort(order[: 1 << 18], stable=True)].roll(step)
    # Each stream waits for the next one's event.
    for stream, other in zip(streams, streams[1:] + streams[:1]):
        stream.wait_event(other.record_event())
torch.cuda.synchronize()
for name, value in {"matrix": matrix, "q": q, "r": r, "solved": solved, "wave": wave, "image": image, "order": order}.items():
    digests.show(name, value)
