"""What a reader hands in: the derivative in x on both sides of 0, and that in alpha."""

from mlplab.workbook import Formula, Part, Wrong

PARTS = (
    Part(
        "right_of_zero",
        Formula({"alpha": "real"}),
        claim="derivative-in-x",
        ours="1",
        subject=lambda right: (right, _alpha()),
        right=("alpha/alpha", "cos(alpha)^2 + sin(alpha)^2", r"\frac{2}{2}"),
        wrong=(Wrong("alpha", "sides"), Wrong("0"), Wrong("1 + alpha", "both")),
    ),
    Part(
        "left_of_zero",
        Formula({"alpha": "real"}),
        claim="derivative-in-x",
        ours="alpha",
        subject=lambda left: (1, left),
        right=("2 alpha - alpha", r"\alpha", "alpha*1"),
        wrong=(Wrong("0", "relu"), Wrong("1", "sides"), Wrong("-alpha", "minus")),
    ),
    Part(
        "in_alpha",
        Formula({"x": "real"}),
        claim="derivative-in-alpha",
        ours="min(0, x)",
        right=("(x - |x|)/2", r"\min(x, 0)", "-relu(-x)"),
        wrong=(Wrong("max(0, x)", "sides"), Wrong("x", "everywhere"), Wrong("(x + |x|)/2", "sides")),
    ),
)


def _alpha():
    import sympy

    return sympy.Symbol("alpha", real=True)
