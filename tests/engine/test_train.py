"""What `train` refuses before anything is trained (law 6), and how it deals runs out to chunks."""

from __future__ import annotations

import dataclasses

import pytest

from mlplab import engine
from mlplab.engine import train
from mlplab.engine.activations import activation_function
from mlplab.engine.group import bytes_of_run
from mlplab.engine.losses import loss_of
from mlplab.errors import InvalidInput
from mlplab.spec import Activation, Training

from .cases import BY_NAME, dataset


@pytest.fixture
def nothing_is_trained(monkeypatch):
    def fail(*args):
        raise AssertionError("training has begun")

    monkeypatch.setattr("mlplab.engine.workers.train_group", fail)


def refusal(runs, data) -> str:
    with pytest.raises(InvalidInput) as refused:
        next(iter(train(runs, data)))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.usefixtures("nothing_is_trained")
def test_a_run_without_its_data_set_is_refused():
    case = BY_NAME["dropout"]
    good, bad = case.run(), dataclasses.replace(case.run(), data="digits:1/2/3:00")
    message = "Run.data must be the fingerprint of a data set that was given; got 'digits:1/2/3:00'."
    assert refusal([good, bad], case.data()) == message
    assert refusal([good, bad], {case.data().fingerprint: case.data()}) == message
    assert refusal([good], {}).startswith("Run.data must be")


@pytest.mark.usefixtures("nothing_is_trained")
@pytest.mark.parametrize(
    ("name", "task", "remedy"),
    [
        ("dropout", "regression", "'squared_error' or 'absolute_error' or 'huber' does"),
        ("regression", "classification", "'cross_entropy' does"),
    ],
)
def test_a_loss_that_does_not_fit_the_task_is_refused(name, task, remedy):
    data = dataset(task)
    run = dataclasses.replace(BY_NAME[name].run(), data=data.fingerprint)
    loss = run.setting.training.loss
    assert refusal([run], data) == f"Training.loss must fit test-{task}, a {task}; got {loss!r}. {remedy}."


def test_every_loss_and_activation_of_the_spec_is_there():
    assert len({type(loss_of(Training(loss))) for loss in Training.LOSSES}) == len(Training.LOSSES)
    assert all(callable(activation_function(Activation(kind))) for kind in Activation.KINDS)


def test_chunks_hold_every_run_once_and_none_is_much_smaller_than_the_others(monkeypatch):
    """Nine runs at eight a chunk are four and five: nobody trains alone."""
    case, other = BY_NAME["act_relu"], BY_NAME["two_hidden"]
    data = {case.data().fingerprint: case.data()}
    runs = [item for seed in range(9) for item in (case.run(seed), other.run(seed))]
    monkeypatch.setattr("mlplab.engine.chunking.CACHE_BYTES", 8 * bytes_of_run(case.setting, case.data()))
    parts = engine.chunks(runs, data)
    assert sorted(run.digest for part in parts for run in part) == sorted(run.digest for run in runs)
    assert [len(part) for part in parts if part[0].setting == case.setting] == [4, 5]
    for part in parts:
        assert len({run.setting.model for run in part}) == 1
    assert parts[0][0] == runs[0], "in the order of their first member"
