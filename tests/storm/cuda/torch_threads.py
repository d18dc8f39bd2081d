"""Inference as a server does it: threads with a stream each take requests from a queue; memory comes and goes."""

import queue
import threading

import digests
import torch_base
import torch

net = torch_base.model().eval()
requests, answers = queue.Queue(), {}


def serve():
    stream = torch.cuda.Stream()
    with torch.inference_mode(), torch.cuda.stream(stream):
        while (number := requests.get()) is not None:
            x = torch.randn(1 + number * 7 % 61, 512, generator=torch.Generator().manual_seed(number)).pin_memory()
            # cuBLAS picks by size, so each request is computed in one shape.
            padded = torch.nn.functional.pad(x.to("cuda", non_blocking=True), (0, 0, 0, 64 - len(x)))
            answers[number] = net(padded)[: len(x)].float().cpu()


workers = [threading.Thread(target=serve) for _ in range(6)]
for worker in workers:
    worker.start()
count = digests.steps(12000)
for number in range(count):
    requests.put(number)
for worker in workers:
    requests.put(None)
for worker in workers:
    worker.join()
digests.show("answers", *(answers[number] for number in range(count)))
