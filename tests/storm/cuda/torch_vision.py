"""A ResNet: cuDNN's convolutions, mixed precision with a scaled loss, channels last."""

import digests
import torch_base
import torch
import timm

net = timm.create_model("resnet18", num_classes=10).cuda().to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
scaler = torch.amp.GradScaler("cuda")
numbers = torch.Generator(device="cuda").manual_seed(3)
for step in range(digests.steps(250)):
    x = torch.randn(16, 3, 96, 96, generator=numbers, device="cuda").to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (16,), generator=numbers, device="cuda")
    with torch.autocast("cuda", torch.float16):
        loss = torch.nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    if step % 50 == 49:
        digests.tell(f"loss {step}", loss.item())
torch_base.finish("parameters", net, optimizer)
digests.show("buffers", *net.buffers())
