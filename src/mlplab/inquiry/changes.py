"""Which knobs were turned in a run, and where they stand in what was published: beside it, never in place of it."""

from __future__ import annotations

from dataclasses import dataclass

from mlplab.answers import WordList
from mlplab.answers.observations import Change
from mlplab.inquiry.evidence import Evidence
from mlplab.inquiry.inquiry import Inquiry


@dataclass(frozen=True)
class Changes:
    """The knobs that were turned in a run, each with its value in the published evidence, if there is any."""

    turned: tuple[tuple[Change, str | None], ...]

    @classmethod
    def of(cls, now: Inquiry, published: Evidence | None) -> Changes:
        """Those of a run, beside the evidence of the same exercise."""
        return cls(tuple((change, _published(change, published)) for change in now.observations.changed))

    def __bool__(self) -> bool:
        return bool(self.turned)

    def line(self, frame: WordList) -> str:
        """`changed: dropout 0.1,0.6 (published: 0.2,0.5)`; empty where nothing was."""
        if not self:
            return ""
        told = (_told(*turned, frame) for turned in self.turned)
        return frame["labels.changed"].format(frame["labels.and"].join(told))

    @property
    def here(self) -> str:
        """`dropout 0.1,0.6`: the turned knobs as they stand in this run."""
        return ", ".join(f"{change.knob} {change.value}" for change, _ in self.turned)

    @property
    def there(self) -> str:
        """The same knobs as they stand in the published evidence."""
        return ", ".join(f"{change.knob} {held}" for change, held in self.turned if held is not None)

    def to_list(self) -> list[dict[str, str | None]]:
        """JSON."""
        return [
            {"knob": c.knob, "value": c.value, "own": c.own, "published": held} for c, held in self.turned
        ]


def _published(change: Change, evidence: Evidence | None) -> str | None:
    if evidence is None:
        return None
    settings = evidence.inquiry.observations.settings
    held = {setting.get(change.knob, "") for setting in settings}
    # A knob that the published arms do not share is one that the answer's design is built from: there, as here, it
    # stands where the answer puts it.
    return held.pop() if len(held) == 1 and "" not in held else change.own


def _told(change: Change, published: str | None, frame: WordList) -> str:
    key = "labels.changed_to"
    if published is None:
        key = "labels.changed_from"
    elif published == change.value:
        key = "labels.changed_back"
    return frame[key].format(knob=change.knob, value=change.value, published=published, own=change.own)
