"""The command line: what it prints, and law 6: bad input gets one clear line and status 2, no traceback."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import mlplab
from mlplab import cli
from mlplab.answers import Exercise, ours
from mlplab.errors import AbsentData, EvidenceError
from mlplab.inquiry import audit, inquiry, verification
from mlplab.pages import terminal
from mlplab.study import default_path

EXERCISES = ours().exercises


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error: status 2, nothing on standard output."""
        assert self.status == 2, self
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("mlplab: ")
        assert "Traceback" not in self.err
        return self.err.removeprefix("mlplab: ").rstrip("\n")


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command in this process."""

    def ended(*arguments: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["mlplab", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return Ended(exit_.value.code or 0, *capsys.readouterr())

    return ended


# What it prints


def test_the_version(run):
    assert run("--version") == Ended(0, f"mlplab {mlplab.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["data", "--help"], ["answer", "--help"]])
def test_help_is_asked_for(run, arguments):
    ended = run(*arguments)
    assert (ended.status, ended.err) == (0, "")
    assert "Usage:" in ended.out


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_help_is_what_a_command_without_arguments_gets(run, arguments):
    ended = run(*arguments)
    assert (ended.status, ended.err) == (2, "")
    assert "Usage:" in ended.out


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_49_exercises_are_listed(run, language):
    ended = run("list", "--lang", language)
    assert (ended.status, ended.err) == (0, "")
    assert sum(line.strip().startswith("4.") for line in ended.out.splitlines()) == 49
    assert EXERCISES["4.6.1"].title(language)[:6] in ended.out


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_list_is_json(run, language):
    rows = json.loads(run("list", "--json", "--lang", language).out)
    assert [row["exercise"] for row in rows] == list(EXERCISES)
    assert [row["exercise"] for row in rows if row["answered"]] == [one.number for one in ours().answered]
    assert all(row["title"] == EXERCISES[row["exercise"]].title(language) for row in rows)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_answer_is_json_and_nothing_else(run, language):
    ended = run("answer", "4.1.1", "--json", "--lang", language)
    assert (ended.status, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert (told["exercise"], told["language"], told["notes"]) == ("4.1.1", language, [])
    assert {claim["verdict"] for claim in told["this_run"]["claims"]} == {"holds"}
    assert {claim["control"] for claim in told["this_run"]["claims"]} == {"fails"}
    assert all(Path(path).is_file() for path in told["figures"])


def test_an_answer_is_read(run):
    ended = run("answer", "4.1.1", "--lang", "zh")
    assert (ended.status, ended.err) == (0, "")
    assert "简答" in ended.out
    assert "✓ 成立" in ended.out


@pytest.mark.slow
def test_an_experiment_is_json_and_says_what_stands_in(run):
    small = ["--seeds", "2", "--set", "hidden_sizes=4,4", "--set", "epochs=1", "--set", "dropout=0.1,0.6"]
    ended = run("answer", "4.6.1", "--json", *small)
    assert (ended.status, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert "mnist-5k" in told["notes"][0]
    assert told["this_run"]["observations"]["settings"][0]["epochs"] == "1"


@pytest.mark.slow
@pytest.mark.parametrize("number", ["4.5.1", "4.6.1"])
def test_one_seed_is_enough_to_look_and_too_few_to_say(run, number):
    knobs = [] if number == "4.5.1" else ["--set", "hidden_sizes=4,4"]
    ended = run("answer", number, "--seeds", "1", "--set", "epochs=1", *knobs)
    assert (ended.status, ended.err) == (0, "")
    assert "? undecided" in ended.out
    assert "nan" not in ended.out


@pytest.mark.parametrize("as_json", [False, True])
def test_data_sets_are_listed_and_shown(run, as_json):
    option = ["--json"] if as_json else []
    listed, shown = run("data", "list", *option), run("data", "show", "polynomial", *option)
    for ended in (listed, shown):
        assert (ended.status, ended.err) == (0, "")
    if as_json:
        assert "fashion-mnist" in [info["name"] for info in json.loads(listed.out)]
        assert json.loads(shown.out)["fingerprint"]
    else:
        assert "fashion-mnist" in listed.out
        assert "fingerprint" in shown.out


def outcome(stands: bool) -> SimpleNamespace:
    return SimpleNamespace(stands=stands, to_dict=lambda: {"stands": stands})


@pytest.mark.parametrize(("stands", "status"), [(True, 0), (False, 1)])
def test_verification_ends_with_status_1_where_a_verdict_does_not_stand(run, monkeypatch, stands, status):
    monkeypatch.setattr(verification, "verify", lambda *args, **options: outcome(stands))
    monkeypatch.setattr(terminal, "verification", lambda outcome, language: "words")
    assert run("verify", "4.1.1", "--json") == Ended(
        status, json.dumps({"stands": stands}, indent=1) + "\n", ""
    )
    assert run("verify", "4.1.1") == Ended(status, "words\n", "")


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["stands", "unpublished"], 0),
        (["stands", "failed"], 2),
        (["failed", "crashed"], 3),
        (["crashed", "does not stand"], 1),
    ],
)
def test_an_audit_ends_with_status_1_only_where_an_answer_does_not_stand(run, monkeypatch, states, status):
    looked = []
    lines = [audit.Audited("4.1.1", state) for state in states]
    monkeypatch.setattr(audit, "audit", lambda book, effort, **_: looked.append(effort) or iter(lines))
    told = run("verify", "--all", "--json")
    assert (told.status, [one["state"] for one in json.loads(told.out)]) == (status, states)
    assert run("verify", "--all", "--full").status == status
    assert looked == ["quick", "full"]


# Law 6: one line, status 2, nothing on standard output

WITHOUT_ANSWER = next((number for number, one in EXERCISES.items() if not one.is_answered), "")

BAD = {
    "unknown command": (["anwser"], "No such command 'anwser'"),
    "unknown option": (["answer", "4.6.1", "--sed", "3"], "No such option: --sed"),
    "unknown option before": (["--nope"], "No such option: --nope"),
    "no exercise": (["answer"], "Missing argument 'ID'"),
    "one argument too many": (["answer", "4.1.1", "4.1.2"], "unexpected extra argument"),
    "exercise past the section": (
        ["answer", "4.6.9"],
        "exercise is not known; got '4.6.9'. Did you mean '4.6.",
    ),
    "section past the chapter": (["answer", "4.11.1"], "got '4.11.1'. Did you mean '4.1"),
    "exercise that is a word": (["answer", "foo"], "got 'foo'. mlplab list shows all 49."),
    "section in place of an exercise": (["answer", "4.6"], "4.6.1 to 4.6.7"),
    "exercise to verify": (["verify", "4.6.9"], "exercise is not known"),
    "exercise to publish": (["publish", "4.6.9"], "exercise is not known"),
    "data set": (["answer", "4.6.1", "--data", "digit"], "Did you mean 'digits'"),
    "data set of another task": (
        ["answer", "4.6.1", "--data", "linear-high-dim"],
        "--data must be examples of classes, with some to test on; got 'linear-high-dim'",
    ),
    "data set for an own problem": (["answer", "4.5.1", "--data", "digits"], "4.5.1 draws its own problem"),
    "data set for a proof": (["answer", "4.1.1", "--data", "digits"], "nothing is trained; got 'digits'"),
    "no seeds": (["answer", "4.5.1", "--seeds", "0"], "--seeds must be at least 1; got 0"),
    "no seeds for a proof": (["answer", "4.1.1", "--seeds", "0"], "nothing is trained; got 0"),
    "less than no seeds": (["answer", "4.6.1", "--seeds", "-1"], "--seeds must be at least 1; got -1"),
    "seeds in letters": (["answer", "4.6.1", "--seeds", "abc"], "Invalid value for '--seeds'"),
    "half a seed": (["answer", "4.6.1", "--seeds", "1.5"], "Invalid value for '--seeds'"),
    "one rate": (["answer", "4.6.1", "--set", "dropout=0.5"], "two different rates above 0; got '0.5,0.5'"),
    "rate of 1": (["answer", "4.6.1", "--set", "dropout=1"], "must be in [0, 1)"),
    "equal rates": (["answer", "4.6.1", "--set", "dropout=0.2,0.2"], "two different rates above 0"),
    "three rates": (["answer", "4.6.1", "--set", "dropout=0.1,0.2,0.3"], "one for each of 2 layers"),
    "negative rate": (["answer", "4.6.1", "--set", "learning_rate=-1"], "learning_rate must be"),
    "rate that is no number": (["answer", "4.6.1", "--set", "learning_rate=nan"], "must be finite"),
    "rate in letters": (
        ["answer", "4.6.1", "--set", "learning_rate=fast"],
        "Write it like learning_rate=0.1",
    ),
    "too few layers": (["answer", "4.6.1", "--set", "hidden_sizes=8"], "Setting.noise must be one"),
    "knob that is varied": (
        ["answer", "4.5.1", "--set", "weight_decay=1"],
        "the experiment varies it itself",
    ),
    "unknown knob": (["answer", "4.6.1", "--set", "learning_rat=1"], "Did you mean 'learning_rate'"),
    "knob for a proof": (["answer", "4.1.1", "--set", "epochs=3"], "nothing is trained; got '3'"),
    "knob without a value": (["answer", "4.6.1", "--set", "learning_rate"], "--set must be KEY=VALUE"),
    "knob with an empty value": (["answer", "4.6.1", "--set", "learning_rate="], "--set must be KEY=VALUE"),
    "value without a knob": (["answer", "4.6.1", "--set", "=0.1"], "--set must be KEY=VALUE"),
    "knob that is nonsense": (["answer", "4.6.1", "--set", "💥\n=\x1b[31m"], "mlplab"),
    "language": (["answer", "4.6.1", "--lang", "fr"], "--lang must be one of 'zh', 'en'; got 'fr'"),
    "language of the list": (["list", "--lang", "fr"], "--lang must be one of"),
    "effort": (["answer", "4.6.1", "--effort", "medium"], "--effort must be one of 'quick', 'full'"),
    "nothing to verify": (["verify"], "the number of an exercise, or --all; got 'neither'"),
    "one and all to verify": (["verify", "4.1.1", "--all"], "got 'both'"),
    "two efforts": (["verify", "--all", "--full", "--effort", "quick"], "takes --full or --effort"),
    "effort of verification": (["verify", "4.6.1", "--effort", "medium"], "--effort must be one of"),
    "data set to show": (["data", "show", "digit"], "Did you mean 'digits'"),
    "data set to fetch": (["data", "fetch", "fashion"], "Did you mean 'fashion-mnist'"),
    "data set that needs no fetching": (["data", "fetch", "digits"], "It needs no files"),
    "data set that is not here": (["data", "show", "fashion-mnist"], "mlplab data fetch fashion-mnist"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD)
def test_law_6_one_line_for(run, arguments, said):
    line = run(*arguments).line
    if arguments[-1].startswith("💥"):
        return  # one line is all that is asked for
    assert said in line


@pytest.mark.skipif(not WITHOUT_ANSWER, reason="all exercises have an answer")
@pytest.mark.parametrize("command", ["answer", "verify", "publish"])
def test_law_6_one_line_for_an_exercise_without_an_answer(run, command):
    title = EXERCISES[WITHOUT_ANSWER].title("zh")
    assert run(command, WITHOUT_ANSWER).line == (
        f"exercise has no answer yet; got {f'{WITHOUT_ANSWER} {title}'!r}. mlplab list shows those that have."
    )


def another_programs(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.commit()
    connection.close()


STORES = {
    "another program's": (another_programs, "another program's"),
    "text": (lambda path: path.write_text("not a store\n" * 100), "MLPLAB_CACHE"),
    "a folder": (lambda path: path.mkdir(), "this is a folder"),
}


@pytest.mark.parametrize(("make", "said"), STORES.values(), ids=STORES)
def test_law_6_one_line_for_a_store_that_is(run, make, said):
    default_path().parent.mkdir(parents=True)
    make(default_path())
    before = default_path().read_bytes() if default_path().is_file() else None
    assert said in run("answer", "4.5.1", "--seeds", "1", "--set", "epochs=1").line
    assert before is None or default_path().read_bytes() == before


def test_law_6_one_line_for_a_cache_that_cannot_be_made(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLPLAB_CACHE", str(tmp_path / "file" / "cache"))
    assert str(tmp_path) in run("answer", "4.5.1", "--seeds", "1", "--set", "epochs=1").line


@pytest.fixture
def evidence_file(tmp_path, monkeypatch) -> Path:
    """In the place of every exercise's evidence."""
    monkeypatch.setattr(Exercise, "evidence_file", tmp_path / "evidence.json")
    return tmp_path / "evidence.json"


def test_law_6_one_line_for_damaged_evidence(run, evidence_file):
    evidence_file.write_text("{")
    for command in ("answer", "verify"):
        assert "evidence.json cannot be read as evidence" in run(command, "4.1.1").line


def test_law_6_one_line_where_there_is_nothing_to_verify(run, evidence_file):
    assert "Nothing was published for 4.1.1" in run("verify", "4.1.1").line


def test_law_6_one_line_for_an_error_of_several(run, monkeypatch):
    def fail(number, lab):
        raise EvidenceError("first\n  second")

    monkeypatch.setattr(inquiry, "inquire", fail)
    assert run("answer", "4.1.1").line == "first second"


def test_ctrl_c_ends_with_status_130_and_one_line(run, monkeypatch):
    def stop(number, lab):
        raise KeyboardInterrupt

    monkeypatch.setattr(inquiry, "inquire", stop)
    ended = run("answer", "4.1.1")
    assert (ended.status, ended.out) == (130, "")
    assert ended.err == "mlplab: stopped. What had finished is kept: the same command goes on from there.\n"


@pytest.mark.parametrize("error", [RuntimeError, ZeroDivisionError, KeyError, AssertionError])
def test_a_defect_is_neither_bad_input_nor_a_verdict(run, monkeypatch, error):

    def fail(number, lab):
        raise error("a defect")

    monkeypatch.setattr(inquiry, "inquire", fail)
    ended = run("answer", "4.1.1")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.startswith(f"mlplab: {error.__name__}: ")


# Tuning


def test_a_search_is_told_in_lines(run, tmp_path):
    figure = tmp_path / "search.svg"
    words = [
        "tune",
        "digits",
        "--budget",
        "4",
        "--seeds",
        "2",
        "--set",
        "epochs=3",
        "--set",
        "hidden_sizes=8",
    ]
    words += ["--search", "learning_rate=loguniform(0.01,1)", "--search", "dropout=0,0.5"]
    ended = run(*words, "--plot", str(figure))
    assert ended.status == 0
    assert ended.err == ""
    for word in ("Winner", "in the search", "fresh seeds", "optimism", "test", "gain", "Figure"):
        assert f"\n{word} " in ended.out or f"\n{word}:" in ended.out, word
    assert figure.exists()
    found = json.loads(run(*words, "--json").out)
    assert f"\nWinner         learning_rate={found['winner']['learning_rate']}" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digits"], "needs at least 1 hyperparameter"),
        (["digits", "--search", "learning_rte=0.1"], "Did you mean 'learning_rate'?"),
        (["digits", "--search", "learning_rate=fast,slow"], "could not be read; got 'fast'"),
        (["digits", "--search", "learning_rate"], "must be KEY=LEVELS"),
        (["digits", "--search", "dropout=0", "--search", "dropout=0.5"], "each hyperparameter once"),
        (["digits", "--search", "dropout=0,0.5", "--budget", "0.1"], "must be at least"),
        (["digits", "--search", "dropout=0,0.5", "--strategy", "tp"], "Did you mean 'tpe'?"),
        (["digts", "--search", "dropout=0,0.5"], "Did you mean 'digits'?"),
        (["digits", "--search", "dropout=0,0.5", "--set", "los=1"], "Did you mean 'loss'?"),
        (["digits", "--search", "dropout=0,0.5", "--executor", "cloud"], "must be one of 'local', 'ray'"),
        (["digits", "--search", "dropout=0,0.5", "--address", "host:1"], "goes with --executor ray"),
    ],
    ids=lambda words: " ".join(words[2:]) if isinstance(words, list) else "",
)
def test_law_6_a_bad_search(run, words, said):
    assert said in run("tune", *words).line


def test_a_submission_without_the_competitions_houses_names_every_way_out(run, monkeypatch, tmp_path):
    monkeypatch.delenv("MLPLAB_DATA", raising=False)
    monkeypatch.setenv("MLPLAB_CACHE", str(tmp_path))
    monkeypatch.setattr("mlplab.data.catalogue.fetch_files", _no_network)
    assert "house-prices" in run("submit", str(tmp_path / "out.csv")).line
    assert "a folder that exists" in run("submit", str(tmp_path / "nowhere/out.csv")).line


def _no_network(*arguments, **options):
    raise AbsentData("house-prices cannot be fetched.")
