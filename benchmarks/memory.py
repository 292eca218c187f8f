"""Peak memory, measured in a process of its own: `peak(...)` starts this file with what to train as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Load:
    """What is trained for one epoch: that many models of a case, by the engine or by vmap (one update).

    Arguments:
      budget: bytes that the engine is told; None for its own choice.
    """

    who: str
    case: str
    models: int
    num_images: int
    budget: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Peak:
    """Bytes: resident with modules and data loaded, and the most that was resident since."""

    before: int
    peak: int

    @property
    def used(self) -> int:
        return self.peak - self.before


def peak(load: Load) -> Peak | str:
    """Train it in a process of its own; a line that says why where that cannot be measured."""
    if not Path("/proc/self/status").exists():
        return "peak memory is read from /proc, which is not here"
    command = [sys.executable, __file__, json.dumps(asdict(load))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def _resident(line: str) -> int:
    # Not ru_maxrss: a child inherits its parent's. VmHWM starts anew with the program.
    status = dict(row.split(":", 1) for row in Path("/proc/self/status").read_text().splitlines())
    return int(status[line].split()[0]) * 1024


def _train(load: Load) -> Peak:
    from dataclasses import replace

    import torch

    from cases import CASES, train
    from peers import exhaust, vmap_step

    case = replace(CASES[load.case], num_images=load.num_images)
    runs, problems = case.runs(load.models, 1)
    part = case.problem().train
    # What the libraries allocate once is theirs: the first product, the first training.
    small = replace(case, num_images=case.batch_size)
    exhaust(train(*small.runs(1, 1), load.device, load.budget))
    before = _resident("VmRSS")
    if load.who == "engine":
        exhaust(train(runs, problems, load.device, load.budget))
    else:
        x, y = (torch.from_numpy(array[: case.batch_size]) for array in (part.features, part.targets))
        vmap_step(case, load.models, load.device, autocast=False)(x, y)
    return Peak(before, max(_resident("VmHWM"), before))


if __name__ == "__main__":
    print(json.dumps(asdict(_train(Load(**json.loads(sys.argv[1]))))))
