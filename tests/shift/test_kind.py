"""Covariate, label or concept shift: a true kind is hardly ever ruled out, and none is guessed without labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlplab.errors import InvalidInput
from mlplab.rng import Stream
from mlplab.shift.kind import kind_of_shift
from mlplab.stats import proportion_interval

KINDS = ("none", "covariate", "label", "concept")


def sample(kind: str, num: int, seed: int, *, shifted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Three features and two classes. Source and target differ in what `kind` says."""
    stream = Stream(seed, "data")
    if kind == "label":
        y = (stream.uniform(num) < (0.75 if shifted else 0.25)).astype(int)
        x = stream.normal((num, 3))
        x[:, 0] += 1.5 * y
        return x, y
    x = stream.normal((num, 3))
    if kind == "covariate" and shifted:
        x[:, 0] += 0.8
    slope = -0.5 if kind == "concept" and shifted else 1.5
    y = (stream.uniform(num) < 1 / (1 + np.exp(-slope * x[:, 0] - x[:, 1]))).astype(int)
    return x, y


def asked(kind: str, num: int, seed: int, **options):
    source = sample(kind, num, 2 * seed, shifted=False)
    target = sample(kind, num, 2 * seed + 1, shifted=True)
    return kind_of_shift(
        *source, *target, classifier="logistic" if kind != "concept" else "quadratic", **options
    )


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind != "covariate" else []) for kind in KINDS]
)
def test_a_plain_case_of_each_kind_is_told(kind):
    found = asked(kind, 1_000, seed=1, alpha=0.001)  # else 1 of 20 true kinds is ruled out
    assert found.kind == kind
    assert found.says


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_true_kind_is_ruled_out_at_most_at_the_level(kind):
    repeats = 60
    missed = sum(kind not in asked(kind, 400, seed).possible for seed in range(10, 10 + repeats))
    assert proportion_interval(missed, repeats).ci_low <= 0.05
    # The falsehood: a concept shift is not taken for either of the two that weights can correct.
    if kind != "none":
        others = [asked("concept", 400, seed).kind for seed in range(10, 40)]
        assert others.count("concept") > 20


@pytest.mark.parametrize("labels", [None, [None] * 300, [0, 1] * 5 + [None] * 290])
def test_without_labels_no_kind_is_guessed(labels):
    x, y = sample("covariate", 300, 2, shifted=False)
    found = kind_of_shift(x, y, sample("covariate", 300, 3, shifted=True)[0], labels, classifier="logistic")
    assert found.kind == "unknown"
    assert found.possible == ()
    assert found.p_labels_given_inputs is None
    assert found.says.startswith("The inputs changed.")
    assert "20 labelled rows" in found.says


@pytest.mark.slow
def test_a_part_of_the_labels_will_do():
    source, (x, y) = sample("concept", 1_500, 4, shifted=False), sample("concept", 1_500, 5, shifted=True)
    known = np.where(np.arange(1_500) < 900, y, np.nan)
    found = kind_of_shift(*source, x, known, classifier="quadratic")
    assert found.num_labelled == 900
    assert found.kind == "concept"


@pytest.mark.slow
def test_real_valued_labels_and_tables():
    stream = Stream(6, "data")

    def table(shift):
        x = pd.DataFrame(
            {"a": shift + stream.normal(800), "b": np.where(stream.uniform(800) < 0.5, "u", "v")}
        )
        return x, 2 * x["a"].to_numpy() + (x["b"] == "u") + stream.normal(800)

    found = kind_of_shift(*table(0.0), *table(1.0), classifier="quadratic")
    assert found.kind == "covariate"
    assert found.table()["changed"].tolist() == [True, True, False, True]


def test_what_does_not_fit_is_refused():
    x, y = sample("none", 30, 7, shifted=False)
    for call, says in (
        (lambda: kind_of_shift(x, y[:5], x, y), "source_labels must be one for each of 30 rows"),
        (lambda: kind_of_shift(x, y, x[:, :2], y), "must have the source's 3 features"),
        (lambda: kind_of_shift(x, np.where(y == 0, np.nan, y), x, y), "must be known for every row"),
        (lambda: kind_of_shift(np.where(x > 1, np.inf, x), y, x, y), "10 finite rows"),
        (lambda: kind_of_shift(x[:3], y[:3], x, y), "10 finite rows"),
        (lambda: kind_of_shift(x, y, x, y, alpha=2.0), "alpha"),
    ):
        with pytest.raises(InvalidInput, match=says):
            call()
