"""4.1.4 reads what was trained with batch normalisation in three ways, and each is what it is called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mlplab import data, engine
from mlplab.answers import ours
from mlplab.knobs import turn
from mlplab.spec import Run, Setting

q = ours().exercise("4.1.4").module


@pytest.fixture(scope="module")
def trained() -> engine.Result:
    """Two hidden layers with batch normalisation, trained in pairs on digits for an epoch."""
    digits = data.load("digits")
    setting = turn(
        Setting(),
        hidden_sizes=(12, 8),
        normalization="batch",
        initialization="xavier_uniform",
        activation="tanh",
        batch_size=2,
        learning_rate=0.05,
        epochs=1,
        drop_last=True,
    )
    found = engine.train([Run(setting, digits.fingerprint, 3)], digits)
    return next(record for record in found if isinstance(record, engine.Result))


def network(found: engine.Result) -> nn.Sequential:
    """The same in PyTorch's own layers."""
    *hidden, last = found.parameters
    layers: list[nn.Module] = []
    for place, (weight, bias) in enumerate(hidden):
        norm = nn.BatchNorm1d(len(bias))
        for own, name in (
            (norm.weight.data, "scale"),
            (norm.bias.data, "shift"),
            (norm.running_mean, "mean"),
            (norm.running_var, "variance"),
        ):
            own.copy_(torch.from_numpy(found.extras[f"norm_{name}_{place}"]))
        layers += [linear(weight, bias), norm, nn.Tanh()]
    return nn.Sequential(*layers, linear(*last))


def linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight.data, made.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
    return made


def test_running_moments_answer_as_the_engine_and_a_batch_of_its_own_as_pytorch(trained):
    digits = data.load("digits")
    read = q.readings(trained, lambda seed: digits)
    assert read["running"] == pytest.approx(trained.metrics["test_accuracy"], abs=1e-6)
    x, theirs = torch.from_numpy(digits.test.features), network(trained)
    assert torch.equal(q.answer(trained, x, q.running_moments(trained)), theirs.eval()(x).argmax(1))
    assert torch.equal(q.answer(trained, x[:2], None), theirs.train()(x[:2]).argmax(1))


def test_exact_moments_are_those_of_all_examples_at_every_layer(trained):
    x = torch.from_numpy(data.load("digits").train.features)
    moments = q.exact_moments(trained, x)
    assert torch.equal(q.answer(trained, x, moments), q.answer(trained, x, None))
    assert len(moments) == 2
    weight, bias = map(torch.from_numpy, trained.parameters[0])
    torch.testing.assert_close(moments[0][0], (x @ weight.T + bias).mean(0))


def test_in_batches_of_all_there_is_no_other_company_to_change_an_answer(trained):
    digits = data.load("digits")
    size = digits.test.num_examples
    whole = engine.Result(
        Run(turn(trained.run.setting, batch_size=size), trained.run.data, trained.run.seed),
        "finished",
        None,
        trained.metrics,
        {},
        trained.parameters,
        0.0,
        trained.extras,
    )
    assert q.readings(whole, lambda seed: digits)["moved"] == 0
    assert q.readings(trained, lambda seed: digits)["moved"] > 0.05
