"""The wheel holds all that the program needs: it answers an exercise far from the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mlplab

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--no-deps", "--quiet", "--no-index"]
    subprocess.run(command, check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", ".", "--no-build-isolation", "--wheel-dir", folder)
    return next(folder.glob("mlplab-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", folder, wheel)
    return folder


def run(installed: Path, elsewhere: Path, *arguments: str) -> str:
    """What the installed package prints. It comes before the repository's; all other packages are this Python's."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names_under(folder: Path, pattern: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob(pattern)}


def test_wheel_holds_every_module_text_and_published_result(wheel: Path):
    package = Path(mlplab.__file__).parent
    expected = {f"mlplab/{name}" for name in names_under(package, "*.py") | names_under(package, "*.md")}
    expected |= {
        f"mlplab/{name}"
        for kind in ("html", "css", "js", "svg", "toml")
        for name in names_under(package, f"*.{kind}")
    }
    for pattern in ("*.py", "*.md", "*.toml", "*.json"):
        expected |= {f"mlplab/books/{name}" for name in names_under(ROOT / "books", pattern)}
    held = set(zipfile.ZipFile(wheel).namelist())
    assert expected <= held, sorted(expected - held)
    assert not [name for name in held if name.startswith(("tests/", "src/"))]


def test_the_installed_package_is_the_one_that_runs(installed: Path, tmp_path: Path):
    code = "import mlplab; print(mlplab.__file__)"
    assert Path(run(installed, tmp_path, "-c", code).strip()).is_relative_to(installed)


def test_installed_package_lists_the_exercises(installed: Path, tmp_path: Path):
    assert "4.1.1" in run(installed, tmp_path, "-m", "mlplab", "list")


def test_installed_package_answers_an_exercise(installed: Path, tmp_path: Path):
    assert "4.1.1" in run(installed, tmp_path, "-m", "mlplab", "answer", "4.1.1")
