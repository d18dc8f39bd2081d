"""A training step captured as a CUDA graph and replayed, with eager work between."""

import digests
import torch_base
import torch

net = torch_base.model()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, capturable=True)
x = torch.zeros(256, 512, device="cuda")
y = torch.zeros(256, dtype=torch.long, device="cuda")


def step():
    optimizer.zero_grad(set_to_none=True)
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss


side = torch.cuda.Stream()
side.wait_stream(torch.cuda.current_stream())
with torch.cuda.stream(side):
    for _ in range(3):
        step()
torch.cuda.current_stream().wait_stream(side)
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    loss = step()
numbers = torch.Generator(device="cuda").manual_seed(2)
total = torch.zeros((), device="cuda", dtype=torch.float64)
for number in range(digests.steps(5000)):
    x.copy_(torch.randn(256, 512, generator=numbers, device="cuda"))
    y.copy_(torch.randint(0, 64, (256,), generator=numbers, device="cuda"))
    graph.replay()
    total += loss
digests.tell("losses", total.item())
torch_base.finish("parameters", net, optimizer)
