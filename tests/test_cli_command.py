"""What all commands have in common: no output replaces an input, no crash is a verdict, options are those there are."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import typer
from typer.models import OptionInfo, ParameterInfo

import mlplab
from mlplab import cli
from mlplab.cli import command, crash
from mlplab.cli.command import Output, Parameter, Source
from mlplab.data import catalogue
from mlplab.data.own_table import Roles
from mlplab.errors import InvalidInput
from mlplab.study import ScalarLog
from mlplab.study.cluster import Cluster
from mlplab.study.plan import Plan

SOURCE = Path(mlplab.__file__).parent


@dataclass(frozen=True)
class Command:
    """A command as the app has it: its words, and its function."""

    words: tuple[str, ...]
    callback: Callable[..., None]

    @property
    def parameters(self) -> list[Parameter]:
        return list(command.parameters(inspect.unwrap(self.callback)))

    def line(self) -> list[str]:
        """A command line with all that is needed, and no sense."""
        words = list(self.words)
        for one in inspect.signature(inspect.unwrap(self.callback), eval_str=True).parameters.values():
            (needed,) = [p for p in self.parameters if p.name == one.name]
            if one.default is one.empty:
                words += [*needed.options[:1], "x"]
        return words


def commands(app: typer.Typer = cli.app, before: tuple[str, ...] = ()) -> Iterator[Command]:
    for one in app.registered_commands:
        assert one.callback is not None
        yield Command((*before, one.name or one.callback.__name__), one.callback)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, (*before, *([group.name] if group.name else [])))


ALL = {" ".join(one.words): one for one in commands()}
everyone = pytest.mark.parametrize("one", ALL.values(), ids=list(ALL))


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command in this process: status and standard error."""

    def ended(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["mlplab", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, capsys.readouterr().err

    return ended


def test_all_commands_are_found():
    assert {"answer", "book build", "shift weights", "study export", "tune"} <= set(ALL)


# --- No output replaces an input -----------------------------------------------------------------------

# Words by which a parameter says that it is a file or a folder
PLACE = re.compile(r"\b(FILE|FOLDER|PATH|DATA|MODEL|STUDY|REFERENCE|CURRENT|SOURCE|TARGET)\b")
NO_PLACE = {("answer", "--data")}  # the name of a data set


@everyone
def test_every_parameter_that_names_a_file_says_whether_it_is_read_or_written(one):
    """A new command cannot forget it: what is marked is checked before the command begins."""
    annotations = inspect.signature(inspect.unwrap(one.callback), eval_str=True).parameters
    for parameter in one.parameters:
        annotation = annotations[parameter.name].annotation
        info = next((told for told in get_args(annotation) if isinstance(told, ParameterInfo)), None)
        metavar = (info and info.metavar) or ("" if isinstance(info, OptionInfo) else parameter.label)
        is_place = bool(PLACE.search(metavar)) or "Path" in str(annotation)
        if (one.words[0], parameter.label) in NO_PLACE:
            continue
        assert is_place == (parameter.file is not None), parameter
        if info is not None and re.match(r"Write\b", info.help or ""):
            assert isinstance(parameter.file, Output), parameter


@everyone
def test_every_command_is_checked_before_it_begins(one, run, monkeypatch):
    def refuse(own, values):
        raise InvalidInput("an output", "must not replace what is read", "x")

    monkeypatch.setattr(command, "check", refuse)
    assert run(*one.line()) == (2, "mlplab: an output must not replace what is read; got 'x'.\n")


MODEL = """
from torch import nn

def net():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
"""
PLAN = """
[data]
file = "data.csv"
target = "y"
[vary]
dropout = [0, 0.5]
[compare]
seeds = 2
{more}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Inputs of all kinds, each with links to it."""
    rows = "\n".join(f"{k % 7},{k % 5},{k}" for k in range(60))
    (tmp_path / "data.csv").write_text(f"a,b,y\n{rows}\n")
    (tmp_path / "now.csv").write_text(f"a,b,y\n{rows}\n")
    (tmp_path / "plan.toml").write_text(PLAN.format(more=""))
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "nets.py").write_text(MODEL)
    np.savez(tmp_path / "batch.npz", inputs=np.ones((4, 3), np.float32), targets=np.zeros(4, np.int64))
    (tmp_path / "model.pt2").write_bytes(b"its name is enough")
    (tmp_path / "link.csv").symlink_to("data.csv")
    os.link(tmp_path / "data.csv", tmp_path / "hard.csv")
    (tmp_path / "here").symlink_to(tmp_path)
    for name, target in {
        "data.html": "data.csv",
        "data.svg": "data.csv",
        "plan.csv": "plan.toml",
        "plan.html": "plan.toml",
        "model.svg": "model.py",
        "model.dot": "model.py",
        "nets.svg": "package/nets.py",
        "program.svg": "model.pt2",
        "batch.svg": "batch.npz",
    }.items():
        (tmp_path / name).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMPARE = "compare data.csv --target y --vary dropout=0,0.5 --seeds 2"
REPLACING = {
    "the same name": "shift weights data.csv now.csv -o data.csv",
    "the second input": "shift weights data.csv now.csv -o now.csv",
    "another spelling": "shift weights data.csv now.csv -o ./package/../data.csv",
    "absolute": "shift weights data.csv now.csv -o {folder}/data.csv",
    "through a folder's link": "shift weights data.csv now.csv -o here/data.csv",
    "a link": "shift weights data.csv now.csv -o link.csv",
    "a hard link": "shift weights data.csv now.csv -o hard.csv",
    "the input is the link": "shift weights link.csv now.csv -o data.csv",
    "the report of a check": "shift check data.csv now.csv --report data.html",
    "runs of a comparison": f"{COMPARE} --csv data.csv",
    "report of a comparison": f"{COMPARE} --report data.html",
    "the plan": "study run plan.toml --csv plan.csv",
    "the plan's table": "study run plan.toml --csv data.csv",
    "the table of a plan that is gone on with": "study resume plan.toml --csv data.csv",
    "the table of a plan that is exported": "study export plan.toml -o data.csv",
    "a search": "tune data.csv --target y --search dropout=0,0.5 --plot data.svg",
    "a model's file": "memory model.py:net --input 2,3 --plot model.svg",
    "a model's drawing": "graph model.py:net --input 2,3 -o model.dot",
    "a model's module": "signals package.nets:net --input 2,3 --plot nets.svg",
    "an exported model": "memory model.pt2 --input 2,3 --plot program.svg",
    "a batch": "diagnose model.py:net --batch batch.npz --plot batch.svg",
}


@pytest.mark.parametrize("line", REPLACING.values(), ids=list(REPLACING))
def test_an_output_never_replaces_an_input(line, folder, run):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    status, err = run(*line.format(folder=folder).split())
    assert (status, err.count("\n")) == (2, 1), err
    assert "must not replace what is read" in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_submission_never_replaces_the_houses_it_is_made_from(tmp_path, monkeypatch, run):
    monkeypatch.setenv("MLPLAB_DATA", str(tmp_path))
    houses = catalogue._HOUSE_PRICES.files  # pyright: ignore[reportPrivateUsage]
    for file in houses:
        (tmp_path / file.name).write_text("houses")
    status, err = run("submit", str(tmp_path / houses[1].name))
    assert status == 2
    assert "must not replace what is read" in err
    assert (tmp_path / houses[1].name).read_text() == "houses"


def test_two_outputs_are_two_files(folder, run):
    (folder / "page.html").symlink_to("runs.csv")
    status, err = run(*COMPARE.split(), "--csv", "runs.csv", "--report", "page.html")
    assert status == 2
    assert "--report must not be the file of --csv" in err
    assert not (folder / "runs.csv").exists()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("none/w.csv", "must lie in a folder that exists"),
        ("folder.csv", "must be a file"),
        ("w.txt", "must end in .parquet or .csv"),
        ("dangling.csv", "must lie in a folder that exists"),
    ],
)
def test_where_an_output_cannot_be_is_said_before_anything_is_read(out, said, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "dangling.csv").symlink_to("none/w.csv")
    status, err = run("shift", "weights", "absent.csv", "absent.csv", "-o", out)
    assert (status, err.count("\n")) == (2, 1)
    assert said in err


def test_a_folder_of_curves_is_no_file(folder, run):
    status, err = run(*COMPARE.split(), "--log-dir", "data.csv/curves")
    assert status == 2
    assert "--log-dir must be a folder" in err


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
def test_a_device_may_be_an_output_twice(folder):
    for name in ("null.csv", "null.html"):
        (folder / name).symlink_to("/dev/null")
    own = [
        Parameter("csv", "--csv", ("--csv",), Output((".csv",))),
        Parameter("report", "--report", ("--report",), Output((".html",))),
    ]
    command.check(own, {"csv": "null.csv", "report": "null.html"})


def test_what_has_another_name_is_written_over_as_before(folder):
    own = [Parameter("out", "--out", ("--out",), Output((".csv",))), Parameter("data", "DATA", (), Source())]
    command.check(own, {"out": "now.csv", "data": "data.csv"})


# What writes a file, and where it may stand: a function that writes beside a file and renames, or one that fills a
# folder which is renamed when it is whole, a temporary one, or a cache of its own.
WRITING = {"write_text", "write_bytes", "to_csv", "to_parquet", "savefig", "save"}
OWN_WAY = {
    "inquiry/run_program.py",  # into memory
    "outputs.py",
    "pages/html/site.py",
    "pages/pdf/copying.py",  # into memory
    "pages/pdf/printed.py",
    "pages/typefaces.py",
}


def writers(text: str) -> list[int]:
    """Lines that write to a file in a function that does not do so beside it."""
    found = []
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef):
            continue
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        if any(isinstance(call.func, ast.Name) and call.func.id == "whole" for call in calls):
            continue
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr in WRITING:
                found.append(call.lineno)
    return found


def test_every_file_is_written_whole():
    assert writers("def f(path):\n    path.write_text('')") == [2]
    assert writers("def f(path):\n    with whole(path) as part:\n        part.write_text('')") == []
    # `.save` of a drawing, and of `figures`, is one of ours, and writes whole; a store is a data base.
    ours = re.compile(r"(drawing|figures|store)\.save\(")
    writes = re.compile(rf"\.({'|'.join(WRITING)})\(")
    bad = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name in OWN_WAY:
            continue
        text = path.read_text("utf-8")
        if not writes.search(text):
            continue
        lines = text.splitlines()
        bad += [f"{name}:{n}" for n in writers(text) if not ours.search(lines[n - 1])]
    assert bad == []


# --- No crash is a verdict -----------------------------------------------------------------------------


@everyone
def test_no_crash_is_a_verdict(one, run, monkeypatch):
    def fail(own, values):
        return {}["lost"]

    monkeypatch.setattr(command, "check", fail)
    status, err = run(*one.line())
    assert status == 3
    assert err.count("\n") == 1
    assert re.match(r"mlplab: KeyError: 'lost' \(test_cli_command.py, line \d+\)\. This is a defect of ", err)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("first\nsecond"), "RuntimeError: first second ("),
        (AssertionError(), "AssertionError ("),
        (SystemExit(1), "SystemExit: 1 ("),
        (BaseException("rust"), "BaseException: rust ("),
        (MemoryError(), "The memory does not suffice: MemoryError ("),
        (np._core._exceptions._ArrayMemoryError((2**40,), np.dtype(float)), "The memory does not suffice: "),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you"), "The memory does not suffice: "),
        (torch.OutOfMemoryError("CUDA out of memory."), "The memory does not suffice: OutOfMemoryError"),
        (RecursionError("maximum recursion depth"), "Calls were nested deeper than Python allows"),
    ],
    ids=repr,
)
def test_the_line_of_a_crash_says_what_it_was(error, said, run, monkeypatch):
    def fail(own, values):
        raise error

    monkeypatch.setattr(command, "check", fail)
    status, err = run("list")
    assert (status, err.count("\n")) == (3, 1)
    assert err.startswith(f"mlplab: {said}")
    assert "--debug" in err


def test_an_error_that_cannot_say_what_it_is_is_told(run, monkeypatch):
    class Mute(Exception):
        def __str__(self):
            raise ValueError

    def fail(own, values):
        raise Mute

    monkeypatch.setattr(command, "check", fail)
    assert run("list")[1].startswith("mlplab: Mute (test_cli_command.py, line ")


@pytest.mark.parametrize("line", [("--debug", "data", "list"), ("data", "list", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(line, run, monkeypatch):
    def fail(own, values):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(command, "check", fail)
    status, err = run(*line)
    assert status == 3
    assert err.startswith("Traceback (most recent call last):")
    assert "\nZeroDivisionError: planted\nmlplab: ZeroDivisionError: planted (" in err


def test_a_defect_of_ours_is_called_ours_and_one_of_a_file_that_was_given_is_not(tmp_path):
    """Innermost are lines of Python's own library: they are not to blame."""
    (tmp_path / "net.py").write_text("import json\n\ndef net():\n    json.loads('{')\n")
    spec = importlib.util.spec_from_file_location("net", tmp_path / "net.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ValueError, match="Expecting") as given:
        module.net()
    assert "(net.py, line 4). This is a defect of the code that mlplab was given" in crash.line(given.value)
    with pytest.raises(AttributeError) as ours:
        command.refuse_inputs(None, [("a table", "x")])  # pyright: ignore[reportArgumentType]
    said = crash.line(ours.value)
    assert re.search(r"\(mlplab\.cli\.command, line \d+\)\. This is a defect of mlplab,", said), said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("stream", [">&-", "2>&-", "2>/dev/full"])
def test_a_closed_stream_is_no_verdict(stream):
    """Nobody reads the line; the status still says 0, or 2 for a file that cannot be."""
    # With this variable Python keeps nothing to try again at its end, and the mistake would hide.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for words, status in (("--version", 0), ("shift weights a.csv b.csv -o w.txt", 2)):
        line = f"{sys.executable} -m mlplab {words} {stream}"
        done = subprocess.run(line, shell=True, capture_output=True, check=False, env=kept)
        assert done.returncode == status, (words, done)
        assert b"Traceback" not in done.stderr


def test_what_a_command_returns_is_no_status(run, monkeypatch):
    group = command.Commands()

    @group.command()
    def one() -> int:
        return 1

    monkeypatch.setattr(cli, "app", group)
    assert run() == (0, "")


def test_letters_that_the_output_lacks_are_one_line(run, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    status, err = run("list", "--lang", "zh")
    assert (status, err.count("\n")) == (2, 1)
    assert "set PYTHONIOENCODING=utf-8" in err


# --- Options are those that there are ------------------------------------------------------------------

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Options of programs that are called, or that a reader is told of
OF_OTHERS = {
    "environment.py": {"--short", "--porcelain", "--"},
    "pages/html/site.py": {"--site", "--quiet"},
    "pages/pandoc.py": {"--mathml", "--syntax-highlighting", "--wrap"},
    "study/cluster.py": {"--head"},
    "analysis/pipeline.py": {"--nproc-per-node"},
}
# Commands in which a room's messages appear; other rooms are checked against all.
OF_ROOM = {
    "cli/answers.py": r"answer|list|verify|publish|submit",
    "cli/shift.py": r"shift ",
    "cli/studies.py": r"compare|study ",
    "cli/tuning.py": r"tune",
    "cli/book.py": r"book ",
    "cli/data.py": r"data ",
    "cli/behaviour.py": r"symmetry|curvature|signals|diagnose",
    "cli/functions.py": r"activation|pieces|regions|polynomial",
    "cli/models.py": r"memory|graph|partition",
    "shift/": r"shift ",
    "analysis/": r"memory|graph|partition|symmetry|curvature|signals|diagnose|activation|pieces|regions|polynomial",
    "claims/": r"answer|verify|publish|submit",
    # Used from Python, by plans in files, and by several commands with other options: they speak of fields.
    "study/": r"$",
    "data/own_table.py": r"$",
    "data/table_file.py": r"$",
    "estimators/": r"$",
    "engine/": r"$",
}


def named_options(text: str) -> set[str]:
    """Options in the strings of a program, without its docstrings."""
    tree = ast.parse(text)
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    strings = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
    ]
    return {option for string in strings for option in OPTION.findall(string)}


def options_of(pattern: str) -> set[str]:
    """Of all commands whose words begin so."""
    found = {
        option
        for words, one in ALL.items()
        if re.match(pattern, words)
        for parameter in one.parameters
        for option in parameter.options
    }
    return found | {"--book", "--debug", "--help", "--version"} if found else found


def test_a_message_that_names_no_option_would_be_seen():
    assert named_options('"""Of --old."""\nsay(f"--workers {n} or --json")') == {"--workers", "--json"}
    assert "--json" in options_of("tune")
    assert "--workers" not in options_of("")


def test_every_option_in_a_message_is_one_of_its_commands():
    lost = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        text = path.read_text("utf-8")
        if "--" not in text:
            continue
        rooms = [pattern for room, pattern in OF_ROOM.items() if name.startswith(room)]
        known = options_of(rooms[0]) if rooms else options_of("")
        if missing := named_options(text) - known - OF_OTHERS.get(name, set()):
            lost[name] = missing
    assert lost == {}


@pytest.mark.parametrize(
    ("line", "more", "said"),
    [
        (f"{COMPARE} --baseline x", "", "--baseline must be one of"),
        ("study run plan.toml", 'baseline = "x"', "[compare] baseline must be one of"),
        ("study resume plan.toml", 'metric = "x"', "[compare] metric must be one of"),
        ("study run plan.toml", "max_seeds = 1", "[compare] max_seeds must be a whole number"),
        ("compare data.csv --target y --task x --vary dropout=0,1", "", "--task must be one of"),
        ("compare data.csv --target y --leave-out y --vary dropout=0,1", "", "--leave-out cannot be 'y'"),
        ("compare data.csv --target y", "", "--vary must name a factor"),
        (f"{COMPARE} --set dropout=0.1", "", "--set cannot hold what is varied"),
        ("tune data.csv --target z", "", "--target must be one of"),
    ],
)
def test_a_field_of_the_library_is_told_as_what_was_written(line, more, said, folder, run):
    (folder / "plan.toml").write_text(PLAN.format(more=more))
    status, err = run(*line.split())
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"mlplab: {said}")


def test_a_field_without_an_option_keeps_its_name():
    own = [Parameter("address", "--address", ("--address",), None)]
    told = command.in_options("Cluster.workers must be at least 1; see Cluster.address, Plan.csv.", own)
    assert told == "Cluster.workers must be at least 1; see --address, Plan.csv."


def test_every_field_is_one_of_the_library_and_every_option_one_of_a_command():
    fields = {f"{of.__name__}.{name.name}" for of in (Plan, Roles) for name in dataclasses.fields(of)}
    fields |= {
        f"{of.__name__}.{name}" for of in (Cluster, ScalarLog) for name in inspect.signature(of).parameters
    }
    assert command.OPTIONS.keys() <= fields
    assert set(command.OPTIONS.values()) <= options_of("")
