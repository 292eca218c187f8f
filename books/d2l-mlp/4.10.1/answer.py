"""4.10.1 How good is the submission?

Kaggle's server is asked by nobody here: repeated k-fold validation stands in for it, and that stand-in is itself put to
the test. The table is halved many times; what cross-validation says of one half is held beside the score on the other,
which plays the part of the hidden test houses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import (
    Answer,
    Circulated,
    Claim,
    Finding,
    Lab,
    Observations,
    Table,
    WordList,
    recentred,
    rounded,
)
from mlplab.answers.checks import equivalent, less
from mlplab.charts import plots, show
from mlplab.data.submission import refuse, submission_text, write_submission
from mlplab.errors import DataError, InvalidInput, import_extra
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval, resampled_interval
from mlplab.study import Arm, Study

from .. import houses as h

if TYPE_CHECKING:
    import altair

# The proxy is taken for honest if it is right to 5% on average: a rank or two on a board of thousands.
SAME = 0.05
ARMS = (
    "constant",
    "linear",
    "ridge",
    "mlp",
)
SUBMITTED_SEEDS = 5  # networks whose log prices are averaged in the submission
COVERED_TABLES, COVERED_ROWS = 400, 100
LOWEST_PRICE = 1.0  # what the section raises lower predictions to before it takes the logarithm


def observe(lab: Lab) -> Observations:
    """Score the models on folds, put cross-validation itself to the test on halves, and write a submission."""
    houses = h.load(lab)
    splits = lab.seeds(quick=5, full=20)
    folds = {number: h.fold(houses, number) for number in splits}
    section, setting = h.beside_linear(lab, houses)
    linear = lab.run(Study([Arm("linear", section)], splits, lambda n: folds[n].dataset("price")))
    mlp = lab.run(Study([Arm("mlp", setting)], splits, lambda n: folds[n].dataset("log")))
    rows = []
    for number, fold in folds.items():
        prices = h.predict(section, linear.parameters("linear", number), fold.held_x)
        _, std = fold.scale()
        found = {
            "constant": fold.score(np.full(len(fold.held_y), fold.train_y.mean())),
            "linear": fold.score(np.log(np.maximum(prices, LOWEST_PRICE))),
            "ridge": fold.score(h.ridge(fold.train_x, fold.train_y).predict(fold.held_x)),
            "mlp": std * float(np.sqrt(2 * mlp.values("test_loss", "mlp")[list(splits).index(number)])),
        }
        rows += [
            {"arm": arm, "seed": number, "status": "finished", "log_rmse": rounded(value)}
            for arm, value in found.items()
        ]
    runs = pd.DataFrame(rows)
    runs["arm"] = pd.Categorical(runs["arm"], list(ARMS))
    runs = runs.sort_values(["arm", "seed"]).astype({"arm": object}).reset_index(drop=True)
    halvings = range(lab.choose(quick=3, full=36))
    halves = [half(houses, number, side) for number in halvings for side in (0, 1)]
    ids, prices = submission(lab, houses, setting)
    return lab.observations(
        runs=runs,
        halves=pd.DataFrame(halves),
        submission=pd.DataFrame({"Id": ids, "SalePrice": np.round(prices)}),
        table=pd.DataFrame(
            [{"labelled": len(houses), "unlabelled": len(ids), "first": ids[0], "last": ids[-1]}]
        ),
    )


def half(houses: h.Houses, number: int, side: int) -> dict[str, Any]:
    """Ridge regression on a side of a halving: training score, what 5-fold says, and the score on the other side."""
    order = Stream(number, "split", layer=2).permutation(len(houses))
    seen, unseen = (np.sort(order[k::2]) for k in (side, 1 - side))
    y = houses.log_prices
    squares = np.zeros(len(seen))
    for k in range(h.NUM_FOLDS):
        train, held = h.parted(len(seen), h.NUM_FOLDS * (number + 1) + k)
        train_x, held_x = h.encoded(houses, seen[train], [seen[train], seen[held]])
        squares[held] = (h.ridge(train_x, y[seen[train]]).predict(held_x) - y[seen[held]]) ** 2
    seen_x, unseen_x = h.encoded(houses, seen, [seen, unseen])
    model = h.ridge(seen_x, y[seen])
    return {
        "seed": number,
        "side": side,
        "training": rounded(h.log_rmse(model.predict(seen_x), y[seen])),
        "folds": rounded(float(np.sqrt(squares.mean()))),
        "unseen": rounded(h.log_rmse(model.predict(unseen_x), y[unseen])),
    }


def submission(lab: Lab, houses: h.Houses, setting: Setting) -> tuple[list[int], np.ndarray]:
    """Ids and prices of the houses without labels: the mean log price of networks trained on all labelled houses."""
    fitted = h.encoder(houses.columns).fit(houses.table)
    x, asked = (np.asarray(fitted.transform(part), np.float64) for part in (houses.table, houses.unlabelled))
    # The score on `held` is never looked at: a fold wants some houses there, and all labelled ones are trained on.
    whole = h.Fold(houses.name, x, houses.log_prices, x[:2], houses.log_prices[:2])
    seeds = range(lab.choose(quick=2, full=SUBMITTED_SEEDS))
    runs = lab.run(Study([Arm("mlp", setting)], seeds, whole.dataset("log")))
    mean, std = whole.scale()
    outputs = [h.predict(setting, runs.parameters("mlp", seed), asked) for seed in seeds]
    return houses.unlabelled["Id"].astype(int).tolist(), np.exp(mean + std * np.mean(outputs, axis=0))


def submit(path: str | Path, lab: Lab) -> Path:
    """Write the prices of the competition's houses; returns the path. Raises as `write_submission` and `load` do."""
    path = Path(path).expanduser()
    if path.is_dir() or not path.parent.is_dir():  # before anything is trained
        why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise DataError(f"{path} cannot be written: {why}.")
    return write_submission(path, *submission(lab, h.load(lab), h.MLP_SETTING))


# Checks


def is_valid(pair: tuple[pd.DataFrame, dict[str, Any]]) -> Finding:
    """Would the competition take the file: its header, one line for each house, prices above 0?"""
    submitted, table = pair
    asked = list(range(int(table["first"]), int(table["last"]) + 1))
    assert len(asked) == table["unlabelled"]  # the competition's houses are numbered without a gap
    prices = submitted["SalePrice"].to_numpy(dtype=float)
    try:
        refuse(submission_text(submitted["Id"].tolist(), prices), asked)
    except InvalidInput as error:
        return Finding.true_if(False, str(error))
    return Finding.true_if(True, f"{len(asked):,} houses", houses=len(asked), least=float(prices.min()))


def log_ratio(observations: Observations, said: str) -> np.ndarray:
    """The logarithm of what was said of a side over the score on the other: the mean of both sides of each halving.

    A very unusual sale is on one side or the other: what it adds to one ratio it takes from the second.
    """
    table = observations["halves"]
    values = np.log(table[said].to_numpy(dtype=float) / table["unseen"].to_numpy(dtype=float))
    return values.reshape(-1, 2).mean(1)


def excess(logarithms: np.ndarray) -> float:
    """The geometric mean of ratios, less 1."""
    return float(np.expm1(logarithms.mean()))


def covers(ratio: float) -> Finding:
    """Repeated 5-fold on tables whose expected error is known: how often does the interval at this ratio hold it?

    y = x + noise of variance 1, a slope fitted to 80 of 100 rows: the expected squared error is known to be
    1 + E(1/Σx²) E(x²) = 1 + 1/78.
    """
    draw = Stream(0, "data", layer=410)
    x = draw.normal((COVERED_TABLES, COVERED_ROWS))
    y = x + draw.normal((COVERED_TABLES, COVERED_ROWS))
    errors = []
    for number in range(4 * h.NUM_FOLDS):
        train, held = h.parted(COVERED_ROWS, number)
        slope = (x[:, train] * y[:, train]).sum(1, keepdims=True) / (x[:, train] ** 2).sum(1, keepdims=True)
        errors.append(((y[:, held] - slope * x[:, held]) ** 2).mean(1))
    truth = 1 + 1 / (COVERED_ROWS * (1 - 1 / h.NUM_FOLDS) - 2)
    held = 0
    for row in np.array(errors).T:
        found = resampled_interval(row, test_train_ratio=ratio)
        assert found.ci_low is not None
        assert found.ci_high is not None
        held += found.ci_low <= truth <= found.ci_high
    share = held / COVERED_TABLES
    return Finding.true_if(
        share >= 0.94, f"{share:.1%} of {COVERED_TABLES} tables", share=share, tables=COVERED_TABLES
    )


def over_linear(observations: Observations, arm: str = "mlp") -> np.ndarray:
    """Log-RMSE of an arm less that of the section's model, by fold."""
    return observations.runs.differences("log_rmse", arm, "linear")


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """Scores with their intervals, and how far the score of other houses may lie from them."""
    runs, table = observations.runs, observations.rows("table")[0]
    halves = observations["halves"]
    spread = np.quantile(halves["unseen"] / halves["folds"], (0.05, 0.95))
    centre = float(runs.values("log_rmse", "mlp").mean())
    naive, found = (f(runs.values("log_rmse", "mlp")) for f in (mean_interval, h.score))
    return {
        "score": {arm: h.score(runs.values("log_rmse", arm)) for arm in ARMS},
        "num_folds": h.NUM_FOLDS,
        "num_splits": observations.num_seeds,
        "num_halves": len(halves) // 2,
        "half": int(table["labelled"]) // 2,
        "labelled": int(table["labelled"]),
        "houses": int(table["unlabelled"]),
        "low": centre * float(spread[0]),
        "high": centre * float(spread[1]),
        "typical_error": float(np.expm1(centre)),
        "wider": float(found.std_error or 0) / float(naive.std_error or 1),
    }


def arm_names(observations: Observations, words: WordList) -> Mapping[str, str]:
    """How arms are named; where knobs were turned, neither model is what the section, or this answer, makes of it."""
    names = words.group("arms")
    return {**names, **words.group("arms_turned")} if observations.changed else names


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The arms' scores with both intervals; what was said of halves."""
    rows = []
    for arm, label in arm_names(observations, words).items():
        values = observations.runs.values("log_rmse", arm)
        both = [show.number_interval(found) for found in (h.score(values), mean_interval(values))]
        rows.append([label, *both])
    heads = (
        words["heads.model"],
        words["heads.log-rmse-corrected-95-interval"],
        words["heads.same-if-folds-were-independent"],
    )
    count = observations.num_seeds
    title = words("titles.repeated-fold-validation-held-out", h=h.NUM_FOLDS, count=count)
    first = Table(title, heads, rows)
    said = {
        "training": words["labels.its-own-training-rows"],
        "folds": words("labels.fold-validation", h=h.NUM_FOLDS),
        "unseen": words["labels.other-half-truth"],
    }
    halves = [
        [
            label,
            show.number_interval(mean_interval(observations["halves"][name].to_numpy(dtype=float))),
        ]
        for name, label in said.items()
    ]
    title = words["titles.ridge-regression-on-random-halves"]
    return [first, Table(title, (words["heads.scored-by"], words["heads.log-rmse"]), halves)]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Score of each model on every fold with the corrected interval; what folds say against the truth on halves."""
    alt = import_extra("altair", what="A figure", extra="book")
    upper = h.fold_plot(
        observations.runs,
        arm_names(observations, words),
        words,
        title=words["titles.scores-without-asking-kaggle"],
    )
    return alt.vconcat(upper, _halves(alt, observations, words))


def _halves(alt: Any, observations: Observations, words: WordList) -> Any:
    table = observations["halves"][["folds", "unseen", "training"]]
    label = {
        "folds": words["labels.5-fold-on-one-half"],
        "training": words["labels.training-rows-one-half"],
    }
    long = pd.concat(
        [pd.DataFrame({"said": table[n], "unseen": table["unseen"], "by": by}) for n, by in label.items()]
    )
    held = long[["said", "unseen"]].to_numpy(dtype=float)
    low, high = float(held.min()), float(held.max())
    scale = alt.Scale(domain=[low, high], nice=True, zero=False)
    legend = alt.Legend(title=None, labelLimit=260, orient="bottom")
    names = plots.colour_scale(alt, list(label.values()))
    said = words["labels.log-rmse-said-one-half"]
    truth = words["labels.log-rmse-on-other-half"]
    dots = alt.Chart(long).mark_point(size=40, filled=True, opacity=0.8)
    dots = dots.encode(
        x=alt.X("said:Q", scale=scale, title=said),
        y=alt.Y("unseen:Q", scale=scale, title=truth),
        color=alt.Color("by:N", scale=names, legend=legend),
        shape=alt.Shape("by:N", scale=alt.Scale(domain=list(label.values())), legend=legend),
    )
    line = pd.DataFrame({"at": [low, high]})
    same = alt.Chart(line).mark_line(color=plots.INK, strokeDash=[4, 3]).encode(x="at:Q", y="at:Q")
    head = words["labels.estimate-be-trusted-point-for"]
    note = words["labels.on-dashed-line-estimate-truth"]
    return alt.layer(same, dots).properties(
        width=330, height=260,
        title=alt.TitleParams(head, subtitle=note, anchor="start", subtitleFontSize=11),
    )  # fmt: skip


def _submitted(observations: Observations) -> tuple[pd.DataFrame, dict[str, Any]]:
    return observations["submission"], observations.rows("table")[0]


def _with_a_price_of_0(observations: Observations) -> tuple[pd.DataFrame, dict[str, Any]]:
    submitted, table = _submitted(observations)
    return submitted.assign(SalePrice=submitted["SalePrice"].where(submitted.index > 0, 0.0)), table


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="the-file-is-valid",
            kind="calculation",
            check=is_valid,
            subject=_submitted,
            falsehood=_with_a_price_of_0,
        ),
        Claim(
            name="folds-are-honest",
            kind="experiment",
            check=equivalent(margin=SAME, numbers={"margin": SAME, "percent": excess}),
            subject=lambda o: log_ratio(o, "folds"),
            falsehood=lambda o: recentred(log_ratio(o, "folds"), -0.2),
        ),
        Claim(
            name="the-training-score-flatters",
            kind="experiment",
            check=less(numbers={"percent": excess}),
            subject=lambda o: log_ratio(o, "training"),
            falsehood=lambda o: -log_ratio(o, "training"),
        ),
        Claim(
            name="the-interval-covers",
            kind="property",
            check=covers,
            subject=lambda o: h.RATIO,
            falsehood=lambda o: 1e-12,
        ),
        Claim(
            name="the-mlp-beats-the-sections-model",
            kind="experiment",
            check=less(test_train_ratio=h.RATIO),
            subject=over_linear,
            falsehood=lambda o: -over_linear(o) + 0.05,
        ),
    ),
    circulated=(Circulated("notes-end-before-this-section", "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=30",
    submit=submit,
)
