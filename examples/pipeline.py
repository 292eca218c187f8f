"""A pipeline on K processes: torchrun --nproc-per-node 2 examples/pipeline.py

Each process runs a stage; its gradients are then compared with those of the whole model.
"""

import copy

import torch
import torch.distributed as dist
from torch import nn

from mlplab.analysis.partition import partition
from mlplab.analysis.pipeline import pipeline_step

dist.init_process_group("gloo")
torch.manual_seed(0)
layers = [nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)]
model = nn.Sequential(*layers)
inputs, targets = torch.randn(16, 32), torch.randint(10, (16,))
loss = nn.functional.cross_entropy

whole = copy.deepcopy(model)
loss(whole(inputs), targets).backward()
expected = dict(zip(model.parameters(), whole.parameters(), strict=True))

for schedule in ("gpipe", "1f1b"):
    model.zero_grad()
    size = dist.get_world_size()
    split = partition(model, size, inputs, by="memory", num_microbatches=4, schedule=schedule)
    step = pipeline_step(split, inputs, targets, loss, num_microbatches=4, schedule=schedule)
    own = list(split.stages[step.stage].parameters())
    assert all(p.grad is not None for p in own)
    error = max(float((p.grad - expected[p].grad).abs().max()) for p in own)  # pyright: ignore[reportOperatorIssue]
    assert error < 1e-6, error
    line = f"{schedule} stage {step.stage}: gradient differs by at most {error:.1e}, "
    line += f"sent {step.sent_bytes} bytes, held {step.peak_microbatches} micro-batches"
    lines: list = [None] * size
    dist.all_gather_object(lines, line)
    if step.stage == 0:  # one process writes: the lines of two would run into each other
        print("\n".join(lines), flush=True)
dist.destroy_process_group()
