"""Why torch.fx could not trace a model."""

from __future__ import annotations

from mlplab.analysis.model_failure import own_line


def reason(error: BaseException) -> str:
    """What torch.fx could not trace, with the line of the user's own code at which it stopped."""
    words = " ".join(str(error).split())
    kind = type(error).__name__
    line = own_line(error)
    return f"{kind}{f': {words}' if words else ''}{f'; {line}' if line else ''}"
