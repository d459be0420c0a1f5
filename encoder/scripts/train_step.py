#!/usr/bin/env python3
"""The step of encoder/train's BenchmarkTrainStep in torch, for comparison: 32 queries of 16 tokens and 64 passages of 120
through a BERT checkpoint, MaxSim of all with all, backward, AdamW.
   train_step.py CHECKPOINT [threads] [steps]
Prints tokens/s by wall clock and by processor time, in float32 and under bfloat16 autocast. Used with transformers 5.3.0
and torch 2.11."""
import sys, time
import torch
from transformers import BertModel

folder, threads, steps = sys.argv[1], int((sys.argv + ["1"])[2]), int((sys.argv + ["", "3"])[3])
torch.set_num_threads(threads)


def side(texts, tokens):
    return torch.tensor([[1000 + (i * 7919 + j * 104729) % 20000 for j in range(tokens)] for i in range(texts)])


q, d = side(32, 16), side(64, 120)
for name, low in [("float32", False), ("bfloat16", True)]:
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa").float().eval()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            x, y = [torch.nn.functional.normalize(model(input_ids=t).last_hidden_state, dim=-1) for t in (q, d)]
            loss = torch.einsum("aid,bjd->abij", x, y).amax(-1).sum(-1).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()

    step()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    n = steps * (q.numel() + d.numel())
    print(f"{name}, {threads} threads: {n / (time.perf_counter() - wall):.0f} tokens/s, {n / (time.process_time() - cpu):.0f} per second of processor time", flush=True)
