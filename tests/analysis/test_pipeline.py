"""A pipeline on two processes computes the gradients of the whole model, and both follow one plan."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mlplab.analysis.partition import partition
from mlplab.analysis.pipeline import pipeline_step
from mlplab.errors import InvalidInput

ROOT = Path(__file__).parents[2]

# What one process asserts about the other's; started as a program by torchrun.
PROGRAM = '''
import time
import torch
import torch.distributed as dist
from torch import nn
from mlplab.analysis.partition import partition
from mlplab.analysis.pipeline import pipeline_step
from mlplab.errors import InvalidInput

dist.init_process_group("gloo")
rank = dist.get_rank()

def refused(call, message):
    try:
        call()
    except InvalidInput as error:
        assert message in str(error), error
        assert "\\n" not in str(error)
    else:
        raise AssertionError(message)
    dist.barrier()


class Slow(nn.Module):
    """Takes time in another layer in each process."""

    def __init__(self, rank):
        super().__init__()
        self.linear, self.rank = nn.Linear(4, 4), rank

    def forward(self, x):
        time.sleep(0.02 if self.rank == rank else 0.0)
        return self.linear(x)


torch.manual_seed(0)
x, y = torch.randn(8, 4, dtype=torch.float32), torch.randint(4, (8,))
plan = partition(nn.Sequential(Slow(0), Slow(1), Slow(1), Slow(1)), 2, x, by="time", repeats=1)
plans = [None, None]
dist.all_gather_object(plans, plan.to_dict())
assert plans[0] == plans[1], plans
assert plan.boundaries == (0, 1, 4), plan  # that of process 0
refused(
    lambda: partition(nn.Sequential(nn.Linear(4, 4), nn.Linear(4 + (rank == 0), 4)), 2, x),
    "layer '1' must accept its input",
)

torch.manual_seed(0)  # the models above differ, and so did what they drew
model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))
split = partition(model, 2, x, by="memory", num_microbatches=4)
for schedule in ("gpipe", "1f1b"):
    for reduction in ("mean", "sum"):
        def loss(a, b):
            return nn.functional.cross_entropy(a, b, reduction=reduction)

        model.zero_grad()
        expected = torch.autograd.grad(loss(model(x), y), list(model.parameters()))
        step = pipeline_step(split, x, y, loss, 4, schedule=schedule, reduction=reduction)
        for p, g in zip(model.parameters(), expected):
            if any(p is mine for mine in split.stages[rank].parameters()):
                torch.testing.assert_close(p.grad, g, rtol=1e-4, atol=1e-6)
        assert (step.loss is not None) == (rank == 1)
        if rank == 1:
            assert abs(step.loss - float(loss(model(x), y).detach())) < 1e-5
        other = {"mean": "sum", "sum": "mean"}[reduction]
        refused(
            lambda: pipeline_step(split, x, y, loss, 4, schedule=schedule, reduction=other),
            f"loss must be a {other} over examples",
        )
weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2, 3.0]))
refused(lambda: pipeline_step(split, x, y, weighted, 4), "loss must be a mean over examples")
refused(lambda: pipeline_step(split, x, y, weighted, 1), "num_microbatches must be at least the 2 stages under 1f1b")
refused(lambda: pipeline_step(split, x, y, weighted, 3), "the batch must be as long as the targets and a multiple")
noisy = partition(nn.Sequential(nn.Linear(4, 4), nn.Dropout()), 2, x, by="memory")
refused(lambda: pipeline_step(noisy, x, y, weighted, 4), "must treat each example alone")

# Data parallel by PyTorch's own wrapper: two workers on half of the batch, against one on all of it.
loss = nn.CrossEntropyLoss()
expected = torch.autograd.grad(loss(model(x), y), list(model.parameters()))
model.zero_grad()
half = slice(4 * rank, 4 * rank + 4)
wrapped = nn.parallel.DistributedDataParallel(model)  # kept: without it nothing is reduced
loss(wrapped(x[half]), y[half]).backward()
for p, g in zip(model.parameters(), expected):
    torch.testing.assert_close(p.grad, g, rtol=1e-4, atol=1e-6)
dist.destroy_process_group()
'''


def on_two_processes(program: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, str(program)],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_compute_the_gradients_of_one():
    done = on_two_processes(ROOT / "examples" / "pipeline.py")
    assert done.returncode == 0, done.stderr  # the example itself asserts that the gradients agree
    for name, held in [("gpipe", (4, 4)), ("1f1b", (2, 1))]:
        for stage in (0, 1):
            line = next(line for line in done.stdout.splitlines() if line.startswith(f"{name} stage {stage}"))
            assert f"held {held[stage]} micro-batches" in line
            assert "sent 4096 bytes" in line  # 16 examples x 64 units x 4 bytes, one way from each stage


@pytest.mark.slow
def test_processes_share_one_plan_and_a_loss_of_another_kind_is_refused_by_all(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = on_two_processes(tmp_path / "program.py")
    assert done.returncode == 0, done.stderr


def test_without_a_group_it_says_how_to_start_one():
    x = torch.ones(4, 3)
    split = partition(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), 2, x, by="memory", repeats=1)
    with pytest.raises(InvalidInput, match=r"must have 2 processes.*torchrun"):
        pipeline_step(split, x, x, nn.functional.mse_loss, 2)
