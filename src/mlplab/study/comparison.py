"""A plan carried out: arms trained on a table of one's own, ranked by validation data, the winner tested once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from mlplab import engine, stats
from mlplab.charts import plots
from mlplab.data.own_table import OwnTable
from mlplab.errors import InvalidInput, UnknownName, import_extra
from mlplab.study.adaptive import looks, run_until_decided
from mlplab.study.agreement import all_seeds_agree, plain
from mlplab.study.design import Arm, Study, refuse_own_measures
from mlplab.study.plan import Plan
from mlplab.study.results import Results
from mlplab.study.run import CHUNKS_AT_ONCE, Progress, Train, run_study
from mlplab.study.scalars import ScalarLog
from mlplab.study.store import Store

if TYPE_CHECKING:
    import altair

CONTRADICTED = "better here, worse on the test part"
METRICS = {"classification": ("validation_accuracy", "validation_loss"), "regression": ("validation_loss",)}


@dataclass(frozen=True)
class Outcome:
    """What a plan found.

    Arguments:
      table: the data set, with notes on it.
      metric: what was compared, on validation data.
      baseline: the arm that others were compared with.
      results: all runs.
      comparisons: arm minus baseline, by paired seeds, of those arms of which no run diverged.
      test: the best arm minus the baseline on the test part, looked at for these two alone; None where the baseline is
        best, or there is nothing to compare.
      best: the arm with the best mean on validation data among those that did not diverge; None where all did.
    """

    plan: Plan
    table: OwnTable
    metric: str
    baseline: str
    results: Results
    comparisons: Mapping[str, stats.Comparison]
    best: str | None
    test: stats.Comparison | None

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return sign_of(self.metric)

    @property
    def is_contradicted(self) -> bool:
        """Whether the test part shows the arm that is best on validation data to be worse than the baseline."""
        return self.test is not None and self.test.verdict == "holds" and self.sign * self.test.estimate < 0

    def ranking(self) -> pd.DataFrame:
        """A row for each arm, best first; arms of which a run diverged come last.

        Columns: rank, arm, seeds, mean and its 95% t interval (low, high), difference from the baseline with the
        interval that decided and its level, p (Holm's over arms, or multiplied by arms and looks), verdict, diverged,
        all_seeds_agree and differences_agree: where they do, there is no interval.
        """
        summary = self.results.summary(self.metric).set_index("arm")
        rows = []
        for arm, row in summary.iterrows():
            name = str(arm)
            found = self.comparisons.get(name)
            is_flat, is_even = row["ci_method"] == "exact", found is not None and all_seeds_agree(found)
            rows.append(
                {
                    "arm": name,
                    "seeds": int(row["num_replicates"] + row["num_diverged"]),
                    "mean": row["estimate"],
                    "low": float("nan") if is_flat else row["ci_low"],
                    "high": float("nan") if is_flat else row["ci_high"],
                    "difference": found.estimate if found else float("nan"),
                    "difference_low": _number(found.deciding.ci_low if found and not is_even else None),
                    "difference_high": _number(found.deciding.ci_high if found and not is_even else None),
                    "difference_prob": found.deciding.ci_prob if found else float("nan"),
                    "p": self._p(found) if found else float("nan"),
                    "verdict": self._verdict(name),
                    "diverged": int(row["num_diverged"]),
                    "all_seeds_agree": is_flat,
                    "differences_agree": is_even,
                }
            )
        frame = pd.DataFrame(rows)
        order = sorted(
            range(len(frame)),
            key=lambda i: (frame["diverged"][i] > 0, -self.sign * frame["mean"][i]),
        )
        frame = frame.iloc[order].reset_index(drop=True)
        frame.insert(0, "rank", range(1, len(frame) + 1))
        return frame

    def _p(self, found: stats.Comparison) -> float:
        if found.p_holm is not None:
            return found.p_holm
        # Bonferroni over arms and looks: what alpha was divided by.
        return min(1.0, found.p * round(0.05 / (1 - found.ci_prob)))

    def _verdict(self, arm: str) -> str:
        if arm == self.baseline:
            return "baseline"
        if arm not in self.comparisons:
            return "diverged"
        found = self.comparisons[arm]
        if found.verdict == "holds":
            small = ", too small to matter" if found.is_too_small else ""
            if self.sign * found.estimate < 0:
                return f"worse{small}"
            if small:
                return f"better{small}"
            return CONTRADICTED if arm == self.best and self.is_contradicted else "better"
        if found.equivalence and found.equivalence.holds:
            return "equivalent"
        needed = f" ({found.replicates_needed} seeds would do)" if found.replicates_needed else ""
        return f"undecided{needed}"

    def plot(self) -> altair.TopLevelMixin:
        """Differences from the baseline, and the learning curves of all arms."""
        alt = import_extra("altair", what="A figure", extra="book")
        title = self.metric.replace("_", " ")
        format_ = ".1%" if self.sign > 0 else ""
        good = "above" if self.sign > 0 else "below"
        parts = []
        if self.comparisons:
            chart = plots.difference_plot(
                self.comparisons,
                value_title=f"Difference in {title} from {self.baseline} ({good} 0 is better)",
                title="Differences, paired by seed",
                margin=self.plan.margin,
                value_format=format_,
                width=520,
            )
            parts.append(chart)
        curves = self.results.curves
        if (curves["metric"] == self.metric).any():
            chart = plots.curve_plot(
                curves, self.metric, value_title=title.capitalize(), epoch_title="Epoch",
                title="Learning curves", value_format=format_, width=520,
            )  # fmt: skip
            parts.append(chart)
        return alt.vconcat(*parts).resolve_scale(color="independent", strokeDash="independent")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        frame = self.ranking().astype(object)
        ranking = [
            {str(name): None if pd.isna(value) else value for name, value in row.items()}
            for row in frame.to_dict("records")
        ]
        return {
            "plan": self.plan.to_dict(),
            "data": self.table.dataset.fingerprint,
            "task": self.table.dataset.task,
            "notes": list(self.table.notes),
            "target_std": self.table.target_std,
            "metric": self.metric,
            "baseline": self.baseline,
            "ranking": ranking,
            "comparisons": {arm: self._told(found) for arm, found in self.comparisons.items()},
            "best": self.best,
            "test": None if self.test is None else self._told(self.test),
            "is_contradicted": self.is_contradicted,
        }

    def _told(self, found: stats.Comparison) -> dict[str, Any]:
        """With the direction in words: `better`, `worse`, or None where nothing is decided."""
        word = "better" if self.sign * found.estimate > 0 else "worse"
        return plain(found) | {"direction": word if found.verdict == "holds" else None}


def compare(
    plan: Plan,
    table: OwnTable,
    store: Store,
    *,
    train: Train = engine.train,
    chunks_at_once: int = CHUNKS_AT_ONCE,
    on_progress: Callable[[Progress], None] | None = None,
    on_study: Callable[[Study], None] | None = None,
    log: ScalarLog | None = None,
) -> Outcome:
    """Carry out a plan on its table. What the store holds already is not trained again.

    Arguments:
      on_study: is told the runs of each look, before they are trained.
      train, chunks_at_once, on_progress, log: as `run_study` has them.

    Raises UnknownName for a baseline or metric that is not there, InvalidInput for a level that a knob refuses or a
    single arm.
    """
    metric, arms, baseline = checked(plan, table)
    by_name = {arm.name: arm for arm in arms}

    def run(names: Sequence[str], num_seeds: int) -> Results:
        study = Study([by_name[name] for name in names], num_seeds, table.dataset)
        if on_study is not None:
            on_study(study)
        return run_study(
            study, store, train=train, chunks_at_once=chunks_at_once, on_progress=on_progress, log=log
        )

    if plan.until_decided:
        planned = looks(plan.seeds, plan.max_seeds)
        found = run_until_decided(run, list(by_name), baseline, metric, planned, margin=plan.margin)
        results, comparisons = found.results, found.comparisons
    else:
        results = run(list(by_name), plan.seeds)
        whole = _whole(results)
        others = [arm for arm in whole if arm != baseline]
        comparisons = (
            results.compare(metric, baseline, arms=others, margin=plan.margin)
            if baseline in whole and others
            else {}
        )
    whole = _whole(results)
    best = max(whole, key=lambda arm: sign_of(metric) * results.values(metric, arm).mean()) if whole else None
    test = None
    if best is not None and best in comparisons:
        seeds = min(len(results.values(metric, best)), len(results.values(metric, baseline)))
        on_test = metric.replace("validation", "test")
        test = stats.paired(results.values(on_test, best)[:seeds], results.values(on_test, baseline)[:seeds])
    return Outcome(plan, table, metric, baseline, results, comparisons, best, test)


def checked(plan: Plan, table: OwnTable) -> tuple[str, tuple[Arm, ...], str]:
    """Metric, arms and baseline of a plan, before anything is trained. Raises as `compare` does."""
    arms = plan.arms(table.dataset)
    if len(arms) < 2:
        raise InvalidInput("Plan.vary", "must make at least 2 arms", 1, "Give a factor two levels")
    names = [arm.name for arm in arms]
    baseline = names[0] if plan.baseline is None else plan.baseline
    if baseline not in names:
        raise UnknownName("Plan.baseline", baseline, names)
    known = METRICS[table.dataset.task]
    metric = known[0] if plan.metric is None else plan.metric
    if metric not in known:
        raise UnknownName("Plan.metric", metric, known)
    refuse_own_measures({name for arm in arms for name in arm.levels}, metric)
    return metric, arms, baseline


def sign_of(metric: str) -> int:
    """1 where more is better, -1 where less is."""
    return 1 if metric.endswith("accuracy") else -1


def _whole(results: Results) -> list[str]:
    """Arms of which no run diverged, in their order."""
    lost = set(results.frame.loc[results.frame["status"] != "finished", "arm"])
    return [arm for arm in results.arms if arm not in lost]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
