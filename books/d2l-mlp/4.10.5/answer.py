"""4.10.5 Improve the model: weight decay, dropout, more networks.

What is to be beaten is ridge regression on log prices. Every held-out part judges once: the strengths, ridge's too, are
chosen on a fifth of the other houses, all models are trained on the same rest, and differences are taken fold by fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlplab.answers import Answer, Circulated, Claim, Lab, Observations, Table, WordList, rounded
from mlplab.answers.checks import greater
from mlplab.charts import show
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.stats import resampled
from mlplab.study import Results, Study, factorial

from .. import houses as h

if TYPE_CHECKING:
    import altair

DECAYS, DROPOUTS = (0.0, 0.01, 0.03), (0.0, 0.2, 0.4)
RIDGE = "ridge"
ARMS = (RIDGE, "plain", "decay", "dropout", "both", "ensemble", "blend")
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
                "log_rmse": rounded(float(np.mean(found[name]))),
            }
            all_of_it = medians[name][None] if name in medians else predicted[picked[name]]
            errors = np.median(np.abs(all_of_it - fold.held_y), axis=1)
            rows.append(row | {"median_error": rounded(float(errors.mean()))})
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


# Checks


def gain(observations: Observations, arm: str, over: str = RIDGE, metric: str = "log_rmse") -> np.ndarray:
    """How much lower an arm scores than another, by fold."""
    return observations.runs.differences(metric, over, arm)


beats_ridge = greater(alpha=ALPHA, test_train_ratio=h.RATIO)  # at a level shared by all challengers


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """Scores of all arms, and what was chosen most often."""
    runs, about = observations.runs, observations.rows("about")[0]
    chosen = observations["chosen"]
    found = {arm: beats_ridge(gain(observations, arm)) for arm in CHALLENGERS}
    best = min(CHALLENGERS, key=lambda arm: runs.values("log_rmse", arm).mean())
    both = chosen[chosen["family"] == "both"]["setting"]
    return {
        "score": {arm: h.score(runs.values("log_rmse", arm)) for arm in ARMS},
        "num_winners": sum(f.verdict == "holds" for f in found.values()),
        "best": best,
        "best_gain": beats_ridge(gain(observations, best)),
        "best_score": h.score(runs.values("log_rmse", best)),
        "ahead": int((gain(observations, "ensemble") > 0).sum()),
        "networks": int(about["networks"]),
        "num_settings": int(about["settings"]),
        "often": both.mode().iloc[0],
        "num_splits": observations.num_seeds,
        "num_challengers": len(CHALLENGERS),
        "level": 1 - ALPHA,
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Every arm's score, and what it gains over ridge regression."""
    runs, rows = observations.runs, []
    label = {
        "holds": words["labels.better"],
        "fails": words["labels.worse"],
        "undecided": words["labels.undecided"],
    }
    for arm, name in words.group("arms").items():
        score, median = (h.score(runs.values(metric, arm)) for metric in ("log_rmse", "median_error"))
        gained, verdict = "", ""
        if arm != RIDGE:
            found = resampled(gain(observations, arm), test_train_ratio=h.RATIO, claim="greater", alpha=ALPHA)
            gained, verdict = show.stacked(show.number_interval(found)), label[found.verdict]
        cells = [show.stacked(show.number_interval(one)) for one in (score, median)]
        rows.append([name, cells[0], gained, verdict, cells[1]])
    level = f"{100 * (1 - ALPHA):.3g}%"
    heads = (
        words["heads.model"],
        words["heads.log-rmse"],
        words("heads.below-ridge-regression-by-interval", level=level),
        words["heads.shown-be"],
        words["heads.median-error-in-logarithm"],
    )
    title = words("titles.held-out-parts-mean-with", num_seeds=observations.num_seeds)
    return [Table(title, heads, rows)]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Every arm on every fold, and its gain over ridge regression."""
    alt = import_extra("altair", what="A figure", extra="book")
    upper = h.fold_plot(
        observations.runs,
        words.group("arms"),
        words,
        title=words["titles.same-houses-for-all-models"],
    )
    found = {arm: beats_ridge(gain(observations, arm)).comparison for arm in CHALLENGERS}
    lower = h.fold_differences(
        {arm: c for arm, c in found.items() if c is not None},
        words.group("arms"),
        words,
        title=words["titles.how-much-lower-than-ridge"],
        value=words["labels.log-rmse-ridge-regression-minus"],
    )
    return alt.vconcat(upper, lower)


def _beats(arm: str) -> Claim:
    return Claim(
        name=f"{arm}-beats-ridge",
        kind="experiment",
        check=beats_ridge,
        subject=lambda o: gain(o, arm),
        falsehood=lambda o: -np.abs(gain(o, arm)) - 0.01,
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        _beats("plain"),
        _beats("decay"),
        _beats("dropout"),
        _beats("both"),
        _beats("ensemble"),
        _beats("blend"),
        Claim(
            name="the-typical-house-gains",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: gain(o, "ensemble", metric="median_error"),
            falsehood=lambda o: -np.abs(gain(o, "ensemble", metric="median_error")),
        ),
        Claim(
            name="decay-helps",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: gain(o, "decay", "plain"),
            falsehood=lambda o: -np.abs(gain(o, "decay", "plain")) - 0.001,
        ),
        Claim(
            name="averaging-helps",
            kind="experiment",
            check=greater(test_train_ratio=h.RATIO),
            subject=lambda o: gain(o, "ensemble", "both"),
            falsehood=lambda o: -gain(o, "ensemble", "both"),
        ),
    ),
    circulated=(Circulated("notes-end-before-this-section", "skipped"),),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=120",
)
