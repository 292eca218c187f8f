"""Weights for every row of a source file, so that it stands for a target file, in bounded memory."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlplab.errors import InvalidInput, UnknownName, import_extra
from mlplab.outputs import whole
from mlplab.shift import columns, tables
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.correction import Correction
from mlplab.shift.files import Loaded, load, pieces
from mlplab.shift.kliep import KLIEP
from mlplab.shift.kmm import KMM
from mlplab.shift.least_squares import RULSIF, ULSIF
from mlplab.shift.notices import Notice
from mlplab.shift.ratio import RatioEstimator

OnStage = Callable[[str, float], None]  # what is being done, and the share of all that is done
METHODS: dict[str, type[RatioEstimator]] = {
    "classifier": ClassifierWeights,
    "ulsif": ULSIF,
    "rulsif": RULSIF,
    "kliep": KLIEP,
    "kmm": KMM,
}
SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class Weighed:
    """The weights of a file's rows in order, their diagnosis, and what was noticed on the way."""

    source: tuple[str, int]
    target: tuple[str, int]
    correction: Correction
    notices: tuple[Notice, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: all but the weights themselves."""
        files = {"source": self.source, "target": self.target}
        told = {role: {"name": name, "rows": rows} for role, (name, rows) in files.items()}
        notices = [{"name": n.name, "text": n.text, "column": n.column} for n in self.notices]
        return told | self.correction.to_dict() | {"notices": notices}


def weigh_files(
    source: str | Path,
    target: str | Path,
    *,
    method: str = "classifier",
    ignore: Sequence[str] = (),
    on_stage: OnStage = lambda words, share: None,
) -> Weighed:
    """Weigh each row of a .csv or .parquet file by p(target)/p(source).

    The method learns from at most 50,000 rows of each file, drawn at random; then each row is weighed as it is read
    again. Rows that taught a classifier are weighed by those that did not see them only where the file is no larger.

    Arguments:
      method: a name of METHODS.
      ignore: columns that are no features, such as labels and names of rows.

    Raises UnknownName for a method or a column that is not there, DataError and InvalidInput for files that cannot be
    read or do not fit each other.
    """
    if method not in METHODS:
        raise UnknownName("--method", method, METHODS)
    first = load(
        source, ignore=ignore, on_share=lambda share: on_stage(f"reading {Path(source).name}", 0.2 * share)
    )
    texts = {str(name) for name in first.frame if tables.is_text(first.frame[name])}
    second = load(
        target,
        text_columns=texts,
        ignore=ignore,
        on_share=lambda share: on_stage(f"reading {Path(target).name}", 0.2 + 0.2 * share),
    )
    for name in ignore:
        if name not in first.frame and name not in second.frame:
            raise UnknownName("--ignore", name, first.frame.columns)
    for loaded in (first, second):
        if loaded.num_rows < tables.MIN_ROWS:
            raise InvalidInput(
                loaded.path.name, f"must have at least {tables.MIN_ROWS} rows", loaded.num_rows
            )
    before, now = (frame.drop(columns=list(ignore), errors="ignore") for frame in (first.frame, second.frame))
    if lacking := [str(name) for name in before if name not in now]:
        beside = [str(name) for name in now if name not in before]
        close = difflib.get_close_matches(lacking[0], beside, n=1, cutoff=0.6)
        remedy = f"Is it no feature, as a label is? Say --ignore {lacking[0]}"
        if close:
            remedy = f"Perhaps {lacking[0]!r} was renamed to {close[0]!r}"
        rule = f"must have the column {lacking[0]!r} of {first.path.name}"
        raise InvalidInput(second.path.name, rule, list(now), remedy)
    dates = columns.date_columns(before)
    before, now = (columns.with_dates(frame, dates) for frame in (before, now))
    on_stage(f"finding weights by {method}", 0.4)
    estimator = METHODS[method]().fit(before, now)
    correction = estimator.correction_
    if len(before) < first.num_rows:
        correction = _every_row(estimator, first, now, texts | set(first.mixed), ignore, dates, on_stage)
    told = [*first.notices, *second.notices]
    told += tables.shared_rows(first.hashes, second.hashes, ("source", "target"))
    # Of shared rows the files' own hashes, of all rows, tell more than those of the sample.
    told += [n for n in estimator.notices_ if n.name not in ("shared-rows", "identical")]
    on_stage("done", 1.0)
    files = [(loaded.path.name, loaded.num_rows) for loaded in (first, second)]
    return Weighed(files[0], files[1], correction, tuple(told))


def _every_row(
    estimator: RatioEstimator,
    source: Loaded,
    now: pd.DataFrame,
    text_columns: set[str],
    ignore: Collection[str],
    dates: Collection[str],
    on_stage: OnStage,
) -> Correction:
    if not callable(getattr(estimator, "predict", None)):
        remedy = "Take another method, or a sample of the rows"
        rule = f"weighs at most {len(source.frame):,} rows"
        raise InvalidInput("--method kmm", rule, f"{source.num_rows:,}", remedy)
    found = [
        estimator.predict(columns.with_dates(piece, dates))
        for piece in pieces(
            source.path,
            text_columns=text_columns,
            ignore=ignore,
            on_share=lambda share: on_stage(f"weighing {source.path.name}", 0.7 + 0.3 * share),
        )
    ]
    return estimator.correction_of(np.concatenate(found), estimator.predict(now))


def check_output(path: str | Path) -> None:
    """Before anything is computed. Raises InvalidInput for a file that cannot be written, MissingExtra for Parquet."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidInput("--out", f"must end in {' or '.join(SUFFIXES)}", str(path))
    if not path.absolute().parent.is_dir():
        raise InvalidInput("--out", "must lie in a folder that exists", str(path))
    if path.suffix.lower() == ".parquet":
        import_extra("pyarrow", what="A Parquet file", extra="parquet")


def write_weights(correction: Correction, path: str | Path) -> None:
    """A row for each source row, in order: `row`, from 1, and `weight`, of mean 1. All of it or nothing is written."""
    path = Path(path)
    check_output(path)
    table = pd.DataFrame({"row": np.arange(1, correction.num_rows + 1), "weight": correction.weights})
    with whole(path) as part:
        if path.suffix.lower() == ".parquet":
            table.to_parquet(part, index=False)
        else:
            table.to_csv(part, index=False)
