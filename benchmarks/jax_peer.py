"""JAX as a peer; imported only where JAX is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
import numpy as np

from cases import Case

Parameters = list[tuple[Any, Any]]


def jax_epoch(case: Case, models: int, scan: bool) -> Callable[[], None]:
    """A function that trains `models` models for an epoch, on batches that all share."""
    problem = case.problem()
    setting = case.setting
    batch, sizes = case.batch_size, case.sizes
    rates = [noise.rate for noise in setting.noises]
    generator = np.random.default_rng(0)
    parameters: Any = [
        (
            jnp.asarray(generator.normal(0, start["std"], (models, a, b)).astype(np.float32)),
            jnp.zeros((models, b)),
        )
        for a, b, start in zip(sizes, sizes[1:], setting.model.initializations, strict=False)
    ]
    features, targets = jnp.asarray(problem.train.features), jnp.asarray(problem.train.targets)

    def loss(layers: Parameters, x: Any, y: Any, key: Any) -> Any:
        for (weight, bias), rate in zip(layers[:-1], rates, strict=True):
            x = jax.nn.relu(x @ weight + bias)
            if rate:
                key, used = jax.random.split(key)
                x = jnp.where(jax.random.bernoulli(used, 1 - rate, x.shape), x / (1 - rate), 0)
        outputs = x @ layers[-1][0] + layers[-1][1]
        if problem.task == "classification":
            return -jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1).mean()
        return ((outputs - y) ** 2).mean() / 2

    gradients = jax.vmap(jax.grad(loss), (0, None, None, 0))
    rate, decay = setting.optimizer.learning_rate, setting.penalty.weight_decay

    def update(layers: Parameters, rows: Any, key: Any) -> Parameters:
        slopes = gradients(layers, features[rows], targets[rows], jax.random.split(key, models))
        return [
            (w - rate * (dw + decay * w), b - rate * db)
            for (w, b), (dw, db) in zip(layers, slopes, strict=True)
        ]

    def all_updates(layers: Parameters, rows: Any, keys: Any) -> Parameters:
        return jax.lax.scan(lambda held, given: (update(held, *given), None), layers, (rows, keys))[0]

    step = jax.jit(update, donate_argnums=0)
    steps = jax.jit(all_updates, donate_argnums=0)

    def epoch() -> None:
        nonlocal parameters
        order = generator.permutation(len(features))
        full = len(order) // batch * batch  # a scan's batches have one size: the rest is a step of its own
        rows = jnp.asarray(order[:full].reshape(-1, batch))
        keys = jax.random.split(jax.random.key(int(order[0])), len(rows) + 1)
        if scan:
            parameters = steps(parameters, rows, keys[:-1])
        else:
            for number in range(len(rows)):
                parameters = step(parameters, rows[number], keys[number])
        if full < len(order):
            parameters = step(parameters, jnp.asarray(order[full:]), keys[-1])
        jax.block_until_ready(parameters)

    return epoch
