"""4.10.1 How good is the submission?

Kaggle's server is asked by nobody here: repeated k-fold validation stands in for it, and that stand-in is itself put to
the test. The table is halved many times; what cross-validation says of one half is held beside the score on the other,
which plays the part of the hidden test houses.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import houses as h
from mlplab.answers import show
from mlplab.answers.answer import Answer, Table
from mlplab.claims import Circulated, Claim, Finding, Lab, Language, Observations, Words, recentred
from mlplab.data.submission import refuse, submission_text, write_submission
from mlplab.errors import DataError, InvalidInput, import_extra
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval, paired, resampled, resampled_interval
from mlplab.study import Arm, Study, plots

if TYPE_CHECKING:
    import altair

# The proxy is taken for honest if it is right to 5% on average: a rank or two on a board of thousands.
SAME = 0.05
ARMS = {
    "constant": Words("one price for all", "所有房子同一个价格"),
    "linear": Words("the section's linear model", "本节的线性模型"),
    "ridge": Words("ridge regression on log prices", "对数价格上的岭回归"),
    "mlp": Words("perceptron 32 on log prices", "对数价格上的 MLP（32 个隐藏单元）"),
}
# The same where knobs were turned: neither model is then what the section, or this answer, makes of it.
TURNED = {
    "linear": Words("a linear model", "线性模型"),
    "mlp": Words("perceptron on log prices", "对数价格上的 MLP"),
}
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
            {"arm": arm, "seed": number, "status": "finished", "log_rmse": _rounded(value)}
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
        "training": _rounded(h.log_rmse(model.predict(seen_x), y[seen])),
        "folds": _rounded(float(np.sqrt(squares.mean()))),
        "unseen": _rounded(h.log_rmse(model.predict(unseen_x), y[unseen])),
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


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


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


def is_lower(values: np.ndarray) -> Finding:
    """Is the mean below zero?"""
    return Finding.of(paired(values, claim="less"), percent=float(np.expm1(values.mean())))


def is_honest(values: np.ndarray) -> Finding:
    """Two one-sided tests: is the mean within 5%?"""
    return Finding.of(
        paired(values, claim="equivalent", margin=SAME), margin=SAME, percent=float(np.expm1(values.mean()))
    )


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


def is_better(differences: np.ndarray) -> Finding:
    """Is the mean over folds below zero, by the interval that knows that folds share rows?"""
    return Finding.of(resampled(differences, test_train_ratio=h.RATIO, claim="less"))


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


def _words(observations: Observations) -> dict[str, Words]:
    return ARMS | TURNED if observations.changed else ARMS


def tables(observations: Observations, language: Language) -> list[Table]:
    """The arms' scores with both intervals; what was said of halves."""
    rows = []
    for arm, words in _words(observations).items():
        values = observations.runs.values("log_rmse", arm)
        both = [show.number_interval(found) for found in (h.score(values), mean_interval(values))]
        rows.append([words.of(language), *both])
    heads = (
        Words("model", "模型"),
        Words("log-RMSE, corrected 95% interval", "对数 RMSE，修正的 95% 区间"),
        Words("the same if folds were independent (too short)", "假装各折独立时的区间（太窄）"),
    )
    count = observations.num_seeds
    title = Words(
        f"Repeated {h.NUM_FOLDS}-fold validation, {count} held-out parts",
        f"重复的 {h.NUM_FOLDS} 折交叉验证，共 {count} 个留出部分",
    )
    first = Table(title, heads, rows)
    said = {
        "training": Words("its own training rows", "它自己的训练样本"),
        "folds": Words(f"{h.NUM_FOLDS}-fold validation", f"{h.NUM_FOLDS} 折交叉验证"),
        "unseen": Words("the other half: the truth", "另一半：真实得分"),
    }
    halves = [
        [
            words.of(language),
            show.number_interval(mean_interval(observations["halves"][name].to_numpy(dtype=float))),
        ]
        for name, words in said.items()
    ]
    title = Words(
        "Ridge regression on random halves of the table: mean over halvings, 95% t interval",
        "把表随机对半分，岭回归：各次划分的均值与 95% t 区间",
    )
    return [first, Table(title, (Words("scored by", "评分依据"), Words("log-RMSE", "对数 RMSE")), halves)]


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """Score of each model on every fold with the corrected interval; what folds say against the truth on halves."""
    alt = import_extra("altair", what="A figure", extra="book")
    upper = h.fold_plot(
        observations.runs,
        _words(observations),
        language,
        title=Words("Scores without asking Kaggle", "不问 Kaggle，也能估计得分"),
    )
    return alt.vconcat(upper, _halves(alt, observations, language))


def _halves(alt: Any, observations: Observations, language: Language) -> Any:
    table = observations["halves"][["folds", "unseen", "training"]]
    words = {
        "folds": Words("5-fold on the one half", "在一半上做 5 折").of(language),
        "training": Words("training rows of the one half", "那一半的训练样本").of(language),
    }
    long = pd.concat(
        [pd.DataFrame({"said": table[n], "unseen": table["unseen"], "by": by}) for n, by in words.items()]
    )
    held = long[["said", "unseen"]].to_numpy(dtype=float)
    low, high = float(held.min()), float(held.max())
    scale = alt.Scale(domain=[low, high], nice=True, zero=False)
    legend = alt.Legend(title=None, labelLimit=260, orient="bottom")
    names = plots.colour_scale(alt, list(words.values()))
    said = Words("log-RMSE said of one half", "对一半的估计（对数 RMSE）").of(language)
    truth = Words("log-RMSE on the other half", "另一半上的对数 RMSE").of(language)
    dots = alt.Chart(long).mark_point(size=40, filled=True, opacity=0.8)
    dots = dots.encode(
        x=alt.X("said:Q", scale=scale, title=said),
        y=alt.Y("unseen:Q", scale=scale, title=truth),
        color=alt.Color("by:N", scale=names, legend=legend),
        shape=alt.Shape("by:N", scale=alt.Scale(domain=list(words.values())), legend=legend),
    )
    line = pd.DataFrame({"at": [low, high]})
    same = alt.Chart(line).mark_line(color=plots.INK, strokeDash=[4, 3]).encode(x="at:Q", y="at:Q")
    head = Words("Is that estimate to be trusted? A point for each half", "这个估计可信吗？每一半是一个点")
    note = Words("On the dashed line the estimate is the truth", "落在虚线上，估计就等于真实得分")
    return alt.layer(same, dots).properties(
        width=330, height=260,
        title=alt.TitleParams(head.of(language), subtitle=note.of(language), anchor="start", subtitleFontSize=11),
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
            statement=Words(
                "The file that is written has the competition's header, one line for each of its houses, and prices "
                "above 0.",
                "写出的文件有比赛要求的表头，每座待预测的房子恰好一行，价格都大于 0。",
            ),
            check=is_valid,
            subject=_submitted,
            falsehood=_with_a_price_of_0,
        ),
        Claim(
            name="folds-are-honest",
            kind="experiment",
            statement=Words(
                "What 5-fold validation says of one half of the table is the score on the other half, to 5% on "
                "average.",
                "在一半数据上做 5 折交叉验证，得到的分数与另一半上的得分平均相差不超过 5%。",
            ),
            check=is_honest,
            subject=lambda o: log_ratio(o, "folds"),
            falsehood=lambda o: recentred(log_ratio(o, "folds"), -0.2),
        ),
        Claim(
            name="the-training-score-flatters",
            kind="experiment",
            statement=Words(
                "The score on the training rows is lower than that on the other half.",
                "训练样本上的得分低于另一半上的得分。",
            ),
            check=is_lower,
            subject=lambda o: log_ratio(o, "training"),
            falsehood=lambda o: -log_ratio(o, "training"),
        ),
        Claim(
            name="the-interval-covers",
            kind="property",
            statement=Words(
                "On drawn tables whose expected error is known, the corrected 95% interval of repeated 5-fold holds it "
                "in at least 94% of the tables; the interval of independent folds does not.",
                "在期望误差已知的模拟表上，重复 5 折交叉验证的 95% 修正区间至少在 94% 的表上包含它；"
                "把各折当作独立样本的区间做不到。",
            ),
            check=covers,
            subject=lambda o: h.RATIO,
            falsehood=lambda o: 1e-12,
        ),
        Claim(
            name="the-mlp-beats-the-sections-model",
            kind="experiment",
            statement=Words(
                "The perceptron on log prices has a lower log-RMSE than the section's linear model.",
                "对数价格上的 MLP，对数 RMSE 低于本节的线性模型。",
            ),
            check=is_better,
            subject=over_linear,
            falsehood=lambda o: -over_linear(o) + 0.05,
        ),
    ),
    circulated=(Circulated(Words("The notes end before this section.", "笔记没有写到这一节。"), "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=30",
)
