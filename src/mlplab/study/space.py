"""A search space: which hyperparameters are searched, and over which levels or range."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mlplab.errors import InvalidInput, UnknownName
from mlplab.knobs import KNOBS, levels, turn, value_of
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.study.design import Arm, level_text

RANGES = ("uniform", "loguniform")
DIGITS = 4  # significant ones of a number that is drawn: more would only make it longer to type
TRIES = 1_000
HAVE_MOMENTUM = ("sgd", "lars")
EXAMPLE = "Try learning_rate=loguniform(0.001,1) or dropout=0,0.2,0.5"


@dataclass(frozen=True)
class Levels:
    """A hyperparameter with a list of levels, as the setting holds them."""

    levels: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The level at a share in [0, 1) of the list."""
        return self.levels[int(share * len(self.levels))]

    @property
    def is_ordered(self) -> bool:
        """Whether they are numbers that rise: neighbours are then alike."""
        numbers = [_number(level) for level in self.levels]
        held = [number for number in numbers if number is not None]
        return len(held) == len(numbers) > 2 and held == sorted(held)

    def __str__(self) -> str:
        texts = [level_text(level) for level in self.levels]
        return ("|" if any("," in text for text in texts) else ",").join(texts)


@dataclass(frozen=True)
class Range:
    """A hyperparameter with a range, both ends included.

    Arguments:
      is_log: equal shares for equal ratios, not for equal differences.
      is_whole: whole numbers only.
    """

    low: float
    high: float
    is_log: bool
    is_whole: bool

    def at(self, share: float) -> float:
        """The number at a share in [0, 1) of the range."""
        # Half a step more at each end: every whole number has its share.
        low, high = (self.low - 0.5, self.high + 0.5) if self.is_whole else (self.low, self.high)
        if self.is_log:
            number = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            number = low + share * (high - low)
        return self.rounded(number)

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.rounded(self.low), self.rounded(self.high)

    def rounded(self, number: float) -> float:
        """Within the range, to a few digits."""
        number = min(max(number, self.low), self.high)
        return round(number) if self.is_whole else float(f"{number:.{DIGITS}g}")

    def __str__(self) -> str:
        return f"{'log' if self.is_log else ''}uniform({self.low:g},{self.high:g})"


class Space:
    """Settings that differ from `base` in some hyperparameters.

    Arguments:
      base: every other hyperparameter.
      dimensions: by knob (`mlplab.knobs.KNOBS`), a list of levels, or text: `0,0.2,0.5`; `256|256,128` where a level
        has commas of its own; `uniform(0,0.5)`; `loguniform(0.001,1)`. A range of whole numbers gives whole numbers,
        of `hidden_sizes` one hidden layer, of `dropout` one rate for all layers.

    A momentum is left out where the optimiser that was drawn has none, and Nesterov's where there is no momentum.
    A draw that is no valid setting otherwise is drawn again.

    Raises UnknownName for a name that is no knob; InvalidInput for an empty space, text that cannot be read, a level
    that its knob refuses, a level that is there twice, and a range that is none.
    """

    def __init__(self, base: Setting, **dimensions: Any) -> None:
        if not dimensions:
            raise InvalidInput("a search space", "needs at least 1 hyperparameter", "none", EXAMPLE)
        self.base = base
        self.dimensions = {name: _dimension(base, name, given) for name, given in dimensions.items()}
        for name in self.dimensions:
            self._refuse_impossible(name)

    @cached_property
    def size(self) -> int | None:
        """How many different settings there are at most; None for a space that has a range of real numbers."""
        counts = []
        for dimension in self.dimensions.values():
            if isinstance(dimension, Levels):
                counts.append(len(dimension.levels))
            elif dimension.is_whole:
                counts.append(int(dimension.high - dimension.low) + 1)
            else:
                return None
        return math.prod(counts)

    def arm(self, values: Mapping[str, Any]) -> Arm:
        """The setting at a point, with its name. Raises InvalidInput where it is none."""
        held = self._active(values)
        setting = turn(self.base, **held)
        levels = {name: value_of_level(setting, name) for name in self.dimensions if name in values}
        levels = {name: level for name, level in levels.items() if name in held}
        return Arm(" ".join(f"{n}={level_text(v)}" for n, v in levels.items()), setting, levels)

    def draw(self, seed: int, number: int) -> Arm:
        """The `number`th random setting (from 0) of a search seed."""
        stream = Stream(seed, "search", step=number)
        refused: InvalidInput | None = None
        for _ in range(TRIES):
            shares = stream.uniform(len(self.dimensions))
            values = {
                name: dimension.at(float(share))
                for (name, dimension), share in zip(self.dimensions.items(), shares, strict=True)
            }
            try:
                return self.arm(values)
            except InvalidInput as error:
                refused = error
        assert refused is not None
        raise refused

    def draws(self, seed: int, start: int, count: int, without: Iterable[Arm] = ()) -> tuple[list[Arm], int]:
        """`count` different random settings from the `start`th on, none that is in `without`; where to go on.

        Fewer where the space seems to have no more.
        """
        seen = {arm.setting for arm in without}
        found: list[Arm] = []
        number = start
        repeated = 0  # in a row
        while len(found) < count and repeated < TRIES:
            arm = self.draw(seed, number)
            number += 1
            if arm.setting in seen:
                repeated += 1
                continue
            repeated = 0
            seen.add(arm.setting)
            found.append(arm)
        return found, number

    def __str__(self) -> str:
        return " ".join(f"{name}={dimension}" for name, dimension in self.dimensions.items())

    def _active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        held = dict(values)
        kind = str(held.get("optimizer", self.base.optimizer.kind))
        if kind not in HAVE_MOMENTUM and ("optimizer" in held or self.base.optimizer.momentum == 0):
            for name in ("momentum", "nesterov"):
                held.pop(name, None)
            held |= {"momentum": 0.0, "nesterov": False} if self.base.optimizer.momentum else {}
        elif "nesterov" in held and not float(held.get("momentum", self.base.optimizer.momentum)):
            held.pop("nesterov")
        return held

    def _refuse_impossible(self, name: str) -> None:
        """A level must be possible at least beside some level of the others."""
        dimension = self.dimensions[name]
        ends = dimension.levels if isinstance(dimension, Levels) else dimension.ends
        for end in ends:
            refused: InvalidInput | None = None
            stream = Stream(0, "search")
            for _ in range(TRIES // 5):
                values = {n: d.at(float(stream.uniform(1)[0])) for n, d in self.dimensions.items()}
                try:
                    self.arm(values | {name: end})
                    break
                except InvalidInput as error:
                    refused = error
            else:
                assert refused is not None
                raise refused


def value_of_level(setting: Setting, name: str) -> Any:
    """A knob's value, with one rate where all layers have the same."""
    return tuple(noise.rate for noise in setting.noise) if name == "dropout" else value_of(setting, name)


def _dimension(base: Setting, name: str, given: Any) -> Levels | Range:
    if name not in KNOBS:
        raise UnknownName("hyperparameter", name, KNOBS)
    if isinstance(given, Levels | Range):
        return given
    if isinstance(given, str):
        called = re.fullmatch(r"\s*(\w*uniform)\((.*)\)\s*", given)
        return (
            _range(base, name, called[1], called[2]) if called else _levels(base, name, levels(name, given))
        )
    if not isinstance(given, Iterable):
        raise InvalidInput(f"hyperparameter {name}", "needs a list of levels or a range", given, EXAMPLE)
    return _levels(base, name, list(given))


def _levels(base: Setting, name: str, given: Sequence[Any]) -> Levels:
    if not given or "" in given:
        raise InvalidInput(
            f"hyperparameter {name}", "needs levels", ",".join(map(str, given)) or "none", EXAMPLE
        )
    held = tuple(_read(base, name, level) for level in given)
    texts = [level_text(level) for level in held]
    for text in texts:
        if texts.count(text) > 1:
            raise InvalidInput(f"hyperparameter {name}", "must have each level once", text)
    return Levels(held)


def _range(base: Setting, name: str, kind: str, text: str) -> Range:
    owner = f"hyperparameter {name}"
    if kind not in RANGES:
        raise UnknownName(f"range of {name}", kind, RANGES)
    ends = [end.strip() for end in text.split(",")]
    if len(ends) != 2:
        raise InvalidInput(
            owner, "needs a range with a lowest and a highest value", text, f"Write {kind}(low,high)"
        )
    read = [_number(_read(base, name, end)) for end in ends]
    if None in read:
        remedy = f"List its levels: {name}={KNOBS[name].example},..."
        raise InvalidInput(owner, "has no order, so no range", f"{kind}({text})", remedy)
    low, high = (float(number) for number in read if number is not None)
    is_whole = all(isinstance(number, int) for number in read)
    if not low < high:
        raise InvalidInput(owner, "must have a lowest value below the highest", f"{kind}({text})")
    if kind == "loguniform" and low <= 0:
        raise InvalidInput(
            owner, "must have a lowest value above 0", f"{kind}({text})", "uniform may start at 0"
        )
    return Range(low, high, kind == "loguniform", is_whole)


def _number(value: Any) -> float | None:
    """A number, or the only one of a tuple."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _read(base: Setting, name: str, level: Any) -> Any:
    """A level as the setting holds it, where `base` can hold it; else as it was given, if it can be read."""
    try:
        return value_of_level(turn(base, **{name: level}), name)
    except InvalidInput as refused:
        if not isinstance(level, str):
            return level
        try:
            return KNOBS[name].read(level)
        except (ValueError, KeyError, SyntaxError, TypeError):
            raise refused from None
