"""Has a table shifted? The detectors that a pipeline wants, over two files, under one level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mlplab import stats
from mlplab.errors import DataError, InvalidInput, UnknownName
from mlplab.shift import columns, encoding, tables
from mlplab.shift.bbsd import BBSDDetector
from mlplab.shift.by_feature import FeatureDetector
from mlplab.shift.c2st import C2STDetector
from mlplab.shift.detector import MOST_PERMUTATIONS, WHY_NO_LESS
from mlplab.shift.files import load
from mlplab.shift.mmd import MMDDetector
from mlplab.shift.notices import Notice
from mlplab.shift.result import ShiftResult
from mlplab.shift.tables import Sample

if TYPE_CHECKING:
    import altair

PERMUTATIONS_FOR_HOLM = 10  # over alpha: Holm asks for a fourth of it
SMALLEST_ALPHA = PERMUTATIONS_FOR_HOLM / MOST_PERMUTATIONS
OnStage = Callable[[str, float], None]  # what is being done, and the share of all that is done
NAMES_OF_TESTS = {
    "C2ST": "can a classifier tell the samples apart",
    "MMD": "do the samples differ in any way",
    "features": "which features have shifted",
    "target": "has the target shifted",
    "BBSD": "has the target shifted, by a model's predictions",
}


@dataclass(frozen=True)
class CheckResult:
    """All tests of two files. `p_values` are adjusted by Holm over the tests: any shift is decided at level alpha.

    Arguments:
      files: name and number of rows of the reference and of the current file.
      results: by the name of the test.
    """

    files: tuple[tuple[str, int], tuple[str, int]]
    results: dict[str, ShiftResult]
    p_values: dict[str, float]
    alpha: float
    notices: tuple[Notice, ...]

    @property
    def is_shift(self) -> bool:
        return any(p <= self.alpha for p in self.p_values.values())

    def table(self) -> pd.DataFrame:
        """A row for each test: test, question, decision, statistic, p_value, p_holm, would_find."""
        return pd.DataFrame(
            [
                {
                    "test": name,
                    "asks": NAMES_OF_TESTS[name],
                    "decision": "shift" if self.p_values[name] <= self.alpha else "no shift found",
                    "statistic": f"{found.statistic_name} {found.statistic:.3g}",
                    "p_value": found.p_value,
                    "p_holm": self.p_values[name],
                    "would_find": found.would_find,
                }
                for name, found in self.results.items()
            ]
        )

    def driver_table(self) -> pd.DataFrame:
        """A row for each feature, most shifted first: feature, distance, p_value (Holm over features), what."""
        rows = [(d.name, d.score, d.p_value, d.note) for d in self.results["features"].drivers]
        return pd.DataFrame(rows, columns=["feature", "distance", "p_value", "what"])

    def plot(self) -> altair.VConcatChart:
        """The pictures of all tests, one above the other."""
        from mlplab.errors import import_extra

        alt = import_extra("altair", what="A figure", extra="book")
        named = [replace(found, detector=name) for name, found in self.results.items()]
        return alt.vconcat(*(found.plot() for found in named)).resolve_scale(color="independent")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "is_shift": self.is_shift,
            "decision": "shift" if self.is_shift else "no shift found",
            "alpha": self.alpha,
            "files": [{"name": name, "rows": rows} for name, rows in self.files],
            "tests": {
                name: {"p_holm": self.p_values[name]} | found.to_dict()
                for name, found in self.results.items()
            },
            "notices": [{"name": n.name, "text": n.text, "column": n.column} for n in self.notices],
        }


def check_files(
    reference: str | Path,
    current: str | Path,
    *,
    target: str | None = None,
    ignore: Sequence[str] = (),
    alpha: float = 0.05,
    on_stage: OnStage = lambda words, share: None,
) -> CheckResult:
    """Compare a current file with a reference file by C2ST, MMD and feature by feature, and the target on its own.

    Arguments:
      target: a column that is no feature. Where both files have it, its distribution is compared; where the current one
        lacks it, a model learns it from half of the reference rows, and predictions on the rest are compared (BBSD).
      ignore: columns that are not looked at.
      alpha: chance of any false alarm over all tests.

    Raises InvalidInput for an alpha below SMALLEST_ALPHA or not below 1, DataError or InvalidInput for files that
    cannot be read or do not fit together.
    """
    check_alpha("check_files.alpha", alpha)
    first = load(
        reference,
        ignore=ignore,
        on_share=lambda share: on_stage(f"reading {Path(reference).name}", 0.35 * share),
    )
    second = load(
        current,
        text_columns=columns.codes(first.frame),
        ignore=ignore,
        on_share=lambda share: on_stage(f"reading {Path(current).name}", 0.35 + 0.35 * share),
    )
    for name, told in second.mixed.items():
        if name in first.frame and pd.api.types.is_numeric_dtype(first.frame[name]):
            raise DataError(f"{told.rpartition('.')[0]}; the reference has numbers there.")
    before, now = first.frame, second.frame
    for name in ignore:
        if name not in before and name not in now:
            raise UnknownName("--ignore", name, before.columns)
    before, now = (frame.drop(columns=[name for name in ignore if name in frame]) for frame in (before, now))
    if target is not None and target not in before:
        raise UnknownName("--target", target, before.columns)
    notices = [*first.notices, *second.notices]
    notices += [*columns.mixed(before, first.path), *columns.mixed(now, second.path)]
    notices += tables.shared_rows(first.hashes, second.hashes)
    before, now = (columns.with_dates(frame, columns.date_columns(frame)) for frame in (before, now))
    labels = None if target is None else before.pop(target)
    current_labels = now.pop(target) if target is not None and target in now else None
    before, now, told = _without_identifiers(before, now)
    reference_sample, more = tables.read(str(first.path), before)
    current_sample, others = tables.read(str(second.path), now, reference_sample.schema)
    notices += [*told, *more, *others]
    tests = _tests(reference_sample, current_sample, labels, current_labels, alpha, on_stage)
    on_stage("done", 1.0)
    adjusted = stats.holm([found.p_value for found in tests.values()]).tolist()
    seen = [
        n for found in tests.values() for n in found.notices if n.name not in ("shared-rows", "identical")
    ]
    return CheckResult(
        ((first.path.name, first.num_rows), (second.path.name, second.num_rows)),
        {name: replace(found, notices=()) for name, found in tests.items()},
        dict(zip(tests, adjusted, strict=True)),
        alpha,
        tuple(dict.fromkeys([*notices, *seen])),
    )


def check_alpha(owner: str, alpha: float) -> None:
    """Raises InvalidInput for a level that is none, or that no bearable number of permutations reaches."""
    if not 0 < alpha < 1:
        raise InvalidInput(owner, "must be in (0, 1)", alpha, "0.05 is usual")
    if alpha < SMALLEST_ALPHA:
        raise InvalidInput(owner, f"must be at least {SMALLEST_ALPHA:g}", alpha, WHY_NO_LESS)


def _without_identifiers(
    before: pd.DataFrame, now: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[Notice]]:
    notices = columns.identifiers(before)
    gone = [notice.column for notice in notices]
    kept = [name for name in before.columns if name not in gone]
    if not kept:
        raise DataError("Every column looks like an identifier: there is nothing to compare.")
    return before[kept], now[[name for name in now.columns if name not in gone]], notices


def _tests(
    before: Sample,
    now: Sample,
    labels: pd.Series | None,
    current_labels: pd.Series | None,
    alpha: float,
    on_stage: OnStage,
) -> dict[str, ShiftResult]:
    found: dict[str, ShiftResult] = {}
    on_stage("testing each feature", 0.7)
    found["features"] = FeatureDetector(alpha=alpha).compare_samples(before, now)
    on_stage("training a classifier", 0.75)
    found["C2ST"] = C2STDetector(alpha=alpha).compare_samples(before, now)
    on_stage("comparing all pairs", 0.85)
    enough = max(499, int(PERMUTATIONS_FOR_HOLM / alpha))
    found["MMD"] = MMDDetector(alpha=alpha, num_permutations=enough).compare_samples(before, now)
    if labels is not None:
        on_stage("looking at the target", 0.95)
        if current_labels is not None:
            sides = [side.to_frame() for side in (labels, current_labels)]
            first, _ = tables.read("target", sides[0])
            second, _ = tables.read("target", sides[1], first.schema)
            found["target"] = FeatureDetector(alpha=alpha).compare_samples(first, second)
        else:
            found["BBSD"] = _predicted_shift(before, now, labels, alpha)
    return found


def _predicted_shift(before: Sample, now: Sample, labels: pd.Series, alpha: float) -> ShiftResult:
    """Trees learn the target from every other reference row; their predictions elsewhere are compared."""
    both, _ = tables.pair(before, now)
    features, is_code = encoding.for_trees(both)
    known = labels.notna().to_numpy()
    learn = np.flatnonzero(known & (np.arange(len(labels)) % 2 == 0))
    judge = np.flatnonzero(np.arange(len(labels)) % 2 == 1)
    options: dict[str, Any] = {
        "categorical_features": is_code,
        "max_iter": 50,
        "early_stopping": False,
        "random_state": 0,
    }
    numeric = pd.api.types.is_numeric_dtype(labels) and not pd.api.types.is_bool_dtype(labels)
    sides = (features[judge], features[both.is_current])
    if numeric and labels.nunique() > 20:
        model = HistGradientBoostingRegressor(**options).fit(
            features[learn], labels.to_numpy(dtype=np.float64)[learn]
        )
        predicted = [np.asarray(model.predict(side))[:, None] for side in sides]
        found = FeatureDetector(alpha=alpha)
        return replace(found.fit(predicted[0])._test(predicted[1], alpha, "predictions"), detector="BBSD")
    names = labels.astype(str).to_numpy(dtype=object)[learn]
    if len(np.unique(names)) < 2:
        raise DataError(
            f"The target {labels.name!r} has a single class in the reference: nothing can be learnt."
        )
    model = HistGradientBoostingClassifier(**options).fit(features[learn], names)
    predicted = [pd.DataFrame({"predicted": model.predict(side).astype(str)}) for side in sides]
    return BBSDDetector(alpha=alpha).fit(predicted[0])._test(predicted[1], alpha, "predictions")
