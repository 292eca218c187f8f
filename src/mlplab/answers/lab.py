"""The laboratory that an answer works in: how much effort, on which data, with which knobs turned, into which store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Literal, Protocol, TypeVar, get_args

from mlplab import data, engine, knobs
from mlplab.answers.observations import Change, DataUsed, Looks, Observations
from mlplab.answers.words import Note
from mlplab.data import Dataset
from mlplab.errors import AbsentData, InvalidInput
from mlplab.spec import Run, Setting
from mlplab.study import Progress, Results, Store, Study, Train, adaptive, default_path, run_study

Effort = Literal["quick", "full"]
# What of an experiment its reader may turn.
Option = Literal["data", "seeds", "knobs"]
OPTIONS: tuple[Option, ...] = get_args(Option)


class _Known(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


Known = TypeVar("Known", bound=_Known)


class Lab:
    """Runs an answer's studies.

    Arguments:
      effort: `quick` fits two cores and a minute; `full` is what is published.
      seeds: replicates of each arm in place of the answer's own number.
      data_name: data set in place of the answer's own.
      knobs: values in place of the chapter's, by flat names (`knobs.KNOBS`); text or values.
      store: where results are kept; the user's store by default.
      strict: never let another data set stand in.
      look: which of the looks that an answer plans, from 1; 0 for all of its seeds at once.
      on_progress: called as runs end.
      on_looks: called with what an answer plans, before anything is trained.
    """

    def __init__(
        self,
        effort: Effort = "quick",
        *,
        seeds: int | None = None,
        data_name: str | None = None,
        knobs: Mapping[str, Any] | None = None,
        store: Store | None = None,
        strict: bool = False,
        look: int = 0,
        on_progress: Callable[[Progress], None] | None = None,
        on_looks: Callable[[Looks], None] = lambda looks: None,
    ) -> None:
        self.effort = effort
        self.notes: list[Note] = []
        self._seeds, self._data_name = seeds, data_name
        self._knobs = dict(knobs or {})
        self._untaken = dict(self._knobs)
        self._store, self._strict, self._on_progress = store, strict, on_progress
        self._look, self._on_looks = look, on_looks
        self._looks: Looks | None = None
        self._data: dict[str, DataUsed] = {}
        self._studies: list[str] = []
        self._settings: list[dict[str, str]] = []
        # Knob -> where it was put, and where the answer itself puts it: as sets that keep their order, since an
        # answer may have several settings.
        self._turned: dict[str, tuple[dict[str, None], dict[str, None]]] = {}

    def choose(self, *, quick: Any, full: Any) -> Any:
        """One value for a quick look, another for the published evidence."""
        return quick if self.effort == "quick" else full

    def seeds(self, *, quick: int, full: int, first: int | None = None) -> range:
        """Seeds 0, 1, ... of each arm: as many as were asked for, or as the effort says.

        Arguments:
          first: for an answer that is published in looks: seeds at the first look. At each look some are added, until
            every claim is decided or there are `full`; every look tests at an equal part of the level.
        """
        if first is not None and self._look and self._seeds is None:
            planned = adaptive.looks(first, full)
            self._looks = Looks(planned, min(self._look, len(planned)))
            self._on_looks(self._looks)
            return range(planned[self._looks.taken - 1])
        count = self.choose(quick=quick, full=full) if self._seeds is None else self._seeds
        if count < 1:
            raise InvalidInput(
                "--seeds", "must be at least 1", count, "6 is the least that a sign-flip test can use"
            )
        return range(count)

    def take(self, name: str, base: Setting) -> Any:
        """A knob that the answer's own design is built from: as it was asked for, else as it stands in `base`."""
        asked = {name: self._untaken.pop(name)} if name in self._untaken else {}
        return knobs.value_of(self._turn(base, asked), name)

    def setting(self, base: Setting) -> Setting:
        """`base` with the knobs turned that the answer did not take."""
        return self._turn(base, self._untaken)

    def _turn(self, base: Setting, asked: Mapping[str, Any]) -> Setting:
        turned = knobs.turn(base, **asked)
        for name in asked:
            for held, setting in zip(self._turned.setdefault(name, ({}, {})), (turned, base), strict=True):
                held[knobs.written(knobs.value_of(setting, name))] = None
        return turned

    def dataset(self, name: str, *, embedded: str) -> Dataset:
        """The data set that was asked for, or the answer's own.

        `embedded`, which needs no network, serves for a quick look, and stands in where `name` cannot be had; a
        note says so. Published evidence never stands on a stand-in: a strict laboratory raises AbsentData.
        """
        if self._data_name:
            return data.load(self._data_name, download=True)
        if embedded == name:  # nothing stands in for anything
            return data.load(name)
        if self.effort == "quick":
            self.notes.append(_why_quick(embedded, name))
            return data.load(embedded)
        try:
            return data.load(name, download=True)
        except AbsentData as error:
            if self._strict:
                raise
            self.notes.append(Note("notes.stands_in", embedded=embedded, error=str(error)))
            return data.load(embedded)

    def use(self, dataset: Known) -> Known:
        """Note that a data set was looked at, or a scoreboard."""
        held = self._data.get(dataset.name)
        fingerprints = (held.fingerprints if held else ()) + (dataset.fingerprint,)
        self._data[dataset.name] = DataUsed(
            dataset.name, dataset.title, dataset.source, tuple(dict.fromkeys(fingerprints))
        )
        return dataset

    def refuse(self, number: str, takes: Collection[Option], *, trains: bool) -> None:
        """Refuse what exercise `number` does not take, of the data, seeds and knobs that were asked for.

        Raises InvalidInput that names the option, and why it does not apply.
        """
        knob, value = next(iter(self._knobs.items()), ("", None))
        asked: dict[Option, tuple[str, object, str]] = {
            "data": ("--data", self._data_name, "draws its own problem"),
            "seeds": ("--seeds", self._seeds, "repeats nothing"),
            "knobs": (f"--set {knob}", value, "trains nothing"),
        }
        for option, (name, received, reason) in asked.items():
            if received in (None, "") or (trains and option in takes):  # 0 seeds are as wrong as 5
                continue
            why = reason if trains else "is proved and calculated, nothing is trained"
            raise InvalidInput(name, f"does not apply: {number} {why}", received)

    def run(self, study: Study, *, train: Train = engine.train) -> Results:
        """Results of a study; what the store does not hold yet is trained, by `train`."""
        for name, value in self._untaken.items():
            for arm in study.arms:
                asked = knobs.value_of(knobs.turn(arm.setting, **{name: value}), name)
                if knobs.value_of(arm.setting, name) != asked:
                    raise InvalidInput(
                        f"--set {name}", "does not apply: the experiment varies it itself", value
                    )
        if self._store is None:
            self._store = Store(default_path())
        for dataset in study.datasets.values():
            self.use(dataset)
        self._studies.append(study.digest)
        self._settings.append(shared_knobs(study))
        results = run_study(study, self._store, train=train, on_progress=self._on_progress)
        digests = {(study.arm_of(run).name, run.seed): identity(run) for run in study.runs}
        frame = results.frame
        frame["digest"] = [digests[key] for key in zip(frame["arm"], frame["seed"], strict=True)]
        return results

    def observations(self, **tables: Any) -> Observations:
        """What was seen, with what it was made from."""
        return Observations(
            tables,
            tuple(self._data.values()),
            tuple(self._studies),
            tuple(self._settings),
            self.changed,
            self._looks,
        )

    @property
    def changed(self) -> tuple[Change, ...]:
        """The knobs that stand elsewhere than the answer itself puts them."""
        sides = {name: [" / ".join(held) for held in both] for name, both in self._turned.items()}
        return tuple(Change(name, value, own) for name, (value, own) in sides.items() if value != own)


# Knobs that watch a training and do not touch it. Without patience nothing hangs on how often it is evaluated.
WATCHING = ("probes", "keep_weights", "evaluate_every", "average_epochs")


def identity(run: Run) -> str:
    """The digest of a run with nothing watched: two exercises that publish it publish one result."""
    return Run(_unwatched(run.setting), run.data, run.seed).digest


@cache
def _unwatched(setting: Setting) -> Setting:
    if setting.training.patience is not None:
        return setting
    return knobs.turn(setting, **{name: knobs.value_of(Setting(), name) for name in WATCHING})


def _why_quick(embedded: str, name: str) -> Note:
    """Why a quick look is at another data set than the published evidence, and what to type for that one."""
    info = data.info(name)
    if info.is_present:
        return Note("notes.quick_here", embedded=embedded, name=name)
    return Note("notes.quick_fetch", embedded=embedded, name=name, size=f"{info.num_bytes / 1e6:.0f} MB")


def shared_knobs(study: Study) -> dict[str, str]:
    """The knobs at which all arms of a study stand alike, as text."""
    values = {
        name: {knobs.written(knobs.value_of(arm.setting, name)) for arm in study.arms} for name in knobs.KNOBS
    }
    return {name: next(iter(found)) for name, found in values.items() if len(found) == 1}
