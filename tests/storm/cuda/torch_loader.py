"""A DataLoader with forked workers and pinned memory, copies that nobody waits for."""

import digests
import torch_base
import torch


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return digests.steps(1000) * 64

    def __getitem__(self, place):
        numbers = torch.Generator().manual_seed(place)
        return torch.randn(512, generator=numbers), place % 64


def main():
    net = torch_base.model(1024)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=64, num_workers=2, pin_memory=True, persistent_workers=True)
    seen = torch.zeros((), device="cuda", dtype=torch.float64)
    for x, y in loader:
        x, y = x.cuda(non_blocking=True), y.cuda(non_blocking=True)
        seen += x.double().sum()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    digests.tell("seen", seen.item())
    torch_base.finish("parameters", net)


if __name__ == "__main__":
    main()
