"""The most memory that a piece of work asks its allocator for, and what a kernel takes beside its results."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import _disable_current_modes

# Kernels with memory of their own, and how many of their first arguments hold a batch. On a CPU, oneDNN reorders the
# tensors of a convolution into blocks of channels.
PROBED = {"convolution": 1, "convolution_backward": 2}
FEW, MORE = 2, 4  # examples of the two probes: for a single one oneDNN has other kernels
LARGEST = 2**28  # bytes of the arguments of a probe: a larger one is not made

_known: dict[str, int] = {}


def peak_bytes(job: Callable[[], Any], device: torch.device) -> int:
    """The most bytes that a call asks for beyond what is there, by the profiler's record or the GPU's allocator."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        job()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces itself on standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        job()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text("utf-8"))["traceEvents"]
    changes = [event for event in events if event.get("name") == "[memory]"]
    changes.sort(key=lambda event: (event["ts"], event["args"]["Ev Idx"]))
    held: dict[int, int] = {}
    alive = most = 0
    for event in changes:
        size, address = event["args"]["Bytes"], event["args"]["Addr"]
        if size < 0:
            # What was there before and is given back now, as garbage of another model, is none of this job's.
            alive -= held.pop(address, 0)
        else:
            held[address] = size
            alive += size
            most = max(most, alive)
    return most


def kernel_bytes(func: Any, args: tuple[Any, ...]) -> int:
    """Bytes of all that a kernel takes at once on this processor, results among them; 0 for one not in PROBED.

    Which layouts oneDNN takes depends on the processor, so it is asked: the kernel runs on FEW and on MORE examples of
    zeros, and what it takes, which grows in proportion to the batch, is carried on to the batch of `args`. These may be
    fake tensors. Arguments beyond LARGEST bytes are not made, and count as 0.
    """
    num_batched = PROBED.get(func.overloadpacket.__name__, 0)
    if not num_batched or args[0].device.type != "cpu":
        return 0
    size = len(args[0])
    if size <= MORE:
        return _probed(func, args, num_batched, size)
    few, more = (_probed(func, args, num_batched, count) for count in (FEW, MORE))
    return few + (size - FEW) * (more - few) // (MORE - FEW)


def _probed(func: Any, args: tuple[Any, ...], num_batched: int, count: int) -> int:
    shapes = [
        (count if index < num_batched else len(x), *x.shape[1:]) if isinstance(x, Tensor) else None
        for index, x in enumerate(args)
    ]
    described = [(shape, x.stride(), x.dtype) if shape else x for shape, x in zip(shapes, args, strict=True)]
    key = f"{func} {described} {torch.get_num_threads()} {torch.backends.mkldnn.enabled}"
    if key not in _known:
        _known[key] = _run(func, args, shapes)
    return _known[key]


def _run(func: Any, args: tuple[Any, ...], shapes: list[tuple[int, ...] | None]) -> int:
    sizes = [
        torch.Size(shape).numel() * x.element_size() for shape, x in zip(shapes, args, strict=True) if shape
    ]
    if sum(sizes) > LARGEST:
        return 0
    with _disable_current_modes(), torch.no_grad():
        real = [
            torch.empty_strided(shape, x.stride(), dtype=x.dtype).zero_() if shape else x
            for shape, x in zip(shapes, args, strict=True)
        ]
        func(*real)  # what is made once and kept is none of the work's
        return peak_bytes(lambda: func(*real), torch.device("cpu"))
