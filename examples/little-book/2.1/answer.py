"""2.1 What are the equations of backpropagation where every neuron is linear, σ(z) = z?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy

from mlplab.answers import Answer, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

SIZES = (2, 2, 2, 1)  # of the layers in symbols: input, two hidden ones, output
DEPTH, WIDTH = 8, 20  # of the networks in the figure

Matrices = Sequence[sympy.Matrix]


def network() -> tuple[sympy.Matrix, Matrices, Matrices, sympy.Matrix]:
    """Input, weights and biases of each layer, and target, all of symbols."""
    weights = [
        sympy.Matrix(n, m, sympy.symbols(f"w{layer}_:{n * m}"))
        for layer, (m, n) in enumerate(itertools.pairwise(SIZES))
    ]
    biases = [sympy.Matrix(sympy.symbols(f"b{layer}_:{n}")) for layer, n in enumerate(SIZES[1:])]
    x, y = (sympy.Matrix(sympy.symbols(f"{name}:{n}")) for name, n in (("x", SIZES[0]), ("y", SIZES[-1])))
    return x, weights, biases, y


def activations(x: sympy.Matrix, weights: Matrices, biases: Matrices) -> list[sympy.Matrix]:
    """Of every layer, the input's first: a = Wa' + b, since σ(z) = z."""
    held = [x]
    for w, b in zip(weights, biases, strict=True):
        held.append(w * held[-1] + b)
    return held


def by_equations(backward: Callable[[sympy.Matrix, sympy.Matrix], Any], last: Callable[..., Any]) -> Finding:
    """Three layers of symbols: do the errors that these equations give lead to the derivatives of the cost?

    Arguments:
      backward: the error of a layer from the weights and the error of the one above it.
      last: the error of the last layer from its activations and the target.
    """
    x, weights, biases, y = network()
    a = activations(x, weights, biases)
    miss = a[-1] - y
    cost = miss.dot(miss) / 2
    error = last(a[-1], y)
    wrong = 0
    for layer in reversed(range(len(weights))):
        slopes_of_biases = sympy.Matrix([sympy.diff(cost, b) for b in biases[layer]])
        slopes_of_weights = weights[layer].applyfunc(lambda w: sympy.diff(cost, w))
        gaps = [*(slopes_of_biases - error), *(slopes_of_weights - error * a[layer].T)]
        wrong += sum(sympy.expand(gap) != 0 for gap in gaps)
        error = backward(weights[layer], error)
    total = sum(n * m + n for m, n in itertools.pairwise(SIZES))
    return Finding.true_if(wrong == 0, f"{wrong} of {total} derivatives differ", derivatives=total)


def obeys(backward: Callable[[sympy.Matrix, sympy.Matrix], Any]) -> Finding:
    """Are the errors of the layers this function of those above them?"""
    return by_equations(backward, lambda a, y: a - y)


def is_last_error(last: Callable[..., Any]) -> Finding:
    """Is the error of the last layer this function of its activations and the target?"""
    return by_equations(lambda w, error: w.T * error, last)


def is_network(single: Callable[[Matrices, Matrices], tuple[Any, Any]]) -> Finding:
    """Does one layer with these weights and biases give the network's output for every input?"""
    x, weights, biases, _ = network()
    weight, bias = single(weights, biases)
    gap = (activations(x, weights, biases)[-1] - weight * x - bias).expand()
    return Finding.true_if(bool(gap.is_zero_matrix), "no difference" if gap.is_zero_matrix else "it differs")


def collapsed(weights: Matrices, biases: Matrices) -> tuple[Any, Any]:
    """The one layer: W = W₃W₂W₁, b = W₃(W₂b₁ + b₂) + b₃."""
    first, second, third = weights
    return third * second * first, third * (second * biases[0] + biases[1]) + biases[2]


def without_inner_biases(weights: Matrices, biases: Matrices) -> tuple[Any, Any]:
    """The product of the weights with the last bias alone."""
    return collapsed(weights, biases)[0], biases[-1]


def sizes_of_errors() -> pd.DataFrame:
    """Mean size of the errors by layer, in two networks with the same weights: linear and logistic neurons."""
    weights = [Stream(layer, "data").normal((WIDTH, WIDTH)) / np.sqrt(WIDTH) for layer in range(DEPTH)]
    rows = []
    for kind in ("linear", "logistic"):
        a, slopes = Stream(DEPTH, "data").normal((WIDTH,)), []
        for w in weights:
            z = w @ a
            a = z if kind == "linear" else 1 / (1 + np.exp(-z))
            slopes.append(np.ones(WIDTH) if kind == "linear" else a * (1 - a))
        error = np.ones(WIDTH) * slopes[-1]
        for layer in reversed(range(DEPTH)):
            size = float(np.sqrt(np.mean(error**2)))
            rows.append({"layer": layer + 1, "kind": kind, "size": size})
            error = (weights[layer].T @ error) * slopes[layer - 1]
    return pd.DataFrame(rows)


def facts(observations: Observations) -> dict[str, Any]:
    """How much smaller the first layer's error is than the last one's."""
    held = sizes_of_errors().set_index(["kind", "layer"])["size"]
    shares = {kind: float(held[kind, 1] / held[kind, DEPTH]) for kind in ("linear", "logistic")}
    return {"depth": DEPTH, "width": WIDTH, "linear_share": shares["linear"]} | {
        "logistic_share": shares["logistic"]
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The four equations, in general and for linear neurons."""
    rows = [
        [words["heads.last"], "δᴸ = ∇C ⊙ σ′(zᴸ)", "δᴸ = ∇C"],
        [words["heads.inner"], "δˡ = (Wˡ⁺¹)ᵀδˡ⁺¹ ⊙ σ′(zˡ)", "δˡ = (Wˡ⁺¹)ᵀδˡ⁺¹"],
        [words["heads.biases"], "∂C/∂bˡ = δˡ", "∂C/∂bˡ = δˡ"],
        [words["heads.weights"], "∂C/∂Wˡ = δˡ(aˡ⁻¹)ᵀ", "∂C/∂Wˡ = δˡ(aˡ⁻¹)ᵀ"],
    ]
    heads = [words[f"heads.{name}"] for name in ("quantity", "general", "linear")]
    return [Table(words["titles.equations"], heads, rows)]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The size of the errors, layer by layer."""
    alt = import_extra("altair", what="A figure", extra="book")
    rows = sizes_of_errors()
    names = words.group("kinds")
    rows["neurons"] = rows["kind"].map(dict(names))
    return (
        alt.Chart(rows, width=420, height=240, title=words["titles.errors"])
        .mark_line(point=True)
        .encode(
            x=alt.X("layer:O", title=words["labels.layer"], axis=alt.Axis(labelAngle=0)),
            y=alt.Y("size:Q", title=words["labels.size"], scale=alt.Scale(type="log")),
            color=alt.Color(
                "neurons:N", title=None, scale=plots.colour_scale(alt, [names["linear"], names["logistic"]])
            ),
        )
    )


ANSWER = Answer(
    claims=(
        Claim(
            name="the-last-error-is-the-gradient",
            kind="proof",
            check=is_last_error,
            subject=lambda o: lambda a, y: a - y,
            falsehood=lambda o: lambda a, y: (a - y) / 4,  # the largest slope of a logistic neuron
        ),
        Claim(
            name="errors-go-back-through-the-weights-alone",
            kind="proof",
            check=obeys,
            subject=lambda o: lambda w, error: w.T * error,
            falsehood=lambda o: lambda w, error: w.T * error / 4,
        ),
        Claim(
            name="the-network-is-one-layer",
            kind="proof",
            check=is_network,
            subject=lambda o: collapsed,
            falsehood=lambda o: without_inner_biases,
        ),
    ),
    tables=tables,
    facts=facts,
    figure=figure,
)
