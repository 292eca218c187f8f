"""The rule that finds typed figures is itself shown truths and falsehoods (law 3)."""

from __future__ import annotations

import pytest

from .prose import numbers, sentences, typed_figures

TYPED = (
    "Dropout brings 0.31 points.",
    "暂退法提高 0.31 个百分点。",
    "Accuracy is 87 %.",
    "In 1 % of the seeds",
    "That is 1 point.",
    "We used 30 seeds.",
    "用 30 个种子。",
    "提高 1 个百分点",
    "After 10 epochs it stops.",
    "about 1,000 runs",
    "a loss of 1e-3",
    "It is 3 times as large.",
    "大 1 倍",
    "In 2014 it was new.",
    "−0.04 [−0.11, 0.03]",
    "x = 2",
    "accuracy 0,87",
    "the 2nd layer",
    r"$2$ and $20\sigma$",
    r"$0.3\sigma$, $3\%$, $3\times$, $3\text{ points}$",
    r"$3/4$ and $n = 5$",
    "3/min, 3/4 of it",
    "$x = 2$",
    r"$\lambda = 3$",
    r"$$\mathrm{Var} = 0.31$$",
    r"a loss of $10^{-3}$",
    r"$\frac{87}{100}$",
)
COMPUTED = (
    "x > 0 时导数为 1。",
    "h/(1 − p) with probability 1 − p, which adds h²p/(1 − p), and ½.",
    "N(0, 1), max(0, x), [α, 1], λ = 0",
    "λ/2 ‖w‖², 2^n, 2σ, 2/n",
    "as in section 4.6 and exercise 4.6.1",
    "见 4.6.1 节与第 4 章，练习 4.6.2",
    "1. First this.\n2. Then that.",
    "L2, float32",
    r"$2\sigma(2x)$, $2\,\mathrm{sigmoid}$, $x_2$, $x_{2}^{2}$, $\frac{1}{2}$",
    r"$\tfrac12 \lambda\|w\|_2^2 + \frac{\mu^2 p}{2} + 2\sigma(2x) + x_{1} + A^{-1}$",
    r"$$\sqrt{2\ln m}, 2^n, \frac{1}{2n}$$",
    "$x = {{ x | number }}$",
    "{{ swap.estimate | number(3) }} points with `--seeds 30`",
    "{% if num_seeds > 30 %}many{% endif %}",
)


def text(sentence: str) -> str:
    return f"## Why\n{sentence}\n\n## References\n- Srivastava et al. 2014, pages 1929-1958.\n"


@pytest.mark.parametrize("sentence", TYPED)
def test_a_typed_figure_is_found(sentence):
    assert typed_figures(text(sentence))


@pytest.mark.parametrize(
    ("text", "count", "figures"),
    [
        ("No: it does not. Dropout brings 0.5 points.", 2, ["0.5"]),
        ("Yes. Exercise 4.6.5 says why; L2 is one, $x = 3$ is a formula. 9 of 10 do.", 3, ["9", "10"]),
        ("A network of 784-256-10 learns, e.g. here (as said). It ends.", 2, ["784-256-10"]),
        ("不会。换来 0.5 个百分点。", 2, ["0.5"]),
    ],
)
def test_sentences_and_their_numbers_are_counted_as_a_reader_does(text, count, figures):
    assert len(sentences(text)) == count
    assert numbers(" ".join(sentences(text))) == figures


@pytest.mark.parametrize("sentence", COMPUTED)
def test_a_formula_a_place_and_a_computed_figure_are_none(sentence):
    assert typed_figures(text(sentence)) == []
