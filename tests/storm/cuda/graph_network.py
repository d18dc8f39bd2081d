"""PyTorch Geometric: gather and scatter over a graph, with sizes that vary."""

import digests
import torch_base
import torch
from torch_geometric.nn import SAGEConv


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = SAGEConv(64, 128), SAGEConv(128, 16)

    def forward(self, x, edges):
        return self.second(self.first(x, edges).relu(), edges)


net = Net().cuda()
optimizer = torch.optim.Adam(net.parameters())
numbers = torch.Generator(device="cuda").manual_seed(5)
for step in range(digests.steps(800)):
    nodes = 2000 + step * 53 % 3000
    x = torch.randn(nodes, 64, generator=numbers, device="cuda")
    edges = torch.randint(0, nodes, (2, nodes * 8), generator=numbers, device="cuda")
    optimizer.zero_grad()
    loss = (net(x, edges) - x[:, :16]).square().mean()
    loss.backward()
    optimizer.step()
digests.tell("loss", loss.item())
torch_base.finish("parameters", net, optimizer)
