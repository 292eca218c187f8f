"""What a convolution takes beside its output while it runs: on a CPU, oneDNN reorders tensors into blocks of channels.

The rules below were read off PyTorch's memory profiler for float32 on processors with AVX-512 and AVX2; other versions
of oneDNN may choose other layouts.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

FEW, HALF = 4, 8  # channels up to which a tensor stays as it is (AVX-512), or is padded to 8


def workspace_bytes(func: Any, args: tuple[Any, ...], output: Any) -> int:
    """Bytes of all that a convolution or its gradient takes at once, its outputs among them; 0 for other operations."""
    name = func.overloadpacket.__name__
    if name not in ("convolution", "convolution_backward") or not _on_onednn(args[0]):
        return 0
    if name == "convolution":
        x, weight = args[0], args[1]
        blocked = _blocked(output)
        # The input is reordered, then the product made, then put into the usual order.
        reordered = _blocked(x) if x.shape[1] >= _width() else 0
        return max(reordered + weight.nbytes + blocked, blocked + output.nbytes)
    gradient, x, weight = args[:3]
    of_input, of_weight, of_bias = output
    inputs = 0 if of_input is None else of_input.nbytes
    weights = sum(t.nbytes for t in (of_weight, of_bias) if t is not None)
    first = _blocked(gradient) + weight.nbytes + _blocked(x) if inputs else 0
    read = 0 if _is_read_as_it_lies(x) else _blocked(x, HALF if x.shape[1] <= HALF else _width())
    last = inputs + _blocked(gradient) + read + 2 * weights if weights else 0
    return max(first, last)


def _on_onednn(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.backends.mkldnn.enabled and torch.backends.mkldnn.is_available()


def _width() -> int:
    """Channels of a block: as many floats as a vector register holds."""
    return 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8


def _is_read_as_it_lies(x: Tensor) -> bool:
    """Whether the product for the weights takes an input of few channels unordered; with AVX2, one of three alone."""
    return x.shape[1] <= FEW if _width() == 16 else x.shape[1] == 3


def _blocked(x: Tensor, width: int = 0) -> int:
    width = width or _width()
    return x.nbytes // x.shape[1] * math.ceil(x.shape[1] / width) * width
