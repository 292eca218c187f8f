"""4.10.5 Improve the model: weight decay, dropout, more networks.

What is to be beaten is ridge regression on log prices. Every held-out part judges once: the strengths, ridge's too, are
chosen on a fifth of the other houses, all models are trained on the same rest, and differences are taken fold by fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import houses as h
from mlplab.answers import show
from mlplab.answers.answer import Answer, Table
from mlplab.claims import Circulated, Claim, Finding, Lab, Language, Observations, Words
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.stats import resampled
from mlplab.study import Results, Study, factorial

if TYPE_CHECKING:
    import altair

DECAYS, DROPOUTS = (0.0, 0.01, 0.03), (0.0, 0.2, 0.4)
RIDGE = "ridge"
ARMS = {
    RIDGE: Words("ridge regression", "岭回归"),
    "plain": Words("perceptron, nothing added", "MLP，什么也不加"),
    "decay": Words("with weight decay", "加权重衰减"),
    "dropout": Words("with dropout", "加暂退法"),
    "both": Words("with either, or both", "两者任选或并用"),
    "ensemble": Words("the same, several networks averaged", "同上，几个网络取平均"),
    "blend": Words("these averaged with ridge regression", "再与岭回归取平均"),
}
CHALLENGERS = tuple(arm for arm in ARMS if arm != RIDGE)
ALPHA = 0.05 / len(CHALLENGERS)  # Bonferroni: six challengers, one table


def observe(lab: Lab) -> Observations:
    """All strengths on every fold with several seeds; each family is scored with what the choosing houses chose."""
    houses = h.load(lab)
    splits = lab.seeds(quick=5, full=20)
    networks = lab.choose(quick=2, full=3)
    folds = {number: h.fold(houses, number, with_inner=True) for number in splits}
    base = lab.setting(turn(h.MLP_SETTING, weight_decay=0.0))
    arms = factorial(base, weight_decay=DECAYS, dropout=DROPOUTS)
    seeds = [number * networks + k for number in splits for k in range(networks)]
    datasets = {number: fold.dataset() for number, fold in folds.items()}
    runs = lab.run(Study(arms, seeds, lambda seed: datasets[seed // networks]))
    settings = {arm.name: arm.setting for arm in arms}
    rows, chosen = [], []
    for number, fold in folds.items():
        own = [number * networks + k for k in range(networks)]
        picked = choose(runs, own)
        predicted = {
            arm: np.array([_log_prices(fold, settings[arm], runs.parameters(arm, seed)) for seed in own])
            for arm in set(picked.values())
        }
        ridge = tuned_ridge(fold)
        found = {name: [fold.score(one) for one in predicted[arm]] for name, arm in picked.items()}
        together = predicted[picked["both"]].mean(axis=0)
        blend = (together + ridge) / 2
        found |= {
            RIDGE: [fold.score(ridge)],
            "ensemble": [fold.score(together)],
            "blend": [fold.score(blend)],
        }
        medians = {RIDGE: ridge, "ensemble": together, "blend": blend}
        for name in ARMS:
            row = {
                "arm": name,
                "seed": number,
                "status": "finished",
                "log_rmse": _rounded(float(np.mean(found[name]))),
            }
            all_of_it = medians[name][None] if name in medians else predicted[picked[name]]
            errors = np.median(np.abs(all_of_it - fold.held_y), axis=1)
            rows.append(row | {"median_error": _rounded(float(errors.mean()))})
        chosen += [{"family": name, "seed": number, "setting": arm} for name, arm in picked.items()]
    table = pd.DataFrame(rows)
    table = pd.concat([table[table["arm"] == name] for name in ARMS], ignore_index=True)
    about = pd.DataFrame([{"networks": networks, "settings": len(arms)}])
    return lab.observations(runs=table, chosen=pd.DataFrame(chosen), about=about)


def choose(runs: Results, seeds: list[int]) -> dict[str, str]:
    """The setting of each family with the lowest loss on the houses that choose, over the seeds of one fold."""
    frame = runs.frame[runs.frame["seed"].isin(seeds)]
    losses = frame.groupby("arm", sort=False)["validation_loss"].mean()
    levels = frame.drop_duplicates("arm").set_index("arm")[["weight_decay", "dropout"]].astype(float)
    families = {
        "plain": (levels["weight_decay"] == 0) & (levels["dropout"] == 0),
        "decay": (levels["weight_decay"] > 0) & (levels["dropout"] == 0),
        "dropout": (levels["weight_decay"] == 0) & (levels["dropout"] > 0),
        "both": levels["dropout"] >= 0,
    }
    return {family: str(losses[mask[mask].index].idxmin()) for family, mask in families.items()}


def tuned_ridge(fold: h.Fold) -> np.ndarray:
    """Log prices of the houses held out, by ridge regression whose strength the choosing houses chose."""
    from sklearn.linear_model import Ridge

    assert fold.inner is not None
    x, y = fold.train_x[fold.trained], fold.train_y[fold.trained]
    models = [Ridge(alpha=alpha).fit(x, y) for alpha in h.ALPHAS]
    inner_x, inner_y = fold.train_x[fold.inner], fold.train_y[fold.inner]
    return min(models, key=lambda model: h.log_rmse(model.predict(inner_x), inner_y)).predict(fold.held_x)


def _log_prices(fold: h.Fold, setting: Any, parameters: Any) -> np.ndarray:
    mean, std = fold.scale()
    return mean + std * h.predict(setting, parameters, fold.held_x)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


# Checks


def gain(observations: Observations, arm: str, over: str = RIDGE, metric: str = "log_rmse") -> np.ndarray:
    """How much lower an arm scores than another, by fold."""
    return observations.runs.differences(metric, over, arm)


def beats(differences: np.ndarray) -> Finding:
    """Is the mean over folds above zero, at a level shared by all challengers?"""
    return Finding.of(resampled(differences, test_train_ratio=h.RATIO, claim="greater", alpha=ALPHA))


def is_positive(differences: np.ndarray) -> Finding:
    """Is the mean over folds above zero?"""
    return Finding.of(resampled(differences, test_train_ratio=h.RATIO, claim="greater"))


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """Scores of all arms, and what was chosen most often."""
    runs, about = observations.runs, observations.rows("about")[0]
    chosen = observations["chosen"]
    found = {arm: beats(gain(observations, arm)) for arm in CHALLENGERS}
    best = min(CHALLENGERS, key=lambda arm: runs.values("log_rmse", arm).mean())
    both = chosen[chosen["family"] == "both"]["setting"]
    return {
        "score": {arm: h.score(runs.values("log_rmse", arm)) for arm in ARMS},
        "num_winners": sum(f.verdict == "holds" for f in found.values()),
        "best": best,
        "best_gain": beats(gain(observations, best)),
        "best_score": h.score(runs.values("log_rmse", best)),
        "ahead": int((gain(observations, "ensemble") > 0).sum()),
        "networks": int(about["networks"]),
        "num_settings": int(about["settings"]),
        "often": both.mode().iloc[0],
        "num_splits": observations.num_seeds,
        "num_challengers": len(CHALLENGERS),
        "level": 1 - ALPHA,
    }


def tables(observations: Observations, language: Language) -> list[Table]:
    """Every arm's score, and what it gains over ridge regression."""
    runs, rows = observations.runs, []
    words = {
        "holds": Words("better", "更好"),
        "fails": Words("worse", "更差"),
        "undecided": Words("undecided", "未定"),
    }
    for arm, name in ARMS.items():
        score, median = (h.score(runs.values(metric, arm)) for metric in ("log_rmse", "median_error"))
        gained, verdict = "", ""
        if arm != RIDGE:
            found = resampled(gain(observations, arm), test_train_ratio=h.RATIO, claim="greater", alpha=ALPHA)
            gained, verdict = show.stacked(show.number_interval(found)), words[found.verdict].of(language)
        cells = [show.stacked(show.number_interval(one)) for one in (score, median)]
        rows.append([name.of(language), cells[0], gained, verdict, cells[1]])
    level = f"{100 * (1 - ALPHA):.3g}%"
    heads = (
        Words("model", "模型"),
        Words("log-RMSE", "对数 RMSE"),
        Words(f"below ridge regression by ({level} interval)", f"比岭回归低（{level} 区间）"),
        Words("shown to be", "判定"),
        Words("median error in the logarithm", "对数误差的中位数"),
    )
    title = Words(
        f"{observations.num_seeds} held-out parts: mean with corrected 95% t interval; the level of the differences is "
        "shared by all challengers",
        f"{observations.num_seeds} 个留出部分：均值与修正的 95% t 区间；差值的水平由全部挑战者分摊",
    )
    return [Table(title, heads, rows)]


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """Every arm on every fold, and its gain over ridge regression."""
    alt = import_extra("altair", what="A figure", extra="book")
    upper = h.fold_plot(
        observations.runs,
        ARMS,
        language,
        title=Words("The same houses for all models", "所有模型用同样的房子"),
    )
    found = {arm: beats(gain(observations, arm)).comparison for arm in CHALLENGERS}
    lower = h.fold_differences(
        {arm: c for arm, c in found.items() if c is not None},
        ARMS,
        language,
        title=Words("How much lower than ridge regression", "比岭回归低多少"),
        value=Words("log-RMSE of ridge regression minus that of the model", "岭回归的对数 RMSE 减去该模型的"),
    )
    return alt.vconcat(upper, lower)


def _beats(arm: str, en: str, zh: str) -> Claim:
    return Claim(
        name=f"{arm}-beats-ridge",
        kind="experiment",
        statement=Words(
            f"{en} scores lower than ridge regression on log prices.",
            f"{zh}的得分低于（好于）对数价格上的岭回归。",
        ),
        check=beats,
        subject=lambda o: gain(o, arm),
        falsehood=lambda o: -np.abs(gain(o, arm)) - 0.01,
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        _beats("plain", "A perceptron with nothing added", "什么也不加的 MLP"),
        _beats("decay", "A perceptron with weight decay", "加权重衰减的 MLP"),
        _beats("dropout", "A perceptron with dropout", "加暂退法的 MLP"),
        _beats("both", "A perceptron with the chosen strengths of both", "两者强度任选的 MLP"),
        _beats("ensemble", "An average of several such perceptrons", "几个这样的 MLP 的平均"),
        _beats("blend", "Their average with ridge regression", "它们与岭回归的平均"),
        Claim(
            name="the-typical-house-gains",
            kind="experiment",
            statement=Words(
                "The average of several perceptrons has a smaller median error in the logarithm than ridge regression.",
                "几个 MLP 的平均，对数误差的中位数小于岭回归。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, "ensemble", metric="median_error"),
            falsehood=lambda o: -np.abs(gain(o, "ensemble", metric="median_error")),
        ),
        Claim(
            name="decay-helps",
            kind="experiment",
            statement=Words(
                "A perceptron with weight decay scores lower than one with nothing added.",
                "加权重衰减的 MLP 得分低于（好于）什么也不加的 MLP。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, "decay", "plain"),
            falsehood=lambda o: -np.abs(gain(o, "decay", "plain")) - 0.001,
        ),
        Claim(
            name="averaging-helps",
            kind="experiment",
            statement=Words(
                "The average of several networks scores lower than a single one of them.",
                "几个网络取平均，得分低于（好于）其中单个网络。",
            ),
            check=is_positive,
            subject=lambda o: gain(o, "ensemble", "both"),
            falsehood=lambda o: -gain(o, "ensemble", "both"),
        ),
    ),
    circulated=(Circulated(Words("The notes end before this section.", "笔记没有写到这一节。"), "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=120",
)
