"""Formulas in a terminal read as a person would write them in a mail."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mlplab.pages.terminal_markdown import Markdown
from mlplab.pages.unicode_math import to_unicode

FORMULAS = {
    r"\frac{\partial L}{\partial W_1} = \delta x^\top + \lambda W_1": "∂L/∂W₁ = δxᵀ + λW₁",
    r"\mathrm{Var}(h') = \frac{\mathrm{Var}(h)}{1-p} + \frac{\mu^2 p}{1-p} \ge \mathrm{Var}(h)": (
        "Var(h') = Var(h)/(1 − p) + μ²p/(1 − p) ≥ Var(h)"
    ),
    r"\|W\|_F^2 = \operatorname{tr}(W^\top W) = \sum_i \sigma_i^2": "‖W‖_F² = tr(WᵀW) = ∑ᵢσᵢ²",
    r"\sqrt{2\ln m}\,\sigma": "√(2 ln m) σ",
    r"\sqrt[3]{x} + \eta/\sqrt{d}": "³√x + η/√d",
    r"\hat w = (X^\top X + n\lambda I)^{-1} X^\top y": "ŵ = (XᵀX + nλI)⁻¹Xᵀy",
    r"f(x)=\begin{cases} 1 & x>0\\ \alpha & x<0\end{cases}": "f(x) = {1, x > 0; α, x < 0}",
    r"\begin{pmatrix} a & b \\ c & d\end{pmatrix}": "[a b; c d]",
    r"\begin{aligned} a &= b + c\\ &= d\end{aligned}": "a = b + c\n= d",
    r"\mathbb{E}[\ell] \approx 10^{-3}": "𝔼[ℓ] ≈ 10⁻³",
    r"\{0,1\}^n": "{0, 1}ⁿ",
    r"x_{t+1} = -x_t": "xₜ₊₁ = −xₜ",
    r"e^{-x^2/2}": "e^(−x²/2)",
    r"\text{training MSE} = \sigma^2\left(1-\frac{d+1}{n}\right)": "training MSE = σ²(1 − (d + 1)/n)",
    r"\operatorname*{arg\,min}_w L(w)": "arg min_w L(w)",
    r"\min_w \max_{x \in A} f(x,w)": "min_w max_(x ∈ A) f(x, w)",
    r"\tfrac12\lambda\lVert w\rVert_2^2": "½λ‖w‖₂²",
    r"x \text{ for all } x": "x for all x",
    r"\log x^i = i \log x": "log xⁱ = i log x",
    r"203,530": "203,530",
    r"\unheardof": r"\unheardof",
}


@pytest.mark.parametrize(("latex", "text"), FORMULAS.items(), ids=FORMULAS)
def test_a_formula_reads(latex, text):
    assert to_unicode(latex) == text


def printed(markup: str) -> str:
    console = Console(file=io.StringIO(), width=60)
    console.print(Markdown(markup))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    return "\n".join(lines).strip("\n")


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("**Bold** $W_1 * W_2 * c$ and *$x_i$*.", "Bold W₁*W₂*c and xᵢ."),
        (r"It costs \$5 and 6$; `$x^2$` is code.", "It costs $5 and 6$; $x^2$ is code."),
        ("So\n\n$$\n\\frac{a}{b}\n$$\n\nthen", "So\n\n    a/b\n\nthen"),
        ("So $$\\frac{a}{b}$$ then", "So a/b then"),
        ("| a |\n|---|\n| $x^2$ |", "a\n ──\n x²"),
        ("一行。\n二行 $x$，\n三行", "一行。二行 x，三行"),
        ("one\ntwo", "one two"),
    ],
)
def test_markdown_with_formulas_is_shown(markup, text):
    assert printed(markup).strip() == text
