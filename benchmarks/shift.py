"""The certificate of `mlplab.shift`: false alarms, power, real data, each beside its peers. It goes on where it was.

python benchmarks/shift.py null --repeats 4000
python benchmarks/shift.py clock                    seconds of one test
python benchmarks/shift.py power --alibi PYTHON     a Python that has alibi-detect; without it, ours alone
python benchmarks/shift.py real                     house prices and Fashion-MNIST, from MLPLAB_DATA
python benchmarks/shift.py size --rows 1000000      seconds and memory on large files
python benchmarks/shift.py page                     writes the figures into docs/shift.md
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import shift_null
import shift_power
import shift_real
import shift_size
from shift_contenders import CONTENDERS

PAGE = Path(__file__).parents[1] / "docs" / "shift.md"
PARTS = {
    "shift-size": shift_size.table,
    "shift-null": shift_null.table,
    "shift-power": shift_power.table,
    "shift-real": shift_real.table,
}


def filled(page: str) -> str:
    """The page with its marked parts as the results say. Raises LookupError for a mark that is not there."""
    for name, write in PARTS.items():
        mark, text = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL), write()
        page, count = mark.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)
        if count != 1:
            raise LookupError(f"{PAGE.name} must have one mark {name}; it has {count}")
    return page


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    null = parts.add_parser("null", help="false alarms where nothing has shifted")
    null.add_argument("--repeats", type=int, default=4_000)
    null.add_argument("--detectors", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    null.add_argument("--sizes", nargs="+", type=int, default=list(shift_null.SIZES))
    null.add_argument("--features", nargs="+", type=int, default=list(shift_null.FEATURES))
    parts.add_parser("clock", help="seconds of one test")
    power = parts.add_parser("power", help="how often a shift is found")
    power.add_argument("--repeats", type=int, default=200)
    power.add_argument("--alibi", metavar="PYTHON", help="a Python that has alibi-detect")
    parts.add_parser("real", help="house prices and Fashion-MNIST")
    size = parts.add_parser("size", help="seconds and memory on large files")
    size.add_argument("--rows", type=int, default=1_000_000)
    parts.add_parser("page", help="write the figures into docs/shift.md")
    given = parser.parse_args(words)
    if given.part == "null":
        shift_null.run(given.detectors, given.sizes, given.features, given.repeats)
    elif given.part == "clock":
        shift_null.clock()
    elif given.part == "power":
        shift_power.run(given.repeats, given.alibi)
    elif given.part == "size":
        shift_size.run(given.rows)
    elif given.part == "real":
        shift_real.run()
    else:
        PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
        shift_power.plot().save(str(PAGE.with_name("images") / "shift_power.svg"))


if __name__ == "__main__":
    main(sys.argv[1:])
