from __future__ import annotations

from pathlib import Path

import pytest

from mlplab.data.location import cache_folder, find_cached, find_local
from mlplab.errors import AbsentData, DataError

FILES = ["a.gz", "b.gz"]


def fill(folder: Path, files: list[str] = FILES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file).touch()
    return folder


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLPLAB_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("set") == tmp_path / "own" / "data" / "set"
    monkeypatch.delenv("MLPLAB_CACHE")
    assert cache_folder("set") == tmp_path / "shared" / "mlplab" / "data" / "set"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder("set") == tmp_path / "home" / ".cache" / "mlplab" / "data" / "set"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("set") == tmp_path / "home" / ".cache" / "mlplab" / "data" / "set"


def test_a_folder_of_the_sets_name_comes_before_its_parent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLPLAB_DATA", str(tmp_path))
    assert find_local("set", FILES) is None
    fill(tmp_path)
    assert find_local("set", FILES).folder == tmp_path
    fill(tmp_path / "set")
    assert str(find_local("set", FILES)) == f"local folder {tmp_path / 'set'}"


def test_without_files_nothing_is_found() -> None:
    assert find_local("set", FILES) is None
    assert find_cached("set", FILES) is None


def test_the_cache_is_found(cache: Path) -> None:
    fill(cache / "set")
    assert str(find_cached("set", FILES)) == f"cache {cache / 'set'}"


def test_half_a_set_is_an_error_and_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    fill(cache / "set", ["a.gz"])
    with pytest.raises(AbsentData, match=r"lacks b\.gz\. mlplab data fetch set completes it"):
        find_cached("set", FILES)
    monkeypatch.setenv("MLPLAB_DATA", str(fill(tmp_path / "own", ["b.gz"])))
    with pytest.raises(DataError, match=r"local folder .*own lacks a\.gz\. Add what is missing"):
        find_local("set", FILES)


def test_a_setting_that_names_no_folder_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLPLAB_DATA", str(tmp_path / "typo"))
    with pytest.raises(DataError, match="typo', which is not a folder"):
        find_local("set", FILES)
