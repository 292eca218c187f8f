"""4.5.6 How does the prior P(w) of Bayesian statistics relate to regularisation?

The negative logarithm of the posterior is loss plus penalty, and the penalty is the negative logarithm of the prior.
Each row of the table is derived from a density by computer algebra; the engine takes priors of `torch.distributions`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import sympy
import torch
from scipy.integrate import quad
from sympy import stats

from mlplab import data
from mlplab.answers import Answer, Circulated, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.engine import reference
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.spec import Prior, Run

from .. import chapter

if TYPE_CHECKING:
    import altair

V, U = sympy.symbols("v u", real=True)
TAU, B, NU, P = (sympy.Symbol(name, positive=True) for name in ("tau", "b", "nu", "pi"))
SIGMA = sympy.Symbol("sigma", positive=True)
COVARIANCE = sympy.Matrix([[2, 1], [1, 3]])

# prior -> its penalty as text
TABLE = {
    "flat": "0",
    "normal": "w²/(2τ²)",
    "laplace": "|w|/b",
    "multivariate": "½ wᵀΣ⁻¹w",
    "student": "(ν+1)/2 · log(1 + w²/ν)",
    "group": "‖w‖₂/b",
    "spike": "log((1−π)/π) · [w ≠ 0]",
}


# The table


def has_penalty(candidates: dict[str, Any]) -> Finding:
    """For each prior: is -log p(w) this penalty, up to a number that does not depend on w?"""
    wrong = [name for name, penalty in candidates.items() if not _is_constant(name, penalty)]
    return Finding.true_if(
        not wrong, f"wrong: {', '.join(wrong)}" if wrong else "all rows", rows=len(candidates)
    )


def _is_constant(name: str, penalty: Any) -> bool:
    if name == "spike":  # two values of one indicator: what the step from 0 to 1 costs
        cost = -sympy.log(P) + sympy.log(1 - P)
        return sympy.simplify(sympy.logcombine(cost - (penalty(1) - penalty(0)), force=True)) == 0
    # A difference is constant in w if its derivatives vanish; u and v are two weights.
    gap = -sympy.log(density(name)) - penalty
    return all(sympy.simplify(sympy.diff(gap, symbol)) == 0 for symbol in (U, V))


def density(name: str) -> Any:
    """The density of a prior at the weight v, or at the pair (u, v)."""
    pair, density_of = sympy.Matrix([U, V]), cast(Any, stats.density)
    return {
        "flat": sympy.Integer(1),
        "normal": density_of(stats.Normal("W", 0, TAU))(V),
        "laplace": density_of(stats.Laplace("W", 0, B))(V),
        "student": density_of(stats.StudentT("W", NU))(V),
        "multivariate": sympy.exp(-(pair.T * COVARIANCE.inv() * pair)[0] / 2),
        "group": sympy.exp(-sympy.sqrt(U**2 + V**2) / B),
    }[name]


def penalties() -> dict[str, Any]:
    """The table's penalties as expressions."""
    pair = sympy.Matrix([U, V])
    return {
        "flat": sympy.Integer(0),
        "normal": V**2 / (2 * TAU**2),
        "laplace": sympy.Abs(V) / B,
        "student": (NU + 1) / 2 * sympy.log(1 + V**2 / NU),
        "multivariate": (pair.T * COVARIANCE.inv() * pair)[0] / 2,
        "group": sympy.sqrt(U**2 + V**2) / B,
        "spike": lambda count: sympy.log((1 - P) / P) * count,
    }


def ridge_is_posterior_mean(strength: Any) -> Finding:
    """3 examples, 2 weights, symbols: does ridge with that λ solve for the mean of w given y?

    w ~ N(0, τ²I) and y = Xw + noise are jointly Gaussian, so E(w|y) = τ²Xᵀ(τ²XXᵀ + σ²I)⁻¹y. Ridge solves
    (XᵀX + λI)w = Xᵀy.
    """
    x, y = sympy.Matrix(3, 2, sympy.symbols("x:6")), sympy.Matrix(sympy.symbols("y:3"))
    inner = TAU**2 * x * x.T + SIGMA**2 * sympy.eye(3)
    # (XᵀX + λI) τ²Xᵀ = Xᵀ(τ²XXᵀ + σ²I) says the same, and needs no inverse.
    gap = (x.T * x + strength * sympy.eye(2)) * TAU**2 * x.T - x.T * inner
    gap = gap.applyfunc(sympy.expand)
    return Finding.true_if(
        bool(gap.is_zero_matrix), "difference 0" if gap.is_zero_matrix else f"{gap[0]}", y=len(y)
    )


# One weight, seen once: y = w + N(0, 1)


def log_prior(kind: str, w: Any) -> Any:
    """Standardised priors of one weight, all with variance 1 but the t, which has none."""
    if kind == "normal":
        return -(w**2) / 2
    if kind == "laplace":
        return -math.sqrt(2) * abs(w)
    return -np.log1p(w**2)  # t with one degree of freedom (Cauchy)


@cache
def mode_and_mean(kind: str, y: float) -> tuple[float, float]:
    """The mode (MAP) and the mean of the weight's posterior after seeing y."""

    def posterior(w: float) -> float:
        return math.exp(-((y - w) ** 2) / 2 + log_prior(kind, w))

    low, high = min(0.0, y) - 12, max(0.0, y) + 12
    mass, moment = (
        quad(f, low, high, points=[0.0, y], limit=200)[0]
        for f in (posterior, lambda w: w * posterior(w))
    )  # fmt: skip
    return posterior_mode(kind, y), moment / mass


def posterior_mode(kind: str, y: float) -> float:
    """Where the posterior is highest: in closed form, or on a grid for the t."""
    if kind == "normal":
        return y / 2
    if kind == "laplace":
        return math.copysign(max(abs(y) - math.sqrt(2), 0.0), y)
    grid = np.unique(np.append(np.linspace(-abs(y) - 1, abs(y) + 1, 20001), 0.0))
    return float(grid[np.argmax(-((y - grid) ** 2) / 2 + log_prior(kind, grid))])


def mode_is_not_mean(kind: str) -> Finding:
    """Over observations from 0 to 4: do mode and mean differ by more than 0.1 somewhere?"""
    pairs = {y: mode_and_mean(kind, y) for y in (0.5, 1.0, 1.4, 2.0, 3.0, 4.0)}
    at, (mode, mean) = max(pairs.items(), key=lambda item: abs(item[1][0] - item[1][1]))
    zeros = sum(mode == 0 for mode, _ in pairs.values())
    return Finding.true_if(abs(mode - mean) > 0.1, at=at, mode=mode, mean=mean, zeros=zeros)


# The engine's priors


def problem() -> Dataset:
    """The section's problem, with enough examples for one solution."""
    return data.load("linear-high-dim", num_train=40, in_features=5)


def trained(**knobs: Any) -> np.ndarray:
    """Weights after training in float64 on full batches."""
    setting = turn(
        chapter.LINEAR_SETTING, precision="float64", learning_rate=0.1, evaluate_every=1000, batch_size=None,
        epochs=knobs.pop("epochs", 50), **knobs,
    )  # fmt: skip
    result = reference.train_one(Run(setting, problem().fingerprint, 0), problem())
    return np.asarray(result.parameters[0][0][0], dtype=np.float64)


def trains_as(other: dict[str, Any]) -> Finding:
    """Is training with a prior the training with this penalty? Normal with decay, Laplace with L1, step for step."""
    normal = trained(prior=Prior("Normal", loc=0, scale=0.5), prior_weight=0.02)
    laplace = trained(prior=Prior("Laplace", loc=0, scale=0.5), prior_weight=0.02)
    worst = max(
        float(np.abs(normal - trained(weight_decay=other["weight_decay"])).max()),
        float(np.abs(laplace - trained(l1=other["l1"])).max()),
    )
    return Finding.true_if(worst < 1e-12, worst_error=worst)


SMOOTH = {
    "Normal": {"loc": 0.0, "scale": 0.5},
    "StudentT": {"df": 3.0, "loc": 0.0, "scale": 0.5},
    "Cauchy": {"loc": 0.0, "scale": 0.5},
    "Gumbel": {"loc": 0.0, "scale": 0.5},
}


@cache
def trained_with(kind: str) -> np.ndarray:
    """Weights after training with a tenth of -log p of a prior, until they rest."""
    return trained(prior=Prior(kind, **SMOOTH[kind]), prior_weight=0.1, epochs=600)


def is_maximum_a_posteriori(weight: float) -> Finding:
    """Trained with 0.1 times -log p of several priors: is the gradient of loss + weight · (-log p) zero there?"""
    part, worst = problem().train, 0.0
    x = torch.from_numpy(part.features.astype(np.float64))
    y = torch.from_numpy(part.targets[:, 0].astype(np.float64))
    for kind, options in SMOOTH.items():
        w = torch.tensor(trained_with(kind), requires_grad=True)
        # The bias has no prior: at the optimum it takes the means away.
        centred = (x - x.mean(0)) @ w - (y - y.mean())
        distribution = getattr(torch.distributions, kind)(**options)
        objective = centred.square().mean() / 2 - weight * distribution.log_prob(w).sum()
        (gradient,) = torch.autograd.grad(objective, w)
        worst = max(worst, float(gradient.abs().max()))
    return Finding.true_if(worst < 1e-8, worst_gradient=worst, priors=len(SMOOTH))


# What is shown


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Mode and mean under a Laplace prior at y = 2, as in the table; and that the normal prior trains to ridge."""
    mode, mean = mode_and_mean("laplace", 2.0)
    return {"laplace_mode": (mode, mode), "laplace_mean": (mean, mean), "worst": (0.0, 1e-6)}


def facts(observations: Observations) -> dict[str, Any]:
    """The curves' example."""
    y = 1.0
    return {"example_y": y, "laplace_mean": mode_and_mean("laplace", y)[1], "num_kinds": len(Prior.KINDS)}


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Prior and penalty; mode and mean for one weight."""
    priors = Table(
        words["titles.penalty-log-p-w-up"],
        (words["heads.prior-weight"], words["heads.penalty"], words["heads.known-as"]),
        [[words[f"priors.{kind}"], penalty, words[f"known_as.{kind}"]] for kind, penalty in TABLE.items()],
    )
    kinds = {
        "normal": words["labels.normal"],
        "laplace": words["labels.laplace"],
        "cauchy": words["labels.cauchy-t-1"],
    }
    rows = []
    for kind, label in kinds.items():
        pairs = [mode_and_mean(kind, y) for y in (0.5, 1.0, 2.0, 4.0)]
        rows.append([label, *(f"{show.number(mode)} / {show.number(mean)}" for mode, mean in pairs)])
    heads = (words["heads.prior"], *(words("labels.y", y=y) for y in (0.5, 1.0, 2.0, 4.0)))
    estimates = Table(
        words["titles.one-weight-y-w-n"],
        heads,
        rows,
    )
    return [priors, estimates]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Penalties; what they make of one observation, as mode and as mean."""
    alt = import_extra("altair", what="A figure", extra="book")
    names = {
        "normal": words["labels.normal-l2"],
        "laplace": words["labels.laplace-l1"],
        "cauchy": words["labels.cauchy-students-t"],
    }
    w = np.linspace(-4, 4, 161)
    penalty = pd.DataFrame(
        [{"x": x, "y": -log_prior(kind, x), "name": name} for kind, name in names.items() for x in w]
    )
    ys = np.round(np.linspace(-4, 4, 81), 10)
    estimates = []
    for which, index in ((words["heads.mode-map"], 0), (words["heads.mean"], 1)):
        rows = [
            {"x": y, "y": mode_and_mean(kind, float(y))[index], "name": name}
            for kind, name in names.items()
            for y in ys
        ]
        title = words("labels.posterior", which=which)
        estimates.append(
            _lines(alt, pd.DataFrame(rows), list(names.values()), title).encode(
                x=alt.X("x:Q", title=words["titles.noisy-observation"]),
                y=alt.Y(
                    "y:Q",
                    title=words["titles.estimate-w"],
                    scale=alt.Scale(domain=[-4, 4]),
                ),
            )
        )
    left = _lines(alt, penalty, list(names.values()), words["labels.penalty-log-prior"]).encode(
        x=alt.X("x:Q", title=words["titles.weight-w"]),
        y=alt.Y("y:Q", title=words["titles.penalty-in-nats"]),
    )
    return left | estimates[0] | estimates[1]


def _lines(alt: Any, rows: pd.DataFrame, names: list[str], title: str) -> Any:
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke", symbolSize=300)
    return (
        alt.Chart(rows, width=210, height=220, title=title)
        .mark_line(strokeWidth=2)
        .encode(
            color=alt.Color("name:N", sort=names, legend=legend,
                            scale=plots.colour_scale(alt, names)),
            strokeDash=alt.StrokeDash("name:N", sort=names, legend=legend,
                                      scale=plots.dash_scale(alt, names)),
        )
    )  # fmt: skip


def _without_half(found: dict[str, Any]) -> dict[str, Any]:
    return found | {"normal": found["normal"] * 2}


ANSWER = Answer(
    claims=(
        Claim(
            name="penalties-are-log-priors",
            kind="proof",
            check=has_penalty,
            subject=lambda o: penalties(),
            falsehood=lambda o: _without_half(penalties()),  # w²/τ² for the normal prior
        ),
        Claim(
            name="ridge-is-the-gaussian-posterior-mean",
            kind="proof",
            check=ridge_is_posterior_mean,
            subject=lambda o: SIGMA**2 / TAU**2,
            falsehood=lambda o: SIGMA / TAU,
        ),
        Claim(
            name="the-mode-is-not-the-mean-for-laplace",
            kind="calculation",
            check=mode_is_not_mean,
            subject=lambda o: "laplace",
            falsehood=lambda o: "normal",
        ),
        Claim(
            name="the-engine-takes-priors-as-penalties",
            kind="property",
            check=trains_as,
            subject=lambda o: {"weight_decay": 0.02 / 0.5**2, "l1": 0.02 / 0.5},
            falsehood=lambda o: {"weight_decay": 0.02 / 0.5, "l1": 0.02 / 0.5},
        ),
        Claim(
            name="any-prior-of-pytorch",
            kind="property",
            check=is_maximum_a_posteriori,
            subject=lambda o: 0.1,
            falsehood=lambda o: 0.09,
        ),
    ),
    circulated=(
        Circulated(
            "optimising-w-maximising-posterior-probability",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="any-prior-of-pytorch",
        ),
        Circulated("other-distributions-and-their-penalties", "lost"),
        Circulated(
            "normal-and-laplace",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="penalties-are-log-priors",
            source="datawhale",
        ),
        Circulated(
            "called-maximum-likelihood",
            {"holds": "half-right", "fails": "wrong", "undecided": "unsupported"},
            by="penalties-are-log-priors",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    expected=expected,
)
