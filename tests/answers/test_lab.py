"""The laboratory: knobs do what they say or are refused, and no data set stands in silently."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab import data
from mlplab.answers import Lab, ours
from mlplab.answers.observations import Change
from mlplab.data import catalogue
from mlplab.errors import AbsentData, DataError, InvalidInput, UnknownName
from mlplab.knobs import turn, value_of
from mlplab.spec import MLP, Setting
from mlplab.study import Store, Study, factorial

BASE = turn(Setting(MLP((4, 4))), dropout=(0.2, 0.5), epochs=1)


def spoken(note) -> list[str]:
    """A note in both languages."""
    return [note.of(ours().frame(language)) for language in ("en", "zh")]


@pytest.fixture
def no_network(monkeypatch):
    """Whatever is to be fetched cannot be had."""

    def refuse(*args, **kwargs):
        raise AbsentData("The server does not answer.")

    monkeypatch.setattr(catalogue, "fetch_files", refuse)


@pytest.fixture
def lab(tmp_path):
    def make(effort="quick", **options):
        return Lab(effort, store=Store(tmp_path / "runs.sqlite"), **options)

    return make


def small(**factors) -> Study:
    base = turn(Setting(MLP(())), loss="squared_error", epochs=1)
    return Study(factorial(base, **factors), 2, data.load("polynomial"))


# Effort and seeds


def test_effort_chooses():
    assert Lab("quick").choose(quick=1, full=2) == 1
    assert Lab("full").choose(quick=1, full=2) == 2


def test_seeds_are_as_asked_for_else_as_the_effort_says():
    assert Lab("quick").seeds(quick=3, full=9) == range(3)
    assert Lab("full").seeds(quick=3, full=9) == range(9)
    assert Lab("full", seeds=5).seeds(quick=3, full=9) == range(5)


@pytest.mark.parametrize("seeds", [0, -1])
def test_no_seeds_are_refused(seeds):
    with pytest.raises(InvalidInput, match=f"--seeds must be at least 1; got {seeds}"):
        Lab(seeds=seeds).seeds(quick=3, full=9)


# Knobs


def test_a_knob_that_the_answer_takes_is_as_asked_for_and_turns_nothing_else():
    lab = Lab(knobs={"dropout": "0.1,0.6", "epochs": "7"})
    assert lab.take("dropout", BASE) == (0.1, 0.6)
    assert lab.setting(BASE) == turn(BASE, epochs=7)


def test_a_knob_that_nobody_turned_stands_as_in_the_base():
    assert Lab().take("dropout", BASE) == (0.2, 0.5)
    assert Lab(knobs={"dropout": "0.5"}).take("dropout", BASE) == (0.5, 0.5)


def test_a_knob_that_was_not_taken_is_turned_in_the_setting():
    turned = Lab(knobs={"learning_rate": "0.25", "hidden_sizes": "8,8"}).setting(BASE)
    assert value_of(turned, "learning_rate") == 0.25
    assert value_of(turned, "hidden_sizes") == (8, 8)


def test_a_turned_knob_is_told_with_the_value_that_the_answer_itself_has():
    lab = Lab(knobs={"dropout": "0.1,0.6", "epochs": "7", "momentum": "0"})
    lab.take("dropout", BASE)
    lab.setting(BASE)
    changes = lab.observations().changed
    assert changes == (Change("dropout", "0.1,0.6", "0.2,0.5"), Change("epochs", "7", "1"))


def test_a_knob_that_was_put_where_it_stands_is_none_that_was_turned():
    lab = Lab(knobs={"dropout": "0.20, 0.50", "learning_rate": "1e-1"})
    lab.take("dropout", BASE)
    lab.setting(BASE)
    assert lab.observations().changed == ()


def test_an_unknown_knob_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'learning_rate'"):
        Lab(knobs={"learning_rat": "0.1"}).setting(BASE)


def test_a_knob_that_the_experiment_varies_is_refused(lab):
    """It would be overwritten, and the answer would be to another question than was asked."""
    refused = lab(knobs={"weight_decay": "0.5"})
    with pytest.raises(
        InvalidInput, match="--set weight_decay does not apply: the experiment varies it itself"
    ):
        refused.run(small(weight_decay=[0.0, 1.0]))


def test_a_knob_at_which_all_arms_stand_is_none_that_the_experiment_varies(lab):
    allowed = lab(knobs={"epochs": "1"})
    assert len(allowed.run(small(weight_decay=[0.0, 1.0])).frame) == 4


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--seeds", {"seeds": 3}),
        ("--seeds", {"seeds": 0}),
        ("--data", {"data_name": "digits"}),
        ("--set epochs", {"knobs": {"epochs": "3"}}),
    ],
)
def test_an_answer_that_trains_nothing_refuses(option, given):
    with pytest.raises(InvalidInput, match=rf"{option} does not apply: 4\.1\.1"):
        Lab(**given).refuse("4.1.1", (), trains=False)


def test_an_answer_that_trains_nothing_refuses_nothing_else():
    Lab().refuse("4.1.1", (), trains=False)
    Lab("full").refuse("4.1.1", (), trains=False)


def test_an_answer_that_draws_its_own_problem_refuses_another():
    takes = ("seeds", "knobs")
    Lab(seeds=3, knobs={"epochs": "3"}).refuse("4.5.1", takes, trains=True)
    with pytest.raises(
        InvalidInput, match=r"--data does not apply: 4\.5\.1 draws its own problem; got 'digits'"
    ):
        Lab(data_name="digits").refuse("4.5.1", takes, trains=True)


def test_an_answer_that_simulates_refuses_knobs_too():
    Lab("full", seeds=3).refuse("4.4.2", ("seeds",), trains=True)
    with pytest.raises(InvalidInput, match=r"--set epochs does not apply: 4\.4\.2 trains nothing"):
        Lab(knobs={"epochs": "3"}).refuse("4.4.2", ("seeds",), trains=True)
    with pytest.raises(InvalidInput, match="--data does not apply"):
        Lab(data_name="digits").refuse("4.4.2", ("seeds",), trains=True)


# Data: a stand-in is named, published evidence has none, and damage is never papered over.


def test_a_quick_look_is_on_embedded_data_and_says_so():
    lab = Lab("quick")
    assert lab.dataset("fashion-mnist", embedded="mnist-5k").name == "mnist-5k"
    (note,) = lab.notes
    for said in spoken(note):
        assert "mnist-5k" in said
        assert "--data fashion-mnist" in said  # what to type for the other


@pytest.mark.parametrize("is_here", [False, True])
def test_a_quick_look_says_truly_why_its_data_were_taken(tmp_path, monkeypatch, is_here):
    """Being at hand is no reason where the other data set is at hand too."""
    if is_here:
        for file in catalogue._FASHION_MNIST.files:
            (tmp_path / file.name).write_bytes(b"images")
        monkeypatch.setenv("MLPLAB_DATA", str(tmp_path))
    lab = Lab("quick")
    lab.dataset("fashion-mnist", embedded="mnist-5k")
    (note,) = lab.notes
    en, zh = spoken(note)
    assert "at hand" not in en
    assert "small" in en
    assert "它小" in zh
    assert ("on this machine" in en) == ("这台机器上已有" in zh) == is_here
    assert ("downloaded (31 MB)" in en) == ("下载 31 MB" in zh) == (not is_here)


@pytest.mark.usefixtures("no_network")
def test_full_effort_without_its_data_says_what_stands_in_and_why():
    lab = Lab("full")
    assert lab.dataset("fashion-mnist", embedded="mnist-5k").name == "mnist-5k"
    (note,) = lab.notes
    en, zh = spoken(note)
    assert en.startswith("mnist-5k stands in. ")
    assert zh.startswith("以 mnist-5k 代替。")
    assert all("The server does not answer." in said for said in (en, zh))


@pytest.mark.usefixtures("no_network")
def test_nothing_stands_in_for_published_evidence():
    lab = Lab("full", strict=True)
    with pytest.raises(AbsentData):
        lab.dataset("fashion-mnist", embedded="mnist-5k")
    assert lab.notes == []


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("strict", [False, True])
def test_damaged_data_are_an_error_and_never_replaced(tmp_path, monkeypatch, strict):
    for file in catalogue._FASHION_MNIST.files:
        (tmp_path / file.name).write_bytes(b"no images")
    monkeypatch.setenv("MLPLAB_DATA", str(tmp_path))
    lab = Lab("full", strict=strict)
    with pytest.raises(DataError) as raised:
        lab.dataset("fashion-mnist", embedded="mnist-5k")
    assert not isinstance(raised.value, AbsentData)
    assert lab.notes == []


def test_a_data_set_that_was_asked_for_is_used_without_a_word():
    lab = Lab("quick", data_name="digits")
    assert lab.dataset("fashion-mnist", embedded="mnist-5k").name == "digits"
    assert lab.notes == []


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'digits'"):
        Lab(data_name="digit").dataset("fashion-mnist", embedded="mnist-5k")


# What is noted


def test_what_was_run_is_noted_with_data_study_and_shared_knobs(lab):
    used = lab()
    study = small(weight_decay=[0.0, 1.0])
    results = used.run(study)
    seen = used.observations(runs=results.frame)
    assert [used.name for used in seen.data] == ["polynomial"]
    assert seen.data[0].fingerprints == tuple(study.datasets)
    assert seen.studies == (study.digest,)
    assert seen.settings[0]["epochs"] == "1"
    assert "weight_decay" not in seen.settings[0]
    assert seen.num_seeds == 2


def test_draws_of_one_problem_are_one_data_set_with_all_fingerprints():
    lab = Lab()
    draws = [data.load("polynomial", draw=draw) for draw in (0, 1, 0)]
    for draw in draws:
        lab.use(draw)
    (used,) = lab.observations().data
    assert used.fingerprints == (draws[0].fingerprint, draws[1].fingerprint)


def test_progress_is_told_and_the_same_study_is_not_trained_twice(lab):
    told = []
    first = lab(on_progress=told.append).run(small(weight_decay=[0.0, 1.0]))
    assert (told[0].found, told[-1].done) == (0, 4)
    told.clear()
    again = lab(on_progress=told.append).run(small(weight_decay=[0.0, 1.0]))
    assert told[0].found == 4
    np.testing.assert_array_equal(first.frame["test_loss"], again.frame["test_loss"])
