"""Laws of the losses: PyTorch's values, gradients by finite differences, and no sum over models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlplab.engine.losses import (
    AbsoluteError,
    CrossEntropy,
    Huber,
    Loss,
    SquaredError,
    accuracy,
    evaluated_loss_of,
    loss_of,
)
from mlplab.spec import Training

LOSSES = [CrossEntropy(), CrossEntropy(0.2), SquaredError(), AbsoluteError(), Huber(), Huber(0.4)]
TORCH = {
    "CrossEntropy": lambda loss: nn.CrossEntropyLoss(reduction="none", label_smoothing=loss.smoothing),
    "SquaredError": lambda loss: lambda a, b: nn.MSELoss(reduction="none")(a, b).sum(1) / 2,
    "AbsoluteError": lambda loss: lambda a, b: nn.L1Loss(reduction="none")(a, b).sum(1),
    "Huber": lambda loss: lambda a, b: nn.HuberLoss(reduction="none", delta=loss.delta)(a, b).sum(1),
}
CLASSES = torch.tensor([[0, 1, 2, 2], [1, 1, 0, 2]])


def _name(loss: Loss) -> str:
    return type(loss).__name__ + "".join(f"-{value}" for value in vars(loss).values())


every_loss = pytest.mark.parametrize("loss", LOSSES, ids=_name)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


def _targets(loss: Loss) -> Tensor:
    return CLASSES if isinstance(loss, CrossEntropy) else _normal(2, 4, 3, seed=1)


def test_every_loss_of_the_spec_is_tested():
    assert {type(loss_of(Training(loss=name))) for name in Training.LOSSES} == {type(loss) for loss in LOSSES}


def test_loss_of_passes_the_options_on():
    assert loss_of(Training(loss="huber", huber_delta=0.4)).delta == 0.4
    assert loss_of(Training(label_smoothing=0.2)).smoothing == 0.2
    assert evaluated_loss_of(Training(label_smoothing=0.2)).smoothing == 0.0
    assert evaluated_loss_of(Training(loss="huber", huber_delta=2.0)).delta == 2.0


@every_loss
def test_values_are_torchs_model_by_model(loss):
    outputs, targets = _normal(2, 4, 3), _targets(loss)
    for model in range(2):
        expected = TORCH[type(loss).__name__](loss)(outputs[model], targets[model])
        assert torch.allclose(loss.examples(outputs, targets)[model], expected, rtol=0, atol=1e-13)
        assert loss(outputs, targets)[model].item() == pytest.approx(expected.mean().item(), abs=1e-13)


def test_cross_entropy_from_its_equation():
    """-Σ q log p with q = (1-s)·onehot + s/3, in NumPy."""
    logits = _normal(2, 4, 3)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(2, keepdims=True)
    for smoothing in (0.0, 0.2):
        q = (1 - smoothing) * np.eye(3)[CLASSES.numpy()] + smoothing / 3
        expected = -(q * np.log(p)).sum(2)
        found = CrossEntropy(smoothing).examples(logits, CLASSES).numpy()
        assert np.abs(found - expected).max() <= 1e-13


def test_the_halves_of_huber_meet():
    """Quadratic up to delta, linear beyond, with one value and one slope at the joint; large delta: squared error."""
    delta, zero = 0.4, torch.zeros(1, 1, 1, dtype=torch.float64)
    for error, expected in [
        (0.2, 0.02),
        (0.4, 0.08),
        (-0.4, 0.08),
        (3.0, 0.4 * (3 - 0.2)),
        (-3.0, 0.4 * (3 - 0.2)),
    ]:
        outputs = torch.full((1, 1, 1), error, dtype=torch.float64)
        assert Huber(delta)(outputs, zero).item() == pytest.approx(expected, abs=1e-14)
        assert Huber(delta).slope(outputs, zero).item() == pytest.approx(
            max(-delta, min(delta, error)), abs=1e-14
        )
    outputs, targets = _normal(2, 4, 3), _normal(2, 4, 3, seed=1)
    assert torch.allclose(Huber(100.0)(outputs, targets), SquaredError()(outputs, targets))


@every_loss
def test_weights_of_examples(loss):
    """A mean over the batch of weight · loss: the sum of weights is not divided by."""
    outputs, targets = _normal(2, 4, 3), _targets(loss)
    weights = torch.tensor([[0.0, 2.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    found, each = loss(outputs, targets, weights), loss.examples(outputs, targets)
    assert found[0].item() == pytest.approx(
        (2 * each[0, 1] + each[0, 2] + each[0, 3] / 2).item() / 4, abs=1e-13
    )
    assert found[1].item() == pytest.approx(loss(outputs, targets)[1].item(), abs=1e-13)
    assert torch.allclose(loss(outputs, targets, 2 * weights), 2 * found)


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(loss, weighted):
    """Of every model by itself: the full Jacobian is checked, so models that share a gradient would fail."""
    targets = _targets(loss)
    weights = torch.tensor([[0.0, 2.0, 1.0, 0.5], [1.0, 3.0, 1.0, 1.0]]).double() if weighted else None
    assert torch.autograd.gradcheck(
        lambda outputs: loss(outputs, targets, weights), _normal(2, 4, 3).requires_grad_()
    )


@every_loss
def test_the_written_slope_is_autograds(loss):
    outputs, targets = _normal(2, 4, 3).requires_grad_(), _targets(loss)
    expected = torch.autograd.grad(loss.examples(outputs, targets).sum(), outputs)[0]
    before = outputs.detach().clone()
    found = loss.slope(outputs.detach(), targets)
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)
    assert torch.equal(outputs.detach(), before), "the outputs are still needed"


@pytest.mark.parametrize("loss", [AbsoluteError(), Huber()], ids=_name)
def test_slopes_at_the_kink_are_zero_as_torchs(loss):
    outputs = torch.zeros(1, 3, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.zeros(1, 3, 2, dtype=torch.float64)
    assert not loss.slope(outputs.detach(), targets).any()
    assert not torch.autograd.grad(loss(outputs, targets).sum(), outputs)[0].any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_stays_finite_where_exponentials_overflow(smoothing):
    logits = torch.tensor([[[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0]]])
    targets = torch.tensor([[0, 0]])
    loss = CrossEntropy(smoothing)
    assert loss(logits, targets).isfinite().all()
    assert loss.slope(logits, targets).isfinite().all()


def test_accuracy_counts_hits_of_each_model():
    hits = torch.stack([nn.functional.one_hot(row, 3) for row in CLASSES]).double()
    assert accuracy(hits, CLASSES).tolist() == [1, 1]
    assert accuracy(hits.roll(1, 2), CLASSES).tolist() == [0, 0]
    mixed = torch.cat([hits[:, :1].roll(1, 2), hits[:, 1:]], 1)
    assert accuracy(mixed, CLASSES).tolist() == [0.75, 0.75]


def test_accuracy_is_exact_in_float64():
    """A third in float32 would be off by 1e-8."""
    logits = torch.eye(3, dtype=torch.float64)[None]
    assert accuracy(logits, torch.tensor([[0, 0, 0]])).item() == 1 / 3


def test_classes_that_tie_share_the_hit():
    """What the first of equal logits would get depends on the order of classes; a share does not."""
    tied = torch.tensor([[[1.0, 1.0, 0.0], [2.0, 2.0, 2.0], [0.0, 1.0, 1.0]]], dtype=torch.float64)
    assert accuracy(tied, torch.tensor([[1, 2, 0]])).item() == pytest.approx(
        (1 / 2 + 1 / 3 + 0) / 3, abs=1e-15
    )
