"""The examples that a group of runs sees: each run's in the order of its seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mlplab.data import Dataset
from mlplab.engine import draws, gpu_draws
from mlplab.spec import Run

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# Numbers that a block of batches may hold: small batches are gathered several at once, and measured so.
BLOCK_NUMBERS = 2**17
# Examples that are evaluated at once, over all models: what their layers hold then stays in a cache.
EVALUATION_EXAMPLES = 4_096


@dataclass(frozen=True)
class Batch:
    """Examples for each model. The model axis of `x` may be shorter, of length n: each is then what models/n models
    that follow each other see. The others have an entry a model, or one for all.
    """

    x: Float[Tensor, "feed batch in"]
    y: Tensor
    weights: Float[Tensor, "model batch"] | None = None
    # Where it is in its block.
    index: int = 0

    @cached_property
    def num_examples(self) -> int:
        return self.x.shape[1]


@dataclass(frozen=True)
class Block:
    """Batches of one size that follow each other. What they hold lies in `y` and `weights`, a batch after the other."""

    batches: tuple[Batch, ...]
    y: Tensor
    weights: Float[Tensor, "batch model example"] | None = None


class Batches:
    """The batches of each epoch, and the parts of the data. Models of one data set and seed share one feed."""

    def __init__(
        self, runs: Sequence[Run], data: Mapping[str, Dataset], dtype: torch.dtype, device: torch.device
    ) -> None:
        training = runs[0].setting.training
        self.dtype, self.device = dtype, device
        # Mixed precision rounds the features before its first product: they may as well be kept so.
        self.feature_dtype = torch.bfloat16 if training.precision == "bfloat16" else dtype
        names = list(dict.fromkeys(run.data for run in runs))
        self.datasets = [data[name] for name in names]
        dataset_of_model = [names.index(run.data) for run in runs]
        of_model = list(zip(dataset_of_model, [run.seed for run in runs], strict=True))
        self.feeds = list(dict.fromkeys(of_model))
        place = {feed: index for index, feed in enumerate(self.feeds)}
        self.by_dataset = _Spread(dataset_of_model, len(names), device)
        self.by_feed = _Spread([place[feed] for feed in of_model], len(self.feeds), device)
        self._loaded: dict[str, Batch] = {}
        self.num_examples = self.datasets[0].train.num_examples
        self.batch_size, self.steps_per_epoch = training.batches(self.num_examples)
        self._shapes = self._cut(runs)
        self.most = self._shapes[0][0]
        self._memory: dict[str, Tensor] = {}
        self._blocks: dict[tuple[int, int], Block] = {}

    def epoch(self, epoch: int) -> Iterator[Block]:
        """The batches of an epoch, each model's in the order of its seed. Each block lies where the last one lay."""
        # Rows of all data sets one after the other: a feed's rows start where its data set does.
        starts = torch.tensor(
            [[dataset * self.num_examples] for dataset, _ in self.feeds], device=self.device
        )
        rows, start = self._orders(epoch) + starts, 0
        for count, size in self._shapes:
            # (feed, batch and example) to (batch, feed, example): each batch lies in one piece.
            block = rows[:, start : start + count * size].unflatten(1, (count, size)).transpose(0, 1)
            yield self._filled(count, size, block)
            start += count * size

    def _cut(self, runs: Sequence[Run]) -> list[tuple[int, int]]:
        """An epoch as blocks: batches in each, examples in a batch. The first is the largest."""
        data = self.datasets[0]
        widest = max(len(self.feeds) * data.in_features, len(runs) * data.out_features)
        most = max(BLOCK_NUMBERS // (self.batch_size * widest), 1)
        whole = self.num_examples // self.batch_size
        shapes = [(min(most, whole - start), self.batch_size) for start in range(0, whole, most)]
        if self.steps_per_epoch > whole:
            shapes.append((1, self.num_examples % self.batch_size))
        return shapes

    def _filled(self, count: int, size: int, rows: Int[Tensor, "batch feed example"]) -> Block:
        """The block of this shape, with these rows."""
        held, pieces = self.whole("train"), {}
        for name in ("x", "y", "weights"):
            examples = getattr(held, name)
            if examples is None:
                continue
            index = self.by_feed.rows(rows, is_x=name == "x")
            if name not in self._memory:
                shape = index.numel(), *examples.shape[2:]
                self._memory[name] = torch.empty(shape, dtype=examples.dtype, device=self.device)
            out = self._memory[name][: index.numel()]
            torch.index_select(examples.flatten(0, 1), 0, index.flatten(), out=out)
            pieces[name] = out.unflatten(0, index.shape)
        if (count, size) not in self._blocks:
            weights = pieces.get("weights")
            batches = tuple(
                Batch(pieces["x"][i], pieces["y"][i], None if weights is None else weights[i], i)
                for i in range(count)
            )
            self._blocks[count, size] = Block(batches, pieces["y"], weights)
        return self._blocks[count, size]

    def _orders(self, epoch: int) -> Int[Tensor, "feed example"]:
        seeds = [seed for _, seed in self.feeds]
        if self.device.type == "cuda":
            return gpu_draws.epoch_orders(gpu_draws.seed_tensor(seeds, self.device), epoch, self.num_examples)
        return draws.epoch_orders(seeds, epoch, self.num_examples)

    def part(self, name: str) -> Iterator[Batch]:
        """A part of the data in order, in pieces. Nothing where the data set has no such part."""
        if getattr(self.datasets[0], name) is None:
            return
        size = max(EVALUATION_EXAMPLES // self.by_dataset.num_models, 64)
        held = self.whole(name)
        for start in range(0, held.num_examples, size):
            rows = slice(start, start + size)
            weights = None if held.weights is None else held.weights[:, rows]
            yield self.by_dataset(Batch(held.x[:, rows], held.y[:, rows], weights))

    def every(self, name: str) -> Batch:
        """A part of the data at once, for each model."""
        return self.by_dataset(self.whole(name))

    def whole(self, name: str) -> Batch:
        """A part of each data set: (dataset, example, ...)."""
        if name not in self._loaded:
            parts = [getattr(dataset, name) for dataset in self.datasets]
            x = self._stack([part.features for part in parts], self.feature_dtype)
            y = self._stack([part.targets for part in parts])
            weights = None
            if parts[0].weights is not None:
                weights = self._stack([part.weights for part in parts], self.dtype)
            y = y.to(self.dtype) if y.is_floating_point() else y
            self._loaded[name] = Batch(x, y, weights)
        return self._loaded[name]

    def _stack(self, arrays: Sequence[np.ndarray], dtype: torch.dtype | None = None) -> Tensor:
        tensors = [torch.from_numpy(array) for array in arrays]
        # One data set is not copied where it already is what it has to be.
        stacked = tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)
        return stacked.to(self.device, dtype)


class _Spread:
    """From an entry a feed (or data set) to one a model."""

    def __init__(self, of_model: list[int], num_feeds: int, device: torch.device) -> None:
        self.num_models = len(of_model)
        share = self.num_models // num_feeds
        self.is_even = of_model == [model // share for model in range(self.num_models)]
        self.of_model = torch.tensor(of_model, device=device)

    def rows(self, rows: Int[Tensor, "batch feed example"], *, is_x: bool) -> Tensor:
        """Rows that each feed sees, as those that each model sees where a batch has an entry a model."""
        if rows.shape[1] in (1, self.num_models) or (is_x and self.is_even):
            return rows
        return rows.index_select(1, self.of_model)

    def __call__(self, batch: Batch) -> Batch:
        if batch.x.shape[0] in (1, self.num_models):
            return batch
        y, weights = batch.y.index_select(0, self.of_model), batch.weights
        if weights is not None:
            weights = weights.index_select(0, self.of_model)
        return Batch(batch.x if self.is_even else batch.x.index_select(0, self.of_model), y, weights)
