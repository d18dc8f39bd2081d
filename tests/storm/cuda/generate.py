"""A transformer in bf16 with weights made here, generating. $PARAMETERS (millions, about; default 300), $TOKENS, and with $FOR_EVER set a line
for each round until SIGTERM, for whoever measures moves of it."""

import os
import signal
import time

import digests
import torch_base
import torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {  # millions: hidden, between, layers, heads
    30: (512, 1408, 8, 8),
    300: (1024, 2816, 20, 16),
    1300: (2048, 5504, 24, 16),
    6700: (4096, 11008, 32, 32),
}
hidden, between, layers, heads = SHAPES[int(os.environ.get("PARAMETERS", "300"))]
config = LlamaConfig(hidden_size=hidden, intermediate_size=between, num_hidden_layers=layers, num_attention_heads=heads,
                     num_key_value_heads=heads, vocab_size=32000, max_position_embeddings=4096)
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    net = LlamaForCausalLM(config).eval()
prompt = torch.arange(1, 65, device="cuda").reshape(1, 64)
tokens = int(os.environ.get("TOKENS", "200"))
first = None
round_number = 0
asked_to_end = []
signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
print("running:", torch.cuda.memory_allocated() >> 20, "MiB", flush=True)
while True:
    begun = time.time()
    with torch.inference_mode():
        out = net.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, min_new_tokens=tokens,
                           do_sample=False, pad_token_id=0)
    now = out[0].tolist()
    first = first or now
    if now != first:
        print("PROGRAM WRONG: other tokens than at first", flush=True)
        raise SystemExit(1)
    round_number += 1
    if "FOR_EVER" in os.environ:
        print(f"step {round_number} {begun:.6f} {time.time():.6f}", flush=True)
        if asked_to_end:
            print(f"PROGRAM OK after {round_number} rounds", flush=True)
            break
    elif round_number == digests.steps(6):
        break
digests.tell("tokens", " ".join(map(str, first[64:])))
digests.show("weights", *list(net.parameters())[:8])
