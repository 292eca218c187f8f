"""The signs of verdicts and judgements, the same in every language."""

from __future__ import annotations

from typing import Literal

from mlplab.answers import Judgement, Verdict

# For who sees no colours; `awaits`: evidence is yet to decide.
SHAPES: dict[Verdict | Judgement | Literal["awaits"], str] = {
    "holds": "✓", "fails": "✗", "undecided": "?",
    "right": "✓", "wrong": "✗", "half-right": "½", "incomplete": "◐", "misread": "↷", "unsupported": "?",
    "untestable": "○", "lost": "○", "skipped": "–",
    "awaits": "…",
}  # fmt: skip
