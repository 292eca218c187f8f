"""Figures of docs/polynomial.md: conditioning of four bases, and errors against degree and number of examples."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mlplab.analysis.polynomial_conditioning import conditioning
from mlplab.analysis.polynomial_curves import error_curves


def main(folder: Path) -> None:
    """Print both tables, and draw them into `folder`."""
    x = np.linspace(-3, 3, 100)
    rows = conditioning(x, [3, 5, 10, 15], domain=(-3, 3))
    print(rows.table().to_string(float_format="{:.3g}".format))
    rows.plot().save(str(folder / "polynomial_conditioning.svg"))
    curves = error_curves(range(11), (15, 30, 100))
    table = curves.table()
    shown = table[(table["statistic"] == "mean") & (table["part"] == "train") & (table["size"] == 30)]
    print(
        shown[["degree", "estimate", "ci_low", "ci_high", "expected"]].to_string(float_format="{:.5f}".format)
    )
    curves.plot().save(str(folder / "polynomial_curves.svg"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
