"""Update rules of `spec.Optimizer` and `spec.Penalty` for many models side by side, each with numbers of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlplab.engine.schedules import rate_factor
from mlplab.spec import Optimizer, Schedule, Setting

if TYPE_CHECKING:
    from jaxtyping import Float

# What `torch.optim` is made of, one call for many tensors.
_add, _multiply = torch._foreach_add_, torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]
# torch.nn.utils.clip_grad_norm_ adds it to the norm.
CLIP_EPSILON = 1e-6


class StackedOptimizer:
    """One update of every model. All settings share kind, Nesterov or not, and which terms there are (`group_key`).

    Arguments:
      parameters: (model, ...) each with three axes; the first `num_weights` are weight matrices: only they are
        penalised, and only their steps follow their norm in LARS and LAMB.
    """

    def __init__(
        self,
        settings: Sequence[Setting],
        parameters: Sequence[Tensor],
        num_weights: int,
        steps_per_epoch: int,
    ) -> None:
        self.settings, self.parameters, self.num_weights = settings, parameters, num_weights
        self.steps_per_epoch, self.epochs = steps_per_epoch, settings[0].training.epochs
        first = settings[0].optimizer
        self.kind, self.nesterov = first.kind, first.nesterov
        self.base_rate = self._numbers(lambda s: s.optimizer.learning_rate)
        self.has_schedule = any(
            s.optimizer.schedule.kind != "constant" or s.optimizer.schedule["warmup"] for s in settings
        )
        self.momentum = self._numbers(lambda s: s.optimizer.momentum)
        self.beta1, self.beta2 = (
            self._numbers(lambda s, name=name: getattr(s.optimizer, name)) for name in ("beta1", "beta2")
        )
        # 1 - 0.999 in float32 would be wrong in its fifth digit.
        self.rest1 = self._numbers(lambda s: 1 - s.optimizer.beta1)
        self.rest2 = self._numbers(lambda s: 1 - s.optimizer.beta2)
        self.epsilon = self._numbers(lambda s: s.optimizer.epsilon)
        self.trust_coefficient = self._numbers(lambda s: s.optimizer.trust_coefficient)
        self.weight_decay = self._numbers(lambda s: s.penalty.weight_decay)
        self.l1 = self._numbers(lambda s: 0.0 if s.penalty.proximal else s.penalty.l1)
        self.threshold = self._numbers(lambda s: s.penalty.l1 if s.penalty.proximal else 0.0)
        self.clip_norm = self._numbers(lambda s: s.optimizer.clip_norm or float("inf"))
        self.decays, self.has_l1 = bool(self.weight_decay.any()), bool(self.l1.any())
        self.is_proximal, self.clips = bool(self.threshold.any()), bool(self.clip_norm.isfinite().any())
        self.prior_slope = self._prior()
        self.penalises = self.decays or self.has_l1 or self.prior_slope is not None or self.kind == "lars"
        self.is_one_sgd = self.kind in ("sgd", "lars") and len({_sgd_of(s) for s in settings}) == 1
        remembered = int(bool(self.momentum.any())) if self.kind in ("sgd", "lars") else 2
        self.memory = [[torch.zeros_like(p) for _ in range(remembered)] for p in parameters]
        self.alike = self._alike()

    def _numbers(
        self, of: Callable[[Setting], float], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "model 1 1"]:
        like = self.parameters[0]
        values = torch.tensor([of(setting) for setting in self.settings], dtype=torch.float64)
        return values.to(like.device, dtype or like.dtype)[:, None, None]

    def update(self, gradients: Sequence[Tensor], step: int) -> None:
        """One step of all parameters, in place, where no gradient is recorded. The gradients are used up."""
        rate = self._rate(step)
        if self.clips:
            self._clip(gradients)
        if self.penalises:
            for parameter, gradient in zip(self.parameters[: self.num_weights], gradients, strict=False):
                self._penalise(parameter, gradient, rate)
        if self.alike:
            self._adam_by_kernel(gradients, step)
        elif self.is_one_sgd:
            self._sgd_at_once(gradients, step)
        else:
            for index, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
                rule = self._sgd if self.kind in ("sgd", "lars") else self._adam
                rule(parameter, gradient, self.memory[index], rate, step, index < self.num_weights)
        if self.is_proximal:
            small = rate * self.threshold
            for parameter in self.parameters[: self.num_weights]:
                parameter.sub_(torch.minimum(torch.maximum(parameter, -small), small))

    def _rate(self, step: int) -> Float[Tensor, "model 1 1"]:
        if not self.has_schedule:
            return self.base_rate
        steps = self.steps_per_epoch, self.epochs
        return self._numbers(
            lambda s: s.optimizer.learning_rate * rate_factor(s.optimizer.schedule, step, *steps)
        )

    def _clip(self, gradients: Sequence[Tensor]) -> None:
        squares = sum(_norm(gradient).square() for gradient in gradients)
        assert isinstance(squares, Tensor)
        factor = (self.clip_norm / (squares.sqrt() + CLIP_EPSILON)).clamp_(max=1)
        for gradient in gradients:
            gradient.mul_(factor)

    def _penalise(self, parameter: Tensor, gradient: Tensor, rate: Tensor) -> None:
        if self.has_l1:
            gradient.addcmul_(parameter.sign(), self.l1)
        if self.prior_slope is not None:
            gradient.add_(self.prior_slope(parameter))
        if self.kind == "lars":
            self._follow_norm(parameter, gradient)
        if not self.decays:
            return
        if self.kind == "adamw":
            parameter.mul_(1 - rate * self.weight_decay)
        elif self.kind in ("sgd", "adam"):
            gradient.addcmul_(parameter, self.weight_decay)

    def _follow_norm(self, parameter: Tensor, gradient: Tensor) -> None:
        """LARS: the gradient with decay, scaled to the weights' norm. You et al. 2017, eq. 6."""
        size, steepness = _norm(parameter), _norm(gradient)
        ratio = self.trust_coefficient * size / (steepness + self.weight_decay * size + self.epsilon)
        ratio = torch.where((size > 0) & (steepness > 0), ratio, 1.0)
        gradient.addcmul_(parameter, self.weight_decay).mul_(ratio)

    def _sgd(
        self,
        parameter: Tensor,
        gradient: Tensor,
        memory: list[Tensor],
        rate: Tensor,
        step: int,
        is_weight: bool,
    ) -> None:
        if memory:
            (velocity,) = memory
            velocity.mul_(self.momentum).add_(gradient)
            gradient = gradient.addcmul_(velocity, self.momentum) if self.nesterov else velocity
        parameter.addcmul_(gradient, rate, value=-1)

    def _sgd_at_once(self, gradients: Sequence[Tensor], step: int) -> None:
        """What `_sgd` computes, for models that share their numbers, in a call for all parameters."""
        optimizer, steps_of_all = self.settings[0].optimizer, (self.steps_per_epoch, self.epochs)
        moves = list(gradients)
        if optimizer.momentum:
            velocities = [velocity for (velocity,) in self.memory]
            _multiply(velocities, optimizer.momentum)
            _add(velocities, moves)
            if self.nesterov:
                _add(moves, velocities, alpha=optimizer.momentum)
            else:
                moves = velocities
        rate = optimizer.learning_rate * rate_factor(optimizer.schedule, step, *steps_of_all)
        _add(list(self.parameters), moves, alpha=-rate)

    def _adam(
        self,
        parameter: Tensor,
        gradient: Tensor,
        memory: list[Tensor],
        rate: Tensor,
        step: int,
        is_weight: bool,
    ) -> None:
        mean, square = memory
        mean.mul_(self.beta1).addcmul_(gradient, self.rest1)
        square.mul_(self.beta2).addcmul_(gradient.square_(), self.rest2)
        scale = (
            (square / self._numbers(lambda s: 1 - s.optimizer.beta2 ** (step + 1))).sqrt_().add_(self.epsilon)
        )
        size = mean / self._numbers(lambda s: 1 - s.optimizer.beta1 ** (step + 1))
        if self.kind != "lamb" or not is_weight:
            parameter.addcdiv_(size.mul_(rate), scale, value=-1)
            return
        # You et al. 2020, algorithm 2, with the identity for its scaling function.
        move = size.div_(scale).addcmul_(parameter, self.weight_decay)
        length, stride = _norm(parameter), _norm(move)
        ratio = torch.where((length > 0) & (stride > 0), length / stride, 1.0)
        parameter.addcmul_(move, rate * ratio, value=-1)

    def _adam_by_kernel(self, gradients: Sequence[Tensor], step: int) -> None:
        """What `_adam` computes, in one pass over memory where that takes eleven. Decay is done already."""
        steps_of_all = self.steps_per_epoch, self.epochs
        for optimizer, alike in self.alike.items():
            torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
                alike.parameters,
                [gradients[index][models] for index, models in alike.places],
                alike.means,
                alike.squares,
                [],
                [torch.tensor(float(step + 1))] * len(alike.places),
                lr=optimizer.learning_rate * rate_factor(optimizer.schedule, step, *steps_of_all),
                beta1=optimizer.beta1,
                beta2=optimizer.beta2,
                weight_decay=0.0,
                eps=optimizer.epsilon,
                amsgrad=False,
                maximize=False,
            )

    def _alike(self) -> dict[Optimizer, _Alike]:
        """Models by their optimiser, in as long pieces as they lie beside each other."""
        first = self.parameters[0]
        if self.kind not in ("adam", "adamw") or first.device.type != "cpu":
            return {}
        found: dict[Optimizer, _Alike] = {}
        start = 0
        for optimizer, models in itertools.groupby(s.optimizer for s in self.settings):
            piece = slice(start, start + len(list(models)))
            start = piece.stop
            found.setdefault(optimizer, _Alike()).add(piece, self.parameters, self.memory)
        return found

    def _prior(self) -> Callable[[Tensor], Tensor] | None:
        """The gradient of prior_weight·(-log p(W)), where the group has a prior."""
        prior = self.settings[0].penalty.prior
        if prior is None:
            return None

        def option(setting: Setting, name: str) -> float:
            assert setting.penalty.prior is not None
            return dict(setting.penalty.prior.options)[name]

        options = {name: self._numbers(lambda s, name=name: option(s, name)) for name, _ in prior.options}
        distribution = prior.distribution(**options)
        weight = self._numbers(lambda s: s.penalty.prior_weight)

        def slope(parameter: Tensor) -> Tensor:
            with torch.enable_grad():
                w = parameter.detach().requires_grad_()
                return -torch.autograd.grad((distribution.log_prob(w) * weight).sum(), w)[0]

        return slope


@dataclass
class _Alike:
    """Pieces of parameters, of models that share their optimiser: (parameter, models), and what is there."""

    places: list[tuple[int, slice]] = field(default_factory=list)
    parameters: list[Tensor] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)

    def add(self, models: slice, parameters: Sequence[Tensor], memory: Sequence[Sequence[Tensor]]) -> None:
        for index, (parameter, (mean, square)) in enumerate(zip(parameters, memory, strict=True)):
            self.places.append((index, models))
            self.parameters.append(parameter.detach()[models])
            self.means.append(mean[models])
            self.squares.append(square[models])


def _sgd_of(setting: Setting) -> tuple[float, Schedule, float]:
    optimizer = setting.optimizer
    return optimizer.learning_rate, optimizer.schedule, optimizer.momentum


def _norm(x: Tensor) -> Float[Tensor, "model 1 1"]:
    return torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
