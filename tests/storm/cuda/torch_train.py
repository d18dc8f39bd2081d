"""A training loop with Adam. The allocator is what PYTORCH_CUDA_ALLOC_CONF says."""

import digests
import torch_base
import torch

net = torch_base.model()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
numbers = torch.Generator(device="cuda").manual_seed(2)
for step in range(digests.steps(3000)):
    # Sizes vary, so that the allocator has work.
    rows = 128 + step * 37 % 256
    x = torch.randn(rows, 512, generator=numbers, device="cuda")
    y = torch.randint(0, 64, (rows,), generator=numbers, device="cuda")
    loss = torch.nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if step % 500 == 499:
        digests.tell(f"loss {step}", loss.item())
torch_base.finish("parameters", net, optimizer)
