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
from mlplab.answers import chapter, show
from mlplab.answers.answer import Answer, Table
from mlplab.claims import Circulated, Claim, Finding, Language, Observations, Words
from mlplab.data import Dataset
from mlplab.engine import reference
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.spec import Prior, Run
from mlplab.study import plots

if TYPE_CHECKING:
    import altair

V, U = sympy.symbols("v u", real=True)
TAU, B, NU, P = (sympy.Symbol(name, positive=True) for name in ("tau", "b", "nu", "pi"))
SIGMA = sympy.Symbol("sigma", positive=True)
COVARIANCE = sympy.Matrix([[2, 1], [1, 3]])

# prior -> words, its penalty as text
TABLE: dict[str, tuple[Words, str, Words]] = {
    "flat": (
        Words("flat (improper)", "均匀（非正常先验）"),
        "0",
        Words("none: maximum likelihood", "没有：极大似然"),
    ),
    "normal": (
        Words("N(0, τ²)", "N(0, τ²)"),
        "w²/(2τ²)",
        Words("L2: weight decay, ridge", "L2：权重衰减，岭回归"),
    ),
    "laplace": (Words("Laplace(0, b)", "Laplace(0, b)"), "|w|/b", Words("L1: lasso", "L1：lasso")),
    "multivariate": (
        Words("N(0, Σ), all weights together", "N(0, Σ)，所有权重一起"),
        "½ wᵀΣ⁻¹w",
        Words("Tikhonov", "吉洪诺夫正则化"),
    ),
    "student": (
        Words("Student's t with ν degrees of freedom", "自由度为 ν 的 t 分布"),
        "(ν+1)/2 · log(1 + w²/ν)",
        Words("spares large weights", "放过大的权重"),
    ),
    "group": (
        Words("∝ exp(−‖w‖/b) on a group", "一组权重上 ∝ exp(−‖w‖/b)"),
        "‖w‖₂/b",
        Words("group lasso", "组 lasso"),
    ),
    "spike": (
        Words("not 0 with probability π, then flat", "以概率 π 不为 0，其上均匀"),
        "log((1−π)/π) · [w ≠ 0]",
        Words("L0: best subset", "L0：最优子集"),
    ),
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


def facts(observations: Observations) -> dict[str, Any]:
    """The curves' example."""
    y = 1.0
    return {"example_y": y, "laplace_mean": mode_and_mean("laplace", y)[1], "num_kinds": len(Prior.KINDS)}


def tables(observations: Observations, language: Language) -> list[Table]:
    """Prior and penalty; mode and mean for one weight."""
    priors = Table(
        Words("The penalty is −log P(w), up to a constant", "惩罚就是 −log P(w)，相差一个常数"),
        (Words("prior of a weight", "权重的先验"), Words("penalty", "惩罚"), Words("known as", "通常叫作")),
        [[words.of(language), penalty, name.of(language)] for words, penalty, name in TABLE.values()],
    )
    kinds = {
        "normal": Words("normal", "正态"),
        "laplace": Words("Laplace", "拉普拉斯"),
        "cauchy": Words("Cauchy (t, ν = 1)", "柯西（t，ν = 1）"),
    }
    rows = []
    for kind, words in kinds.items():
        pairs = [mode_and_mean(kind, y) for y in (0.5, 1.0, 2.0, 4.0)]
        rows.append(
            [words.of(language), *(f"{show.number(mode)} / {show.number(mean)}" for mode, mean in pairs)]
        )
    heads = (Words("prior", "先验"), *(Words(f"y = {y:g}", f"y = {y:g}") for y in (0.5, 1.0, 2.0, 4.0)))
    estimates = Table(
        Words(
            "One weight, y = w + N(0, 1): mode / mean of the posterior",
            "单个权重，y = w + N(0, 1)：后验的众数 / 均值",
        ),
        heads,
        rows,
    )
    return [priors, estimates]


def figure(observations: Observations, language: Language) -> altair.TopLevelMixin:
    """Penalties; what they make of one observation, as mode and as mean."""
    alt = import_extra("altair", what="A figure", extra="book")
    names = {
        "normal": Words("normal: L2", "正态：L2").of(language),
        "laplace": Words("Laplace: L1", "拉普拉斯：L1").of(language),
        "cauchy": Words("Cauchy (Student's t)", "柯西（t 分布）").of(language),
    }
    w = np.linspace(-4, 4, 161)
    penalty = pd.DataFrame(
        [{"x": x, "y": -log_prior(kind, x), "name": name} for kind, name in names.items() for x in w]
    )
    ys = np.round(np.linspace(-4, 4, 81), 10)
    estimates = []
    for which, index in ((Words("mode (MAP)", "众数（MAP）"), 0), (Words("mean", "均值"), 1)):
        rows = [
            {"x": y, "y": mode_and_mean(kind, float(y))[index], "name": name}
            for kind, name in names.items()
            for y in ys
        ]
        title = Words(f"Posterior {which.en}", f"后验{which.zh}").of(language)
        estimates.append(
            _lines(alt, pd.DataFrame(rows), list(names.values()), title).encode(
                x=alt.X(
                    "x:Q", title=Words("observation y = w + N(0, 1)", "观测值 y = w + N(0, 1)").of(language)
                ),
                y=alt.Y(
                    "y:Q",
                    title=Words("estimate of w", "w 的估计").of(language),
                    scale=alt.Scale(domain=[-4, 4]),
                ),
            )
        )
    left = _lines(
        alt, penalty, list(names.values()), Words("Penalty: −log prior", "惩罚：−log 先验").of(language)
    ).encode(
        x=alt.X("x:Q", title=Words("weight w", "权重 w").of(language)),
        y=alt.Y("y:Q", title=Words("nats, 0 at w = 0", "奈特，在 w = 0 处为 0").of(language)),
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
            statement=Words(
                "For each row of the table, -log of the prior is the penalty, up to a constant.",
                "表中每一行，先验取 -log 就是惩罚，相差一个常数。",
            ),
            check=has_penalty,
            subject=lambda o: penalties(),
            falsehood=lambda o: _without_half(penalties()),  # w²/τ² for the normal prior
        ),
        Claim(
            name="ridge-is-the-gaussian-posterior-mean",
            kind="proof",
            statement=Words(
                "Ridge regression with λ = σ²/τ² gives the posterior mean under N(0, τ²).",
                "λ = σ²/τ² 的岭回归给出先验 N(0, τ²) 下的后验均值。",
            ),
            check=ridge_is_posterior_mean,
            subject=lambda o: SIGMA**2 / TAU**2,
            falsehood=lambda o: SIGMA / TAU,
        ),
        Claim(
            name="the-mode-is-not-the-mean-for-laplace",
            kind="calculation",
            statement=Words(
                "Under a Laplace prior the mode of the posterior is not its mean.",
                "在拉普拉斯先验下，后验的众数不是均值。",
            ),
            check=mode_is_not_mean,
            subject=lambda o: "laplace",
            falsehood=lambda o: "normal",
        ),
        Claim(
            name="the-engine-takes-priors-as-penalties",
            kind="property",
            statement=Words(
                "Training with a normal prior is training with weight decay, and with a Laplace prior with L1, step "
                "for step.",
                "用正态先验训练就是用权重衰减训练，用拉普拉斯先验就是用 L1，每一步都相同。",
            ),
            check=trains_as,
            subject=lambda o: {"weight_decay": 0.02 / 0.5**2, "l1": 0.02 / 0.5},
            falsehood=lambda o: {"weight_decay": 0.02 / 0.5, "l1": 0.02 / 0.5},
        ),
        Claim(
            name="any-prior-of-pytorch",
            kind="property",
            statement=Words(
                "Trained with smooth priors of torch.distributions, the weights are where the posterior is stationary.",
                "用 torch.distributions 中的光滑先验训练，权重停在后验的驻点。",
            ),
            check=is_maximum_a_posteriori,
            subject=lambda o: 0.1,
            falsehood=lambda o: 0.09,
        ),
    ),
    circulated=(
        Circulated(
            Words(
                "Optimising w is maximising the posterior probability.",
                "优化 w 的过程就是最大化后验概率的过程。",
            ),
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="any-prior-of-pytorch",
        ),
        Circulated(
            Words(
                "Other distributions and their penalties stand in a table that is lost.",
                "其他分布与相应的正则化项列在一张已丢失的表里。",
            ),
            "incomplete",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
)
