"""A kernel of Triton's own, launched by its own way."""

import digests
import torch_base
import torch
import triton
import triton.language as tl


@triton.jit
def mix(at, n, by, BLOCK: tl.constexpr):
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = places < n
    tl.store(at + places, tl.load(at + places, mask=inside) * 31 + by, mask=inside)


words = torch.arange(1 << 20, dtype=torch.int32, device="cuda")
for number in range(digests.steps(20000)):
    mix[(1 << 10,)](words, 1 << 20, number, BLOCK=1 << 10)
digests.show("words", words)
