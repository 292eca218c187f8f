"""Seeds that all give the same value: there is no spread, so no interval says how far the truth may lie."""

from __future__ import annotations

from typing import Any

from mlplab.stats import Comparison, Interval


def all_seeds_agree(of: Interval | Comparison) -> bool:
    """Whether the values, or paired differences, show no spread at all."""
    return of.ci_method == "exact"


def plain(of: Interval | Comparison) -> dict[str, Any]:
    """Plain values, fit for JSON, with `all_seeds_agree`: both bounds are None then, however many seeds there are."""
    held: dict[str, Any] = of.to_dict() | {"all_seeds_agree": all_seeds_agree(of)}
    if not all_seeds_agree(of):
        return held
    unbounded = dict.fromkeys(("ci_low", "ci_high"))
    deciding = {"deciding": held["deciding"] | unbounded} if isinstance(of, Comparison) else {}
    return held | unbounded | deciding
