"""Why torch.fx could not trace a model."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch


def reason(error: Exception) -> str:
    """What torch.fx could not trace, with the line of the user's own code at which it stopped."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if f"{Path(torch.__file__).parent}" not in f.filename
    ]
    said = " ".join(str(error).split()) or type(error).__name__
    own = [f for f in frames if Path(f.filename).parent != Path(__file__).parent and f.line]
    return f"{said}: {own[-1].line} ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else said
