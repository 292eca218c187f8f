"""A failure of the user's own model or loss, in one line: which exception, in which module, at which line of theirs.

A model that is looked at is a stranger's program: it may raise anything, and end the process. That is for its author
to mend, so it becomes InvalidInput, whatever was raised. What our own hooks raise while the model runs stays as it is.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mlplab.errors import InvalidInput, MLPLabError

_OURS, _TORCH = f"{Path(__file__).parent}", f"{Path(torch.__file__).parent}"


class Place(NamedTuple):
    """The innermost module that ran: how to call it, and the shapes that it was given. No tensor is held."""

    named: str
    shapes: list[tuple[int, ...]]


@contextmanager
def model_failures(net: nn.Module) -> Iterator[None]:
    """Around calls of a model and a loss: InvalidInput for whatever they raise, `sys.exit` included.

    Errors of mlplab pass, Ctrl-C too, and so does what was raised in code of ours that PyTorch called back.
    """
    try:
        yield
    except MLPLabError:
        raise
    except (Exception, SystemExit) as error:
        if _is_ours(error):
            raise
        place = place_of(error, net)
        if place is None:
            rule, received = f"must run on what the model returns ({said(error)})", type(error).__name__
            raise InvalidInput("loss or backward", rule, received) from error
        raise InvalidInput(place.named, f"must accept its input ({said(error)})", place.shapes) from error


def said(error: BaseException) -> str:
    """The exception in a line: its kind, the first line of its message, and the user's own line that led to it."""
    lines = str(error).strip().splitlines()
    message = f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
    line = own_line(error)
    return f"{message}; {line}" if line else message


def own_line(error: BaseException) -> str:
    """`net.py:12: y = table["x"]`, the innermost line that is neither PyTorch's nor ours; empty where there is none."""
    for frame, number in reversed(_frames(error)):
        name = frame.f_code.co_filename
        if name.startswith((_OURS, _TORCH, "<")):
            continue
        text = linecache.getline(name, number, frame.f_globals).strip()
        if text:
            return f"{Path(name).name}:{number}: {text}"
    return ""


def place_of(error: BaseException, net: nn.Module) -> Place | None:
    """Where in the model it happened; None after its forward, in the loss or on the way back."""
    paths = {module: path for path, module in net.named_modules()}
    module, shapes = None, []
    for frame, _ in _frames(error):
        there = frame.f_locals.get("self")
        if not isinstance(there, nn.Module) or there not in paths:
            continue
        if there is not module:
            module, shapes = there, []
        if frame.f_code.co_name == "_call_impl":  # of nn.Module: it has what the module was given
            given = frame.f_locals.get("args"), frame.f_locals.get("kwargs")
            shapes = [tuple(x.shape) for x in tree_leaves(given) if isinstance(x, Tensor)]
    if module is None:
        return None
    kind, path = type(module).__name__, paths[module]
    return Place(f"layer {path!r} ({kind})" if path else f"model ({kind})", shapes)


def _is_ours(error: BaseException) -> bool:
    """Whether it was raised in a function of this package that PyTorch or the user's model called back."""
    inner = [frame.f_code.co_filename.startswith(_OURS) for frame, _ in _frames(error)]
    return bool(inner) and inner[-1] and not all(inner)


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    return list(traceback.walk_tb(error.__traceback__))
