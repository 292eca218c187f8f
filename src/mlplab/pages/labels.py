"""The signs of verdicts and judgements, the same in every language."""

from __future__ import annotations

from typing import Literal

from mlplab.answers import Judgement
from mlplab.stats import Verdict

# For who sees no colours; `awaits`: evidence is yet to decide.
SHAPES: dict[Verdict | Judgement | Literal["awaits"], str] = {
    "holds": "✓", "fails": "✗", "undecided": "?",
    "right": "✓", "wrong": "✗", "incomplete": "◐", "misread": "↷", "unsupported": "?", "skipped": "–",
    "awaits": "…",
}  # fmt: skip
