"""Which tests run a file: `make guards FILE=src/mlplab/rng.py`, or FILE=src/mlplab/rng.py:40 for a line of it.

The plain tests of the folder that mirrors the file are run once more under coverage, which takes two
to four times as long as without; tests elsewhere may run the file too: TESTS="tests/engine tests/study"
names other folders. What was measured is kept in `.guards`, and measured anew when a file of src or
tests is newer.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".guards"
# Rooms whose tests lie in another's folder: those of the book look at both.
ELSEWHERE = {"inquiry": "book", "pages": "book"}
SETTINGS = """[run]
dynamic_context = test_function
data_file = {data}
source = {source}
"""


def mirror(file: Path) -> list[Path]:
    """The tests of a file of src/mlplab: the folder of its room, or the modules named after it."""
    room = file.relative_to(ROOT / "src/mlplab").parts[0]
    if room.endswith(".py"):
        return sorted((ROOT / "tests").glob(f"test_{room.removesuffix('.py')}*.py"))
    folder = ROOT / "tests" / ELSEWHERE.get(room, room)
    return [folder] if folder.is_dir() else sorted((ROOT / "tests").glob(f"test_{room}*.py"))


def measured(tests: list[Path]) -> Path:
    """The data of a run of these tests under coverage, no older than any source."""
    names = [str(path.relative_to(ROOT)) for path in tests]
    data = KEPT / "+".join(name.replace("/", ".") for name in names)
    sources = [path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")]
    if data.exists() and data.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return data
    KEPT.mkdir(exist_ok=True)
    settings = KEPT / "settings.ini"
    settings.write_text(SETTINGS.format(data=data, source=ROOT / "src"), encoding="utf-8")
    print(f"Running {' '.join(names)} under coverage, two to four times as long as without ...", flush=True)
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest", "-q"]
    command += ["-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow and not gpu", *names]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        data.unlink(missing_ok=True)
        raise SystemExit(f"These tests fail (pytest's status {done.returncode}): run them first.")
    return data


def guards(data: Path, file: Path, line: int | None = None) -> dict[str, int]:
    """Test -> how many lines of the file it runs; of one line, those tests that run it."""
    from coverage import CoverageData

    kept = CoverageData(basename=str(data))
    kept.read()
    counts: dict[str, int] = defaultdict(int)
    for number, contexts in kept.contexts_by_lineno(str(file)).items():
        for context in contexts:
            if context and line in (None, number):
                counts[context] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="src/mlplab/... , with :LINE for one line of it")
    parser.add_argument("tests", nargs="*", type=Path, help="test folders or files instead of the mirror")
    options = parser.parse_args()
    name, _, line = options.file.partition(":")
    file = (ROOT / name).resolve()
    if not (file.is_file() and file.is_relative_to(ROOT / "src/mlplab") and (not line or line.isdecimal())):
        parser.error(f"FILE must be a file below src/mlplab, with or without :LINE; got {options.file!r}")
    tests = [path.resolve() for path in options.tests] or mirror(file)
    if not tests or not all(path.exists() and path.is_relative_to(ROOT) for path in tests):
        parser.error(f"no tests are named after {name}: say which, as TESTS=tests/...")
    found = guards(measured(tests), file, int(line) if line else None)
    for test, count in found.items():
        print(test if line else f"{count:5d} lines  {test}")
    if not found:
        print(f"None of these tests runs {options.file}.")


if __name__ == "__main__":
    main()
