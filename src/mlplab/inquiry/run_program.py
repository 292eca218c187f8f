"""Run by its path, in a process of its own: a program as a reader runs it, what it prints, draws and leaves as JSON.

python run_program.py PROGRAM NAME... writes {"printed", "drawings", "left"} with the numbers called NAME; what the
program prints does not get in between. Needs nothing of mlplab.
"""

from __future__ import annotations

import io
import json
import runpy
import sys
from contextlib import redirect_stdout


def main(program: str, *names: str) -> None:
    """Run it, and write what it did to standard output."""
    drawings: list[str] = []
    try:
        import matplotlib
    except ImportError:  # a program that draws says so itself
        pass
    else:
        matplotlib.use("svg")
        matplotlib.rc("svg", fonttype="path", hashsalt="mlplab")
        matplotlib.rc("savefig", bbox="tight")
        from matplotlib import pyplot

        def show() -> None:
            for number in pyplot.get_fignums():
                drawing = io.StringIO()
                pyplot.figure(number).savefig(drawing, format="svg", metadata={"Date": None})
                drawings.append(drawing.getvalue())
            pyplot.close("all")

        pyplot.show = show
    printed = io.StringIO()
    with redirect_stdout(printed):
        left = runpy.run_path(program, run_name="__main__")
    numbers = {name: float(left[name]) for name in names}
    json.dump({"printed": printed.getvalue(), "drawings": drawings, "left": numbers}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
