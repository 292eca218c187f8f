"""One step of a pipeline for real: each process of a group runs its stage with `torch.distributed.pipelining`.

Sources: Huang et al. 2019, GPipe; Narayanan et al. 2021, Efficient large-scale language model training on
GPU clusters using Megatron-LM, section 2.2 (1F1B with a flush after each batch).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from mlplab.analysis.partition import Partition
from mlplab.analysis.schedule import ScheduleName
from mlplab.errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from jaxtyping import Float

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StageStep:
    """What this process did: bytes it sent, micro-batches it held at most, and the loss (last stage only)."""

    stage: int
    sent_bytes: int
    peak_microbatches: int
    loss: float | None


class _CountingStage(PipelineStage):
    """A stage that counts what it sends and holds."""

    sent_bytes = held = peak = 0

    def get_fwd_send_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        return self._counted(super().get_fwd_send_ops(fwd_chunk_id))

    def get_bwd_send_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        return self._counted(super().get_bwd_send_ops(bwd_chunk_id))

    def forward_one_chunk(self, *args, **kwargs):
        self.held += 1
        self.peak = max(self.peak, self.held)
        return super().forward_one_chunk(*args, **kwargs)

    def backward_one_chunk(self, *args, **kwargs):
        result = super().backward_one_chunk(*args, **kwargs)
        self.held -= 1
        return result

    def _counted(self, ops: list[dist.P2POp]) -> list[dist.P2POp]:
        self.sent_bytes += sum(op.tensor.nbytes for op in ops)
        return ops


def pipeline_step(
    split: Partition,
    inputs: Float[Tensor, "batch ..."],
    targets: Tensor,
    loss: Loss,
    num_microbatches: int,
    *,
    schedule: ScheduleName = "1f1b",
    reduction: Literal["mean", "sum"] = "mean",
) -> StageStep:
    """Forward and backward of this process's stage: gradients of the batch's loss land in its parameters.

    Every process of the default group calls this with the same arguments; there are as many as stages. `loss` is the
    mean or the sum over examples, as `reduction` says. The last stage checks that: the loss of the whole batch must be
    the mean (or sum) of its micro-batches' losses. If not (a loss that is summed, weighted by class, or that ignores
    targets), every process raises InvalidInput, and the gradients that this step added are wrong: zero them.

    Raises InvalidInput without a group of that size, for a batch that cannot be cut into equal micro-batches, for
    fewer micro-batches than stages under 1F1B (PyTorch's schedule refuses them), and for dropout or batch
    normalisation in train mode, which see micro-batches, not the batch. UnknownName for `schedule`, `reduction`.
    """
    if reduction not in ("mean", "sum"):
        raise UnknownName("reduction", reduction, ("mean", "sum"))
    if schedule not in get_args(ScheduleName):
        raise UnknownName("schedule", schedule, get_args(ScheduleName))
    size = dist.get_world_size() if dist.is_initialized() else 0
    if size != len(split.stages):
        rule = f"must have {len(split.stages)} processes, one for each stage"
        raise InvalidInput("the process group", rule, size, "Start it with torchrun --nproc-per-node K")
    if isinstance(num_microbatches, bool) or not isinstance(num_microbatches, int) or num_microbatches < 1:
        raise InvalidInput("num_microbatches", "must be a whole number of at least 1", num_microbatches)
    if schedule == "1f1b" and num_microbatches < size:
        rule = f"must be at least the {size} stages under 1f1b"
        raise InvalidInput("num_microbatches", rule, num_microbatches, "Use schedule='gpipe'")
    if not len(inputs) or len(inputs) % num_microbatches or len(targets) != len(inputs):
        rule = f"must be as long as the targets and a multiple of {num_microbatches} micro-batches"
        raise InvalidInput("the batch", rule, (len(inputs), len(targets)))
    for stage in split.stages:
        for module in stage.modules():
            if module.training and isinstance(
                module, nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd
            ):
                name = type(module).__name__
                raise InvalidInput(
                    "model", "must treat each example alone, the same each time", name, "Use eval()"
                )
    rank = dist.get_rank()
    stage = _CountingStage(split.stages[rank], rank, size, inputs.device)
    kind = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}[schedule]
    losses: list[Tensor] = []
    first = (inputs,) if rank == 0 else ()
    last = {"target": targets, "losses": losses} if rank == size - 1 else {}
    runner = kind(stage, n_microbatches=num_microbatches, loss_fn=loss, scale_grads=reduction == "mean")
    outputs = runner.step(*first, **last)
    total = _verified(outputs, targets, loss, losses, reduction) if rank == size - 1 else None
    verdict = [total if isinstance(total, str) else None]
    dist.broadcast_object_list(
        verdict, src=size - 1
    )  # all stop, or none: one alone would leave the others waiting
    if verdict[0]:
        rule = f"must be a {reduction} over examples"
        raise InvalidInput("loss", rule, verdict[0], "Its gradients are wrong: zero them")
    return StageStep(rank, stage.sent_bytes, stage.peak, None if isinstance(total, str) else total)


@torch.no_grad()
def _verified(
    outputs: Tensor, targets: Tensor, loss: Loss, losses: list[Tensor], reduction: str
) -> float | str:
    """The loss of the batch from its parts, or what is wrong with it."""
    parts = torch.stack(losses).detach()
    value = parts.mean() if reduction == "mean" else parts.sum()
    whole = loss(outputs, targets)
    # The root of the precision: rounding is far below it, a wrong weight above.
    allowed = torch.finfo(parts.dtype).eps ** 0.5 * float(
        parts.abs().sum() / (len(parts) if reduction == "mean" else 1)
    )
    if abs(float(whole - value)) <= allowed:
        return float(value)
    return f"{float(whole):.6g} for the batch and {float(value):.6g} from its micro-batches"
