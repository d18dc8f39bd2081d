"""Compiled forward and backward: kernels that Triton makes."""

import digests
import torch_base
import torch

net = torch_base.model()
compiled = torch.compile(net)
optimizer = torch.optim.SGD(net.parameters(), lr=1e-2, momentum=0.9)
numbers = torch.Generator(device="cuda").manual_seed(2)
for step in range(digests.steps(3000)):
    x = torch.randn(256, 512, generator=numbers, device="cuda")
    loss = compiled(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
digests.tell("loss", loss.item())
torch_base.finish("parameters", net, optimizer)
