"""What a study found: tidy tables, and comparisons that are paired by seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
import pandas as pd

from mlplab import stats
from mlplab.errors import InvalidInput, UnknownName
from mlplab.study.design import Study, level_text
from mlplab.study.row import MAX_PARAMETERS, Parameters, StoredResult
from mlplab.study.store import Store

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

FIXED = ("arm", "seed", "digest", "status", "diverged_step", "seconds")
CURVE_COLUMNS = ("arm", "seed", "epoch", "metric", "value")


class Results:
    """The runs of a study, or of published evidence, as tables.

    `frame` has a row for each run: arm, the factors as text, seed, status, diverged_step, the metrics at the end
    (NaN where a run diverged) and seconds. `curves` has a row for each arm, seed, epoch (from 1) and metric. Arms
    are in the order of the study, seeds ascend within.
    """

    frame: pd.DataFrame

    def __init__(
        self,
        frame: pd.DataFrame,
        curves: Callable[[], pd.DataFrame],
        stored: Callable[[str, int], StoredResult] | None = None,
        test_sizes: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.frame, self._make_curves, self._find = frame, curves, stored
        self._test_sizes = test_sizes
        # Told apart by type, as published records do not say: levels are text and metrics are numbers.
        held = [name for name in frame.columns if name not in FIXED]
        self.factors = tuple(name for name in held if not pd.api.types.is_numeric_dtype(frame[name]))
        self.metrics = tuple(name for name in held if name not in self.factors)
        self.arms = tuple(dict.fromkeys(frame["arm"]))

    @classmethod
    def of(cls, study: Study, store: Store) -> Self:
        """The results of a study whose runs are all in the store."""
        stored = store.get(study.digests, parameters=False)
        held = {
            (study.arm_of(run).name, run.seed): (digest, stored[digest])
            for digest, run in zip(study.digests, study.runs, strict=True)
        }
        keys = [(arm.name, seed) for arm in study.arms for seed in sorted(study.seeds)]
        levels = {arm.name: {k: level_text(v) for k, v in arm.levels.items()} for arm in study.arms}
        records = [_record(*key, levels[key[0]], held[key][1]) for key in keys]
        if not any(result.metrics for result in stored.values()):
            # Nothing finished; the table has its columns all the same.
            for record in records:
                record |= dict.fromkeys(_expected_metrics(study))
        results = {key: held[key][1] for key in keys}
        digests = {key: held[key][0] for key in keys}
        sizes = {
            run.seed: 0 if test is None else test.num_examples
            for run in study.runs
            for test in [study.datasets[run.data].test]
        }
        return cls(_frame(records), partial(_curves, results), partial(_stored, store.path, digests), sizes)

    @classmethod
    def from_records(
        cls, frame_records: Iterable[Mapping[str, Any]], curve_records: Iterable[Mapping[str, Any]] = ()
    ) -> Self:
        """Results from rows of `frame` and `curves`, as `to_records` gives them and JSON keeps them.

        Raises InvalidInput for a row that lacks arm, seed or status, and for two rows of one arm and seed.
        """
        rows = [dict(row) for row in frame_records]
        if not rows:
            raise InvalidInput("frame_records", "needs at least 1 row", 0)
        for number, row in enumerate(rows):
            if missing := {"arm", "seed", "status"} - row.keys():
                raise InvalidInput(
                    f"frame_records[{number}]", f"must have {', '.join(sorted(missing))}", sorted(row)
                )
        order = {arm: index for index, arm in enumerate(dict.fromkeys(row["arm"] for row in rows))}
        rows.sort(key=lambda row: (order[row["arm"]], row["seed"]))
        for one, other in itertools.pairwise(rows):
            if (one["arm"], one["seed"]) == (other["arm"], other["seed"]):
                raise InvalidInput(
                    "frame_records", "must have each arm and seed once", (one["arm"], one["seed"])
                )
        curves = pd.DataFrame([dict(row) for row in curve_records], columns=list(CURVE_COLUMNS))
        return cls(
            _frame(rows), lambda: curves.astype({"seed": "int64", "epoch": "int64", "value": "float64"})
        )

    def to_records(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of `frame` and of `curves` as plain values, fit for JSON; None for what is not there."""
        return _plain(self.frame), _plain(self.curves)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Arm, seed, epoch, metric, value: one row a point, up to where a run diverged."""
        return self._make_curves()

    def parameters(self, arm: str, seed: int) -> Parameters:
        """(weight, bias) of each layer of a run, read from the store.

        Raises UnknownName for another arm or seed, InvalidInput where weights were not kept: of a large model, of
        a run that diverged, in published evidence.
        """
        self._check_arm(arm)
        if seed not in (seeds := self._rows(arm)["seed"].tolist()):
            raise UnknownName("seed", seed, map(str, seeds))
        found = self._find(arm, seed).parameters if self._find else None
        if not found:
            remedy = (
                f"The store keeps those of models of up to {MAX_PARAMETERS:,} numbers that did not diverge"
            )
            raise InvalidInput(
                "Results.parameters", "needs a run whose weights were kept", f"{arm}, seed {seed}", remedy
            )
        return found

    def test_hits(self, arm: str) -> Bool[np.ndarray, "seed example"]:
        """Which test examples each run of an arm classifies right, by ascending seed, read from the store.

        Raises UnknownName for another arm, InvalidInput where that was not kept: without the probe `test_hits`, of a
        run that diverged, in published evidence.
        """
        self._check_arm(arm)
        found = []
        for seed in self._rows(arm)["seed"].tolist():
            packed = self._find(arm, seed).test_hits if self._find else None
            if packed is None:
                remedy = "Ask for them with probes=test_hits"
                raise InvalidInput(
                    "Results.test_hits", "needs runs whose hits were kept", f"{arm}, seed {seed}", remedy
                )
            found.append(np.unpackbits(packed, count=self._test_sizes[seed]).astype(bool))
        return np.stack(found)

    def values(self, metric: str, arm: str) -> Float[np.ndarray, "seed"]:
        """A metric of one arm by ascending seed; NaN for a run that diverged. Raises UnknownName."""
        self._check_metric(metric)
        self._check_arm(arm)
        return self._rows(arm)[metric].to_numpy(dtype=np.float64)

    def differences(self, metric: str, arm: str, baseline: str) -> Float[np.ndarray, "seed"]:
        """Arm minus baseline on each seed, ascending; NaN where either diverged.

        Raises UnknownName, and InvalidInput where the two do not have the same seeds.
        """
        self._check_pairs([arm, baseline])
        return self.values(metric, arm) - self.values(metric, baseline)

    def compare(
        self, metric: str, baseline: str, *, arms: Sequence[str] | None = None, **claim: Unpack[stats.Claim]
    ) -> dict[str, stats.Comparison]:
        """Each arm (of `arms`, or all) against the baseline by per-seed differences: `stats.compare_arms`.

        Raises InvalidInput where a run diverged: a mean over the others would hide it. Compare the shares
        that diverged (`summary`), or leave the arm out by `arms` and say so.
        """
        chosen = [baseline, *(arm for arm in (self.arms if arms is None else arms) if arm != baseline)]
        self._check_pairs(chosen)
        return stats.compare_arms({arm: self.values(metric, arm) for arm in chosen}, baseline, **claim)

    def summary(self, metric: str, *, ci_prob: float = 0.95) -> pd.DataFrame:
        """A row for each arm: mean and t interval of the runs that finished, and the share that diverged.

        Columns: arm, the factors, estimate, std_error, ci_low, ci_high, ci_prob, ci_method, num_replicates
        (that finished), num_diverged, share_diverged and its Clopper-Pearson interval diverged_low,
        diverged_high. NaN where there is no estimate or an interval has no end. Read a mean beside
        num_diverged: where some runs diverged it says nothing of all.
        """
        self._check_metric(metric)
        return pd.DataFrame([self._summary_row(metric, arm, ci_prob) for arm in self.arms])

    def best(self, metric: str, *, arms: Sequence[str] | None = None) -> str:
        """The arm (of `arms`, or all) with the highest mean; of a loss, the lowest. The first of those that tie.

        An arm of which a run diverged is out. Raises UnknownName, and InvalidInput where no arm is left.
        """
        sign = -1 if metric.endswith("_loss") else 1
        means = {arm: sign * float(self.values(metric, arm).mean()) for arm in arms or self.arms}
        whole = {arm: mean for arm, mean in means.items() if math.isfinite(mean)}
        if not whole:
            raise InvalidInput("Results.best", "needs an arm of which every run finished", ", ".join(means))
        return max(whole, key=whole.__getitem__)

    def _summary_row(self, metric: str, arm: str, ci_prob: float) -> dict[str, Any]:
        rows = self._rows(arm)
        finished = (rows["status"] == "finished").to_numpy()
        share = stats.proportion_interval(int((~finished).sum()), len(rows), ci_prob=ci_prob)
        row = {"arm": arm, **{factor: rows[factor].iloc[0] for factor in self.factors}}
        if finished.any():
            found = stats.mean_interval(self.values(metric, arm)[finished], ci_prob=ci_prob).to_dict()
            row |= {name: math.nan if value is None else value for name, value in found.items()}
        else:
            row |= dict.fromkeys(("estimate", "std_error", "ci_low", "ci_high"), math.nan)
            row |= {"ci_prob": ci_prob, "ci_method": "t", "num_replicates": 0}
        return row | {
            "num_diverged": int((~finished).sum()),
            "share_diverged": share.estimate,
            "diverged_low": share.ci_low,
            "diverged_high": share.ci_high,
        }

    def _rows(self, arm: str) -> pd.DataFrame:
        return self.frame[self.frame["arm"] == arm]

    def _check_arm(self, arm: str) -> None:
        if arm not in self.arms:
            raise UnknownName("arm", arm, self.arms)

    def _check_metric(self, metric: str) -> None:
        if metric not in (*self.metrics, "seconds"):
            raise UnknownName("metric", metric, self.metrics)

    def _check_pairs(self, arms: Sequence[str]) -> None:
        for arm in arms:
            self._check_arm(arm)
        seeds = {arm: self._rows(arm)["seed"].tolist() for arm in arms}
        for arm in arms[1:]:
            if seeds[arm] != seeds[arms[0]]:
                rule = f"must have the seeds of {arms[0]!r}, {seeds[arms[0]]}"
                raise InvalidInput(
                    f"arm {arm!r}", rule, seeds[arm], "Without shared seeds, use stats.two_sample"
                )


def _record(arm: str, seed: int, levels: Mapping[str, str], result: StoredResult) -> dict[str, Any]:
    return {
        "arm": arm,
        **levels,
        "seed": seed,
        "status": result.status,
        "diverged_step": result.diverged_step,
        **result.metrics,
        "seconds": result.seconds,
    }


def _expected_metrics(study: Study) -> list[str]:
    data = next(iter(study.datasets.values()))
    names = ("loss", "accuracy") if data.task == "classification" else ("loss",)
    is_averaged = any(arm.setting.training.average_epochs for arm in study.arms)
    return [
        f"{reading}{part}_{name}"
        for reading in ("", "average_")[: 1 + is_averaged]
        for part in data.parts
        for name in names
    ]


def _frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns in one order: arm, factors, seed, status, diverged_step, metrics, seconds."""
    names = dict.fromkeys(name for record in records for name in record if name not in FIXED)
    factors = [name for name in names if any(isinstance(record.get(name), str) for record in records)]
    metrics = [name for name in names if name not in factors]
    columns = ["arm", *factors, "seed", "status", "diverged_step", *metrics, "seconds"]
    frame = pd.DataFrame(
        {name: [record.get(name) for record in records] for name in columns}, columns=columns
    )
    numbers = dict.fromkeys([*metrics, "seconds"], "float64")
    return frame.astype({"seed": "int64", "diverged_step": "Int64"} | numbers)


def _curves(results: Mapping[tuple[str, int], StoredResult]) -> pd.DataFrame:
    parts: dict[str, list[Any]] = {name: [] for name in CURVE_COLUMNS}
    for (arm, seed), result in results.items():
        evaluated = [int(epoch) for epoch in result.curves.get("evaluated_epoch", ())]
        for metric, values in result.curves.items():
            if metric == "evaluated_epoch":
                continue
            # Running values are there for each epoch, the others for those that were evaluated.
            epochs = range(1, len(values) + 1) if metric.startswith("running_") else evaluated[: len(values)]
            parts["arm"] += [arm] * len(values)
            parts["seed"] += [seed] * len(values)
            parts["epoch"] += epochs
            parts["metric"] += [metric] * len(values)
            parts["value"] += values
    return pd.DataFrame(parts).astype({"seed": "int64", "epoch": "int64", "value": "float64"})


def _stored(path: Path, digests: Mapping[tuple[str, int], str], arm: str, seed: int) -> StoredResult:
    # A second look at the file: the caller may have closed the store, and weights of all runs would fill memory.
    with Store.open_readonly(path) as store:
        digest = digests[arm, seed]
        return store.get([digest])[digest]


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]
