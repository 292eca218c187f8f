"""Settings by flat names: what `--set`, a study's factors and a file of settings speak of.

turn(setting, learning_rate=0.05, dropout=(0.2, 0.5))     values
turn(setting, learning_rate="0.05", dropout="0.2,0.5")    or the text a person types
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mlplab.errors import InvalidInput, UnknownName
from mlplab.spec import (
    MLP,
    Activation,
    Initialization,
    Noise,
    Normalization,
    Prior,
    Schedule,
    Setting,
    written_number,
)

_N = TypeVar("_N", Activation, Initialization, Noise, Normalization, Prior, Schedule)


@dataclass(frozen=True)
class Knob:
    """One name of a setting: the part and field it turns, how its text is read, and what to write."""

    part: str
    field: str
    read: Callable[[str], Any]
    example: str


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(item) for item in _items(text))


def _rates(text: str) -> tuple[float, ...]:
    return tuple(float(item) for item in _items(text))


def _flag(text: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
        text.strip().lower()
    ]


def _batch(text: str) -> int | None:
    return None if text.strip().lower() in ("full", "none") else int(text)


def _named(kind: type[_N]) -> Callable[[str], tuple[_N, ...]]:
    """Reads `tanh`, `normal(std=0.1)`, or several of them parted by commas."""

    def read(text: str) -> tuple[_N, ...]:
        calls = [re.fullmatch(r"(\w+)(?:\(([^()\[\]]*)\))?", item) for item in _parted(text, ",")]
        if not all(calls):
            raise ValueError(text)
        return tuple(kind(call[1], **_options(call[2] or "")) for call in calls if call)

    return read


def _one(kind: type[_N]) -> Callable[[str], _N]:
    def read(text: str) -> _N:
        items = _named(kind)(text)
        if len(items) != 1:
            raise ValueError(text)
        return items[0]

    return read


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.strip().lower() == "none" else read(text)


def _options(text: str) -> dict[str, float]:
    options: dict[str, float] = {}
    for item in _items(text):
        name, _, value = item.partition("=")
        if (name := name.strip()) in options:
            raise ValueError(f"{name} twice")
        options[name] = float(value)
    return options


def _items(text: str) -> list[str]:
    """What stands between the commas of `1,2`, `(1, 2)`, `[1,2]` or `1,`."""
    inner = text.strip()
    if (inner[:1], inner[-1:]) in (("(", ")"), ("[", "]")):
        inner = inner[1:-1].strip()
    items = [item.strip() for item in inner.removesuffix(",").split(",")] if inner else []
    if not all(items):
        raise ValueError(text)
    return items


KNOBS: dict[str, Knob] = {
    "hidden_sizes": Knob("model", "hidden_sizes", _whole_numbers, "256,128"),
    "activation": Knob("model", "activation", _named(Activation), "relu"),
    "initialization": Knob("model", "initialization", _named(Initialization), "normal(std=0.01)"),
    "bias": Knob("model", "bias", _flag, "true"),
    "normalization": Knob("model", "normalization", _named(Normalization), "batch"),
    "dropout": Knob("noise", "", _rates, "0.2,0.5"),
    "noise": Knob("noise", "", _named(Noise), "dropout(rate=0.5)"),
    "optimizer": Knob("optimizer", "kind", str.strip, "adam"),
    "learning_rate": Knob("optimizer", "learning_rate", float, "0.1"),
    "momentum": Knob("optimizer", "momentum", float, "0.9"),
    "nesterov": Knob("optimizer", "nesterov", _flag, "true"),
    "beta1": Knob("optimizer", "beta1", float, "0.9"),
    "beta2": Knob("optimizer", "beta2", float, "0.999"),
    "epsilon": Knob("optimizer", "epsilon", float, "1e-8"),
    "trust_coefficient": Knob("optimizer", "trust_coefficient", float, "0.001"),
    "clip_norm": Knob("optimizer", "clip_norm", _or_none(float), "1"),
    "schedule": Knob("optimizer", "schedule", _one(Schedule), "cosine(warmup=1)"),
    "weight_decay": Knob("penalty", "weight_decay", float, "0.001"),
    "l1": Knob("penalty", "l1", float, "0.001"),
    "proximal": Knob("penalty", "proximal", _flag, "true"),
    "prior": Knob("penalty", "prior", _or_none(_one(Prior)), "Laplace(loc=0,scale=0.1)"),
    "prior_weight": Knob("penalty", "prior_weight", float, "0.001"),
    "loss": Knob("training", "loss", str.strip, "cross_entropy"),
    "epochs": Knob("training", "epochs", int, "10"),
    "batch_size": Knob("training", "batch_size", _batch, "256"),
    "evaluate_every": Knob("training", "evaluate_every", int, "1"),
    "precision": Knob("training", "precision", str.strip, "float32"),
    "huber_delta": Knob("training", "huber_delta", float, "1"),
    "label_smoothing": Knob("training", "label_smoothing", float, "0.1"),
    "patience": Knob("training", "patience", _or_none(int), "5"),
    "probes": Knob("training", "probes", lambda text: tuple(_items(text)), "activations,weight_norms"),
    "keep_weights": Knob("training", "keep_weights", _whole_numbers, "1,10"),
    "average_epochs": Knob("training", "average_epochs", int, "5"),
    "drop_last": Knob("training", "drop_last", _flag, "true"),
}


def turn(setting: Setting, **values: Any) -> Setting:
    """A copy of `setting` with some knobs turned.

    Raises UnknownName for a knob that is not there, InvalidInput for text that cannot be read or a value that the
    spec refuses.
    """
    changes: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name not in KNOBS:
            raise UnknownName("setting", name, KNOBS)
        knob = KNOBS[name]
        if isinstance(value, str):
            value = _read(name, knob, value)
        if name == "dropout":
            rates = value if isinstance(value, tuple | list) else (value,)
            value = tuple(Noise("dropout", rate=rate) for rate in rates)
        if knob.field in changes.get(knob.part, {}):
            raise InvalidInput(name, "must be the only one of 'dropout' and 'noise'", values[name])
        changes.setdefault(knob.part, {})[knob.field] = value
    parts = {
        part: fields[""] if part == "noise" else dataclasses.replace(getattr(setting, part), **fields)
        for part, fields in changes.items()
    }
    return setting.replace(**parts)


def value_of(setting: Setting, name: str) -> Any:
    """What a knob stands at: plain values, with a tuple of rates for `dropout`."""
    if name not in KNOBS:
        raise UnknownName("setting", name, KNOBS)
    if name == "dropout":
        return tuple(noise.rate for noise in setting.noises)
    knob = KNOBS[name]
    part = getattr(setting, knob.part)
    return getattr(part, knob.field) if knob.field else part


def written(value: Any) -> str:
    """A knob's value as a person would type it."""
    if isinstance(value, tuple):
        return ",".join(written(item) for item in value)
    if isinstance(value, float):
        return written_number(value)
    return "none" if value is None else str(value)


def levels(name: str, text: str) -> list[str]:
    """The levels of a knob as a person types them, for every command and file.

    Parted by commas, or by bars where a level has commas of its own; what stands in brackets is one level.

    >>> levels("dropout", "0, 0.2"), levels("initialization", "normal(mean=0,std=0.1),linear")
    (['0', '0.2'], ['normal(mean=0,std=0.1)', 'linear'])
    >>> levels("hidden_sizes", "[64,32],[16]"), levels("hidden_sizes", "64,32|16")
    (['[64,32]', '[16]'], ['64,32', '16'])

    Raises InvalidInput for a level that is empty.
    """
    found = _parted(text, "|" if "|" in text else ",")
    if not all(found):
        example = KNOBS[name].example if name in KNOBS else "0"
        raise InvalidInput(f"levels of {name}", "must not be empty", text, f"Write {name}={example}|...")
    return found


def _parted(text: str, by: str) -> list[str]:
    """What stands between the signs `by` that are in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == by and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _read(name: str, knob: Knob, text: str) -> Any:
    try:
        return knob.read(text)
    except (UnknownName, InvalidInput):
        raise
    except (ValueError, KeyError, SyntaxError, TypeError) as error:
        raise InvalidInput(name, "could not be read", text, f"Write it like {name}={knob.example}") from error


assert set(KNOBS) >= {field.name for field in dataclasses.fields(MLP)} - {"start"}
