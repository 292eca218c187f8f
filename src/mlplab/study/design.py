"""Factors x levels x seeds: what a study trains, before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any

from mlplab import spec
from mlplab.data import Dataset
from mlplab.errors import InvalidInput, UnknownName
from mlplab.knobs import KNOBS, turn, value_of, written
from mlplab.spec import Run, Setting


@dataclass(frozen=True)
class Arm:
    """One setting of a study, with the name that tables and figures show.

    Arguments:
      levels: what sets it apart from the other arms, by knob; empty where it has only a name.
    """

    name: str
    setting: Setting
    levels: Mapping[str, Any] = field(default_factory=dict, hash=False)


def factorial(base: Setting, **factors: Sequence[Any]) -> tuple[Arm, ...]:
    """Every combination of the factors' levels, the last factor fastest.

    Factors are knobs (`mlplab.knobs.KNOBS`). A level is a value or the text that a person types; either way
    the arm is named as the setting holds it: `dropout=0.2,0.5`, several factors joined by a space.

    >>> [arm.name for arm in factorial(Setting(), learning_rate=[0.1, 0.5], momentum=["0", "0.90"])]
    ['learning_rate=0.1 momentum=0', 'learning_rate=0.1 momentum=0.9', 'learning_rate=0.5 momentum=0', \
'learning_rate=0.5 momentum=0.9']

    Raises UnknownName for a factor that is no knob; InvalidInput for no factor, a factor without levels, a
    level that its knob refuses, and two combinations that are the same setting.
    """
    if not factors:
        raise InvalidInput("factorial", "needs at least one factor", "none", "Try learning_rate=[0.05, 0.1]")
    lists = {name: _levels(name, levels) for name, levels in factors.items()}
    arms = []
    for combination in itertools.product(*lists.values()):
        setting = turn(base, **dict(zip(lists, combination, strict=True)))
        levels = {name: _level(setting, name) for name in lists}
        name = " ".join(f"{factor}={level_text(level)}" for factor, level in levels.items())
        arms.append(Arm(name, setting, levels))
    _refuse_doubles(arms)
    return tuple(arms)


def level_text(level: Any) -> str:
    """A level as a person would type it."""
    return written(level) or "()"


@dataclass(frozen=True)
class Study:
    """Arms, each trained once for every seed.

    Arguments:
      arms: settings with names; `factorial` makes them.
      seeds: the seeds themselves, or how many: 5 stands for 0, 1, 2, 3, 4.
      data: one data set for all, or a function of the seed where every replicate has a draw of its own. Arms
        share the seed's data set either way: comparisons stay paired.

    Raises InvalidInput for no arms, two arms with one name or one setting, and seeds that are none, negative
    or repeated.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    data: Dataset | Callable[[int], Dataset]

    def __init__(
        self, arms: Iterable[Arm], seeds: Sequence[int] | int, data: Dataset | Callable[[int], Dataset]
    ) -> None:
        object.__setattr__(self, "arms", tuple(arms))
        object.__setattr__(self, "seeds", _seeds(seeds))
        object.__setattr__(self, "data", data)
        if not self.arms:
            raise InvalidInput("a study", "needs at least 1 arm", 0)
        _refuse_doubles(self.arms)

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """The data sets by fingerprint, in the order of the seeds."""
        return {data.fingerprint: data for data in self._data_of_seed.values()}

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs, arms within seeds: runs that are trained together then share their seed's batches."""
        fingerprints = {seed: data.fingerprint for seed, data in self._data_of_seed.items()}
        return tuple(Run(arm.setting, fingerprints[seed], seed) for seed in self.seeds for arm in self.arms)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The key of each run's result, in the order of `runs`."""
        return tuple(run.digest for run in self.runs)

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits of what is trained, whatever the order or the names of the arms."""
        return spec.digest(
            {
                "semantics": spec.SEMANTICS,
                "settings": sorted(arm.setting.digest for arm in self.arms),
                "seeds": sorted([seed, data.fingerprint] for seed, data in self._data_of_seed.items()),
            }
        )

    def arm_of(self, run: Run) -> Arm:
        """The arm that a run belongs to. Raises InvalidInput for a run of another study."""
        if run.setting not in self._arm_of_setting:
            raise InvalidInput("Study.arm_of", "needs a run of this study", run.digest)
        return self._arm_of_setting[run.setting]

    def arm(self, name: str) -> Arm:
        """The arm of that name. Raises UnknownName."""
        by_name = {arm.name: arm for arm in self.arms}
        if name not in by_name:
            raise UnknownName("arm", name, by_name)
        return by_name[name]

    @cached_property
    def _arm_of_setting(self) -> dict[Setting, Arm]:
        return {arm.setting: arm for arm in self.arms}

    @cached_property
    def _data_of_seed(self) -> dict[int, Dataset]:
        if isinstance(self.data, Dataset):
            return dict.fromkeys(self.seeds, self.data)
        return {seed: self.data(seed) for seed in self.seeds}


# Knobs that say what the loss is. (Smoothed labels are trained on, and evaluated without.)
_MEASURES = ("loss", "huber_delta")


def refuse_own_measures(varied: Iterable[str], metric: str) -> None:
    """Raises InvalidInput where settings with losses of their own would be compared by "the" loss.

    Arguments:
      varied: the knobs at which the settings differ.
    """
    if metric.endswith("_loss") and (own := sorted(set(_MEASURES) & set(varied))):
        raise InvalidInput(
            own[0],
            f"must be the same for all that is compared by {metric}: each setting would be held to a loss of its own",
            f"varied ({', '.join(own)})",
            "Compare by validation_accuracy, or make one study for each loss",
        )


def _levels(name: str, levels: Sequence[Any]) -> list[Any]:
    if name not in KNOBS:
        raise UnknownName("factor", name, KNOBS)
    # Text is a sequence too: "0.2,0.5" would become seven levels of one character.
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        raise InvalidInput(f"factor {name}", "needs a list of levels", levels, f"Write {name}=[{levels!r}]")
    if not (listed := list(levels)):
        raise InvalidInput(f"factor {name}", "needs at least 1 level", 0)
    return listed


def _level(setting: Setting, name: str) -> Any:
    # `value_of` spreads rates over the layers; the setting holds one where all are the same.
    return tuple(noise.rate for noise in setting.noise) if name == "dropout" else value_of(setting, name)


def _refuse_doubles(arms: Sequence[Arm]) -> None:
    first: dict[str | Setting, Arm] = {}
    for arm in arms:
        if arm.setting in first:
            remedy = f"{first[arm.setting].name!r} is the same setting: leave one out"
            raise InvalidInput("arms", "must differ in what they train", arm.name, remedy)
        if arm.name in first:
            raise InvalidInput("arms", "must have different names", arm.name)
        first[arm.setting] = first[arm.name] = arm


def _seeds(seeds: Sequence[int] | int) -> tuple[int, ...]:
    if isinstance(seeds, Integral) and not isinstance(seeds, bool):
        if seeds < 1:
            raise InvalidInput("a study", "needs at least 1 seed", int(seeds))
        return tuple(range(seeds))
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise InvalidInput("a study", "needs seeds as whole numbers, or how many", seeds)
    if not (listed := tuple(seeds)):
        raise InvalidInput("a study", "needs at least 1 seed", 0)
    for seed in listed:
        if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**63:
            raise InvalidInput("a study", "needs seeds that are whole numbers from 0", seed)
        if listed.count(seed) > 1:
            raise InvalidInput("a study", "needs each seed once", seed, "A repeated run is no new replicate")
    return tuple(int(seed) for seed in listed)
