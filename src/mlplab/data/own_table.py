"""A table of one's own as a data set: typed, split so that nothing leaks, encoded by its training rows alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlplab.data.dataset import Dataset, Part, Task
from mlplab.data.moments import Place, moments, refuse_dates_as_numbers
from mlplab.data.split import random_split, stratified_split
from mlplab.data.table_file import line_of, read_table
from mlplab.errors import DataError, InvalidInput, UnknownName
from mlplab.rng import Stream

if TYPE_CHECKING:
    import pandas as pd

SHARES = (0.6, 0.2, 0.2)  # training, validation, test
MIN_ROWS = 30
MAX_CLASSES = 1_000
FEW = 20  # whole numbers with up to so many values are taken for classes
MAX_LEVELS = 100  # categories of a column that are told apart; rarer ones count as one
LOOKED_AT = 20_000  # rows in which a column that gives the target away is looked for
ROWS_AT_ONCE = 20_000  # are encoded: scikit-learn makes float64 of all columns first
TASKS: tuple[Task, ...] = ("classification", "regression")


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for.

    Arguments:
      target: what is predicted.
      task: `classification` or `regression`; None to tell by the target.
      categorical: columns whose cells are names, though they look like numbers.
      leave_out: columns that are not looked at.
      groups: rows with equal cells here stay in one part: a patient, a street. Not a feature.
      time: rows are split in its order, the latest for the test. Not a feature.
    """

    target: str
    task: Task | None = None
    categorical: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    groups: str | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            raise UnknownName("Roles.task", self.task, TASKS)
        if self.groups is not None and self.time is not None:
            raise InvalidInput(
                "Roles.groups and Roles.time", "cannot both set the split", (self.groups, self.time)
            )
        special = [name for name in (self.target, self.groups, self.time) if name is not None]
        for name in special:
            if name in self.leave_out:
                raise InvalidInput(
                    "Roles.leave_out", f"cannot be {name!r}, which has another role", self.leave_out
                )
            if special.count(name) > 1:
                raise InvalidInput("Roles.target", "cannot also set the split", name)


@dataclass(frozen=True, eq=False)
class OwnTable:
    """The data set of a table, and what its owner should know.

    Arguments:
      notes: what was left out, filled in or looks like a mistake, one line each.
      target_std: of a regression's target in the training rows: losses are squares of errors in this unit; None for
        classes.
    """

    dataset: Dataset
    notes: tuple[str, ...]
    target_std: float | None = None


OnStage = Callable[[str, float], None]


def load_own(path: str | Path, roles: Roles, *, on_stage: OnStage = lambda words, share: None) -> OwnTable:
    """The data set in a CSV or Parquet file. Raises as `read_table` and `own_table` do.

    Arguments:
      on_stage: is told what is being done, and the share of all that is done.
    """
    path = Path(path).expanduser()
    on_stage(f"reading {path.name}", 0.0)
    table = read_table(path, roles.categorical, roles.leave_out)

    def on_encoded(share: float) -> None:
        on_stage(f"encoding {path.name}", 0.5 + share / 2)  # reading takes about as long

    def place(row: int) -> str:
        is_csv = path.suffix.lower() == ".csv"
        return f"{path.name}, line {line_of(path, row):,}" if is_csv else f"{path.name}, row {row + 1:,}"

    return own_table(table, roles, name=path.stem, source=path.name, place=place, on_encoded=on_encoded)


def own_table(
    table: pd.DataFrame,
    roles: Roles,
    *,
    name: str,
    source: str = "",
    place: Place = lambda row: f"row {row + 1:,}",
    on_encoded: Callable[[float], None] = lambda share: None,
) -> OwnTable:
    """The data set of a table.

    Numbers are standardised and a missing one becomes the mean; a category becomes a column for each value, missing
    included; both, and the standardised target of a regression, by the training rows alone. 60 % of the rows train,
    20 % validate, 20 % are kept for the test: at random and by class, or by groups, or in the order of time.

    Arguments:
      place: where a row (from 0) stands, in the words of an error.

    Raises UnknownName for a column that is not there; InvalidInput for a target that is constant, all missing or has
    too many classes; DataError for too few rows or groups, and moments whose order nobody can tell.
    """
    for option, column in _named(roles):
        if column not in table.columns:
            raise UnknownName(option, column, map(str, table.columns))
    table = _plain(table, roles.leave_out)
    notes: list[str] = []
    table = _without_gaps(table, roles, notes)
    labels, classes, task = _target(table[roles.target], roles, notes)
    features = _features(table, roles, notes, place)
    rows = _split(table, roles, labels if task == "classification" else None, notes, place)
    notes += _giveaways(features.iloc[rows[0]], labels[rows[0]], task)
    notes += _copies(features, labels, rows)
    encoded = _encoded(features, rows, on_encoded)
    std = None
    if task == "regression":
        mean, std = float(labels[rows[0]].mean()), float(labels[rows[0]].std())
        if not std:
            raise InvalidInput(
                "Roles.target", "must vary in the training rows", f"{roles.target!r} is constant there"
            )
        labels = ((labels - mean) / std).astype(np.float32)[:, None]
    train, validation, test = (
        Part(part, np.ascontiguousarray(labels[r])) for part, r in zip(encoded, rows, strict=True)
    )
    dataset = Dataset(
        name=name, title=name, task=task, train=train, validation=validation, test=test,
        out_features=len(classes) if classes else 1, feature_shape=(encoded[0].shape[1],),
        class_names=classes, source=source,
    )  # fmt: skip
    return OwnTable(dataset, tuple(notes), std)


def _named(roles: Roles) -> list[tuple[str, str]]:
    special = [("Roles.target", roles.target), ("Roles.groups", roles.groups), ("Roles.time", roles.time)]
    named = [(option, column) for option, column in special if column is not None]
    named += [("Roles.categorical", column) for column in roles.categorical]
    return named + [("Roles.leave_out", column) for column in roles.leave_out]


def _plain(table: pd.DataFrame, leave_out: Collection[str]) -> pd.DataFrame:
    """The table as a file gives it, with rows counted from 0: see `_plain_column`."""
    table = table.reset_index(drop=True)
    columns = {name: table[name] for name in table.columns if name not in leave_out}
    plain = {name: _plain_column(column) for name, column in columns.items()}
    changed = {name: column for name, column in plain.items() if column is not columns[name]}
    return table.assign(**changed) if changed else table  # a copy of a large table is dear


def _plain_column(column: pd.Series) -> pd.Series:
    """Durations in days, decimals and other numbers held as objects as numbers, dates as moments.

    Raises InvalidInput for what fits into no cell.
    """
    import pandas as pd

    if pd.api.types.is_timedelta64_dtype(column):
        return column.dt.total_seconds() / 86_400
    if column.dtype != object:
        return column
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("decimal", "integer", "floating", "mixed-integer-float"):
        return column.astype(np.float64)
    if kind in ("date", "datetime"):
        return pd.to_datetime(column, utc=True)
    if kind not in ("string", "boolean", "empty"):
        for row, cell in enumerate(column):
            if not (isinstance(cell, str | bool) or pd.api.types.is_number(cell) or cell is None):
                raise InvalidInput(
                    f"column {column.name!r}", "must hold numbers, texts, truth values or moments",
                    f"{cell!r} in row {row + 1:,}", "Leave it out, or spread it over columns",
                )  # fmt: skip
    return column


def _without_gaps(table: pd.DataFrame, roles: Roles, notes: list[str]) -> pd.DataFrame:
    """Rows that can be used: those whose target, and whose place in the split, is known."""
    for option, column in _named(roles)[: 1 + (roles.groups is not None) + (roles.time is not None)]:
        gaps = table[column].isna().to_numpy()
        if gaps.all():
            raise InvalidInput(option, "must have values", f"{column!r} is missing in every row")
        if gaps.any():
            notes.append(f"{gaps.sum():,} of {len(gaps):,} rows have no {column!r}: they are left out")
            table = table[~gaps]
    if len(table) < MIN_ROWS:
        raise DataError(f"The table has {len(table)} rows that can be used; at least {MIN_ROWS} are needed.")
    return table


def _target(
    column: pd.Series, roles: Roles, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...] | None, Task]:
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    distinct = column.nunique()
    if distinct == 1:
        raise InvalidInput(
            "Roles.target", "must vary", f"{roles.target!r} is {str(column.iloc[0])!r} in every row"
        )
    task = roles.task
    if task is None:
        whole = is_number and bool((column % 1 == 0).all())
        task = "regression" if is_number and not (whole and distinct <= FEW) else "classification"
        if whole and task == "classification":
            notes.append(
                f"{roles.target!r} has {distinct} whole numbers: they are taken for classes (the task regression"
                " predicts a number)"
            )
    if task == "regression":
        if not is_number:
            raise InvalidInput(
                "Roles.target", "must hold numbers for a regression", f"{roles.target!r} holds text"
            )
        values = column.to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            raise InvalidInput(
                "Roles.target", "must hold finite numbers", f"{roles.target!r} holds an infinite one"
            )
        return values, None, task
    if distinct > MAX_CLASSES:
        raise InvalidInput(
            "Roles.target", f"must have at most {MAX_CLASSES:,} classes", f"{distinct:,} in {roles.target!r}",
            "Roles.task = 'regression' predicts a number; a name that hardly comes twice cannot be predicted",
        )  # fmt: skip
    codes, found = pd.factorize(column, sort=True)
    counts = np.bincount(codes)
    if counts.min() < 3:
        rare = found[int(counts.argmin())]
        raise InvalidInput(
            "Roles.target", "must have each class at least 3 times, once for each part",
            f"{str(rare)!r} {counts.min()} time(s)", "Leave such rows out, or name rare classes alike",
        )  # fmt: skip
    return codes.astype(np.int64), tuple(map(str, found)), task


def _features(table: pd.DataFrame, roles: Roles, notes: list[str], place: Place) -> pd.DataFrame:
    """The columns to predict from, text as text and everything else as float64."""
    import pandas as pd

    special = {roles.target, roles.groups, roles.time, *roles.leave_out}
    kept = {}
    for name in table.columns:
        if name in special:
            continue
        column, distinct = table[name], table[name].nunique()
        if distinct <= 1 and not (distinct == 1 and column.isna().any()):
            notes.append(f"{name!r} {'is constant' if distinct else 'has no value at all'}: it is left out")
            continue
        if pd.api.types.is_datetime64_any_dtype(column):
            column = (column - column.min()).dt.total_seconds() / 86_400
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            if np.isinf(numbers).any():
                row = int(np.isinf(numbers).argmax())
                found = f"{numbers[row]} in {place(int(table.index[row]))}"
                raise InvalidInput(f"column {name!r}", "must hold finite numbers", found)
            if len(numbers) > 1 and (np.diff(numbers) == 1).all():
                notes.append(f"{name!r} counts the rows: it is left out")
                continue
            kept[name] = numbers
            continue
        if distinct == column.notna().sum() and distinct > FEW:
            notes.append(f"{name!r} is another text in every row: it is left out")
            continue
        if distinct > MAX_LEVELS:
            notes.append(
                f"{name!r} has {distinct:,} values: all but the {MAX_LEVELS - 1} most frequent count as one"
            )
        kept[name] = column.astype(object).where(column.notna(), "missing").astype(str)
    if not kept:
        raise DataError("The table has no column to predict from.")
    frame = pd.DataFrame(kept, index=table.index)
    gaps = {
        name: int(np.isnan(values).sum()) for name, values in kept.items() if isinstance(values, np.ndarray)
    }
    if gapped := {name: count for name, count in gaps.items() if count}:
        most = max(gapped, key=lambda name: gapped[name])
        where = repr(most) if len(gapped) == 1 else f"{len(gapped)} columns (most in {most!r})"
        verb = "is" if sum(gapped.values()) == 1 else "are"
        notes.append(
            f"{_counted(sum(gapped.values()), 'missing number')} in {where} {verb} filled with the training rows' mean"
        )
    return frame


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _split(
    table: pd.DataFrame, roles: Roles, labels: np.ndarray | None, notes: list[str], place: Place
) -> list[np.ndarray]:
    num = len(table)
    sizes = [num - 2 * round(num * SHARES[1]), round(num * SHARES[1]), round(num * SHARES[1])]
    if roles.groups is not None:
        rows = _by_blocks(_shuffled_codes(table[roles.groups]), num, "Roles.groups", roles.groups)
    elif roles.time is not None:
        rows = _by_blocks(_moments(table[roles.time], notes, place), num, "Roles.time", roles.time)
        notes.append(f"the split is in the order of {roles.time!r}: the latest rows are the test")
    elif labels is not None:
        return stratified_split(labels, sizes)
    else:
        return random_split(num, sizes)
    if labels is not None and (lost := set(labels.tolist()) - set(labels[rows[0]].tolist())):
        raise DataError(
            f"{len(lost)} classes never come in the training part of this split: no model could learn them."
        )
    return rows


def _shuffled_codes(column: pd.Series) -> np.ndarray:
    import pandas as pd

    codes, found = pd.factorize(column, sort=True)
    return Stream(0, "split").permutation(len(found))[codes]


def _moments(column: pd.Series, notes: list[str], place: Place) -> np.ndarray:
    import pandas as pd

    name, owner = column.name, f"Roles.time {column.name!r}"

    def placed(row: int) -> str:
        return place(int(column.index[row]))

    if pd.api.types.is_numeric_dtype(column):
        refuse_dates_as_numbers(column, owner, placed)
    elif not pd.api.types.is_datetime64_any_dtype(column):
        column, order = moments(column, owner, placed)
        if order:
            notes.append(f"{name!r} is read as {order}: in no other order is every cell a date")
    return pd.factorize(column, sort=True)[0]


def _by_blocks(blocks: np.ndarray, num: int, option: str, column: str) -> list[np.ndarray]:
    """Rows of each part, in the order of their blocks; a block stays whole."""
    counts = np.bincount(blocks)
    ends = np.cumsum(counts)
    cuts = [
        int(np.searchsorted(ends, num * share, side="left")) + 1
        for share in (SHARES[0], SHARES[0] + SHARES[1])
    ]
    if len(counts) < 3 or not 0 < cuts[0] < cuts[1] < len(counts):
        raise DataError(
            f"{option} {column!r} has {len(counts)} values: too few, or one too large, for three parts."
        )
    bounds = (0, *cuts, len(counts))
    return [np.flatnonzero((blocks >= low) & (blocks < high)) for low, high in itertools.pairwise(bounds)]


def _encoded(
    features: pd.DataFrame, rows: Sequence[np.ndarray], on_encoded: Callable[[float], None]
) -> list[np.ndarray]:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = [name for name in features.columns if features[name].dtype.kind == "f"]
    texts = [name for name in features.columns if name not in numeric]
    numbers = make_pipeline(
        StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
    )
    names = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MAX_LEVELS, sparse_output=False
    )
    # Not a ColumnTransformer: it encodes all training rows at once, in float64, to fit.
    encoders = [(encoder, columns) for encoder, columns in ((numbers, numeric), (names, texts)) if columns]
    for encoder, columns in encoders:
        encoder.fit(features.iloc[rows[0]][columns])

    def encode(part: pd.DataFrame) -> np.ndarray:
        blocks = [np.asarray(encoder.transform(part[columns])) for encoder, columns in encoders]
        # A column that is constant in the training rows has no scale: elsewhere it must not reach thousands.
        return np.clip(np.hstack(blocks), -100, 100)

    width = encode(features.iloc[:1]).shape[1]
    parts = [np.empty((len(part), width), np.float32) for part in rows]
    done = 0
    for encoded, part in zip(parts, rows, strict=True):
        for start in range(0, len(part), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            encoded[some] = encode(features.iloc[part[some]])
            done += len(encoded[some])
            on_encoded(done / len(features))
    return parts


def _copies(features: pd.DataFrame, target: np.ndarray, rows: Sequence[np.ndarray]) -> list[str]:
    """How many rows of the other parts a model has seen in training, target and all."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(
        features.assign(**{_unused(features): target}), index=False
    ).to_numpy()
    told, num_copies = [], 0
    for name, part in zip(("validation", "test"), rows[1:], strict=True):
        if count := int(np.isin(hashes[part], hashes[rows[0]]).sum()):
            told.append(f"{count:,} of {len(part):,} {name} rows ({100 * count / len(part):.3g} %)")
            num_copies += count
    if not told:
        return []
    stand = "stands" if num_copies == 1 else "stand"
    return [
        f"{' and '.join(told)} also {stand} in the training part, cell for cell: a model has seen their answers. Remove"
        " copies, or name a column for groups that is equal for all copies of a row"
    ]


def _unused(features: pd.DataFrame) -> str:
    """A name that no column has."""
    return "-".join(map(str, features.columns)) + "-"


def _giveaways(features: pd.DataFrame, target: np.ndarray, task: Task) -> list[str]:
    """Columns that hold the target in disguise, which nobody has when a prediction is made."""
    features, target = features.iloc[:LOOKED_AT], target[:LOOKED_AT]
    return [
        f"{name!r} gives the target away: is it known when a prediction is made? If not, leave it out"
        for name in features.columns
        if _gives_away(features[name].to_numpy(), target, task)
    ]


def _gives_away(column: np.ndarray, target: np.ndarray, task: Task) -> bool:
    from scipy.stats import rankdata

    if column.dtype.kind == "f":
        known = ~np.isnan(column)
        column, target = column[known], target[known]
        if len(column) < MIN_ROWS or np.ptp(column) == 0 or np.ptp(target) == 0:
            return False
        if task == "regression":
            return abs(np.corrcoef(rankdata(column), rankdata(target))[0, 1]) > 0.9999
        # Each class an interval of its own: as many runs of one class, along the column, as there are classes.
        order = np.lexsort((target, column))
        num_classes = len(np.unique(target))
        changes = int((np.diff(target[order]) != 0).sum()) + 1
        boundaries = np.flatnonzero(np.diff(target[order]) != 0)
        is_clean = bool((column[order][boundaries] < column[order][boundaries + 1]).all())
        return changes == num_classes and is_clean
    import pandas as pd

    groups = pd.Series(target).groupby(column)
    if groups.ngroups > len(target) / 2 or groups.ngroups < 2:
        return False
    spread = groups.max() - groups.min()
    return bool((spread == 0).all())
