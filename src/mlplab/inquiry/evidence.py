"""Published evidence: one JSON file for each exercise, with what made it. It travels inside the wheel."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplab.answers import Exercise, Observations, Verdict
from mlplab.environment import environment
from mlplab.errors import EvidenceError
from mlplab.inquiry.inquiry import Inquiry, conclude
from mlplab.outputs import write_whole

FORMAT = 1
DIGITS = 7  # of a number in a table: runs are trained in float32, which has no more


@dataclass(frozen=True)
class Evidence:
    """What was published for an exercise.

    Arguments:
      inquiry: the published observations, with the claims as this code judges them.
      verdicts: the verdicts that were published.
      made_with: versions, processor, revision.
      path: the file.
    """

    inquiry: Inquiry
    verdicts: Mapping[str, Verdict]
    made_with: Mapping[str, Any]
    path: Path

    @property
    def lapsed(self) -> list[str]:
        """Claims whose published verdict this code does not reach on the published observations."""
        now = {name: finding.verdict for name, finding in self.inquiry.findings.items()}
        return [name for name in {**now, **self.verdicts} if now.get(name) != self.verdicts.get(name)]


def published(exercise: Exercise) -> Evidence | None:
    """The evidence of an exercise; None where none was published. Raises EvidenceError for a damaged file."""
    path, number = exercise.evidence_file, exercise.number
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text("utf-8"))
        for key, rule in (("format", FORMAT), ("exercise", number)):
            if held[key] != rule:
                raise EvidenceError(f"{path}: {key} must be {rule}; got {held[key]}: publish it again.")
        observations = Observations.from_dict(held["observations"])
        verdicts = {claim["name"]: claim["verdict"] for claim in held["claims"]}
        made_with = dict(held["made_with"])
        claims = exercise.written_answer().claims
        if claims and not any(claim.name in verdicts for claim in claims):
            raise EvidenceError(f"{path}: claims are those of another answer: publish it again.")
        inquiry = conclude(exercise, observations)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EvidenceError(
            f"{path} cannot be read as evidence: {error}. Restore it or publish it again."
        ) from error
    return Evidence(inquiry, verdicts, made_with, path)


def write(inquiry: Inquiry, path: Path) -> Path:
    """Write evidence; the old file stays until the new one is whole.

    Numbers in tables keep DIGITS significant digits, and the claims are judged by these: by what a reader can see.
    Raises EvidenceError where a verdict hangs on more.
    """
    kept = conclude(inquiry.exercise, inquiry.observations.rounded(DIGITS))
    changed = [name for name, f in kept.findings.items() if f.verdict != inquiry.findings[name].verdict]
    if changed:
        raise EvidenceError(
            f"Not published: {', '.join(changed)} would be judged otherwise by figures of {DIGITS} digits."
        )
    content = {"format": FORMAT, "made_with": environment()} | kept.to_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Rows on lines of their own: a change of one run is a change of one line.
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    write_whole(path, _compact(text) + "\n")
    return path


def _compact(text: str) -> str:
    """Puts each innermost list on one line."""
    return re.sub(
        r"\[\n\s*([^\[\]{}]*?)\n\s*\]", lambda inner: "[" + re.sub(r"\n\s*", " ", inner[1]) + "]", text
    )
