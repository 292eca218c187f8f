"""A build writes the whole book or nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlplab.answers import ours
from mlplab.cli import main
from mlplab.errors import EvidenceError, InvalidInput, MissingExtra
from mlplab.inquiry import evidence, processes
from mlplab.pages import build
from mlplab.pages.html import site
from mlplab.pages.making import Made
from mlplab.pages.pdf import printed

from . import cases

BROKEN = "4.6.1 “Swapping changes nothing.” was published as “holds” and is now “fails”"


@pytest.fixture
def old_book(tmp_path):
    folder = tmp_path / "dist" / "book"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets/book.css").touch()
    (folder / "index.html").write_text("old", "utf-8")
    return folder


def test_a_claim_that_no_longer_holds_stops_the_build_and_leaves_the_old_book(old_book, monkeypatch):
    made = [Made("4.6.1", broken=[BROKEN]), Made("4.6.2", broken=["4.6.2: a formula"])]
    monkeypatch.setattr(processes, "each", lambda *_, workers: iter(made))
    with pytest.raises(EvidenceError, match="is not built") as stopped:
        build.build(ours(), old_book)
    assert BROKEN in str(stopped.value)
    assert "4.6.2: a formula" in str(stopped.value)
    assert (old_book / "index.html").read_text("utf-8") == "old"
    assert [path.name for path in old_book.parent.iterdir()] == ["book"]


@pytest.mark.parametrize(
    ("was", "tampered", "said"),
    [
        (
            '"holds"',
            '"fails"',
            "“Decay raises the training loss.” was published as “fails” and is now “holds”",
        ),
        ("all-runs-end", "every-run", "“every-run” was published as “holds” and is now “no claim any more”"),
    ],
)
def test_evidence_that_says_otherwise_fails_the_command_and_names_the_sentence(
    old_book, monkeypatch, capsys, was, tampered, said, exercise
):
    monkeypatch.setattr(processes, "each", lambda work, items, workers: map(work, items))
    path = evidence.write(cases.inquiry(exercise), exercise.evidence_file)
    observed, claims = path.read_text("utf-8").rsplit('"claims"', 1)
    path.write_text(f'{observed}"claims"{claims.replace(was, tampered, 1)}', "utf-8")
    monkeypatch.setattr(
        sys, "argv", ["mlplab", "--book", str(exercise.book.folder), "book", "build", "--out", str(old_book)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"{cases.NUMBER} {said}" in told
    assert told.count("\n") == 1
    assert (old_book / "index.html").read_text("utf-8") == "old"
    assert [path.name for path in old_book.parent.iterdir()] == ["book"]


@pytest.mark.parametrize(("module", "stage"), [(site, "_write_pages"), (printed, "lay_out")])
def test_a_build_that_is_stopped_leaves_the_old_book_and_nothing_half_done(
    old_book, monkeypatch, module, stage
):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "each", lambda *_, workers: iter(()))
    monkeypatch.setattr(site, "write", site.write if stage == "_write_pages" else lambda *_, workers: None)
    monkeypatch.setattr(module, stage, stop)
    with pytest.raises(KeyboardInterrupt):
        build.build(ours(), old_book)
    assert (old_book / "index.html").read_text("utf-8") == "old"
    assert [path.name for path in old_book.parent.iterdir()] == ["book"]


def test_a_folder_that_holds_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InvalidInput, match="must be empty, new, or hold a book"):
        build.build(ours(), tmp_path)
    assert (tmp_path / "thesis.tex").exists()


@pytest.fixture
def quick_build(monkeypatch):
    """A build that makes nothing but a folder and two PDFs."""

    def write(into, book, *_, workers):
        into.mkdir()

    def write_pdf(into, book, made, corrections, language):
        path = into / f"{language}.pdf"
        path.touch()
        return path

    monkeypatch.setattr(processes, "each", lambda *_, workers: iter(()))
    monkeypatch.setattr(site, "write", write)
    monkeypatch.setattr(printed, "write", write_pdf)


def test_a_link_to_a_book_stays_a_link(old_book, quick_build):
    link = old_book.parent / "link"
    link.symlink_to(old_book)
    build.build(ours(), link)
    assert link.is_symlink()
    assert not (old_book / "index.html").exists()  # it was the old book's
    assert {path.name for path in old_book.parent.iterdir()} == {"book", "link", "zh.pdf", "en.pdf"}


def test_the_folder_where_one_stands_will_do(tmp_path, monkeypatch, quick_build):
    (tmp_path / "book").mkdir()
    monkeypatch.chdir(tmp_path / "book")
    written = build.build(ours(), Path())
    assert written == [tmp_path / "book" / "index.html", tmp_path / "zh.pdf", tmp_path / "en.pdf"]
    assert written[1].exists()


def test_bad_input_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(sys, "argv", ["mlplab", "book", "build", "--out", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--out must be a folder" in said


@pytest.mark.parametrize("name", ["pypandoc", "fontTools", "ziamath", "altair", "typst", "manimgx_fonts_cjk"])
def test_without_the_extra_it_says_what_brings_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"mlplab\[book\]"):
        build.build(ours(), tmp_path / "book")
