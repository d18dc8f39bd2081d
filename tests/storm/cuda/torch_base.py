"""PyTorch, deterministic, and a model that all programs here train."""

import digests
import torch
from torch import nn

if not torch.cuda.is_available():
    digests.absent("this PyTorch sees no CUDA device")
torch.manual_seed(1)
torch.use_deterministic_algorithms(True)
torch.backends.cudnn.benchmark = False


def model(width=2048):
    return nn.Sequential(nn.Linear(512, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width),
                         nn.Linear(width, 64)).cuda()


def finish(name, net, optimizer=None):
    """Parameters, and what the optimizer keeps for each."""
    digests.show(name, *net.parameters())
    if optimizer:
        state = [value for kept in optimizer.state.values() for value in kept.values() if torch.is_tensor(value)]
        digests.show(name + " optimizer", *state)
