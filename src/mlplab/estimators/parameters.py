"""From scikit-learn's parameters of `MLPClassifier` and `MLPRegressor` to a setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlplab.errors import InvalidInput, UnknownName
from mlplab.spec import MLP, Optimizer, Penalty, Setting, Training

ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
SOLVERS = ("adam", "sgd")
AUTO_BATCH = 200


def setting_of(owner: str, params: Mapping[str, Any], num_examples: int, loss: str) -> Setting:
    """The setting that trains what scikit-learn's estimator with these parameters trains, on so many examples.

    scikit-learn adds alpha/2 ‖W‖² to the sum of a batch's losses, not to their mean: `weight_decay` is alpha over the
    batch's size, here also for a last batch that is smaller. Weights start as Glorot and Bengio have it, biases at 0.

    Raises InvalidInput, with scikit-learn's name of the parameter, for a value out of range or one that the engine has
    nothing for.
    """
    solver = _one_of(f"{owner}.solver", params["solver"], SOLVERS, "L-BFGS is not trained by the engine")
    remedy = "Only a constant rate is trained here"
    _one_of(f"{owner}.learning_rate", params["learning_rate"], ("constant",), remedy)
    activation = _one_of(f"{owner}.activation", params["activation"], tuple(ACTIVATIONS))
    for name, only in (("shuffle", True), ("warm_start", False)):
        if params[name] is not only:
            raise InvalidInput(f"{owner}.{name}", f"must be {only}", params[name])
    sizes = params["hidden_layer_sizes"]
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    batch_size = params["batch_size"]
    if batch_size == "auto":
        batch_size = AUTO_BATCH
    batch_size = min(_whole(f"{owner}.batch_size", batch_size), num_examples)
    max_iter = _whole(f"{owner}.max_iter", params["max_iter"])
    is_sgd = solver == "sgd"
    momentum = params["momentum"] if is_sgd else 0.0
    optimizer = Optimizer(
        kind=solver,
        learning_rate=params["learning_rate_init"],
        momentum=momentum,
        nesterov=bool(params["nesterovs_momentum"]) and is_sgd and momentum > 0,
        beta1=params["beta_1"],
        beta2=params["beta_2"],
        epsilon=params["epsilon"],
    )
    early = bool(params["early_stopping"])
    return Setting(
        model=MLP(sizes, activation=ACTIVATIONS[activation], initialization="xavier_uniform"),  # pyright: ignore[reportArgumentType]
        optimizer=optimizer,
        penalty=Penalty(weight_decay=_not_negative(f"{owner}.alpha", params["alpha"]) / batch_size),
        training=Training(
            loss=loss,
            epochs=max_iter,
            batch_size=batch_size,
            evaluate_every=1 if early else max_iter,
            patience=_whole(f"{owner}.n_iter_no_change", params["n_iter_no_change"]) if early else None,
        ),
    )


def _one_of(owner: str, value: Any, known: tuple[str, ...], remedy: str = "") -> str:
    if value not in known:
        raise UnknownName(owner, value, known, f"{remedy}." if remedy else "")
    return value


def _whole(owner: str, value: Any) -> int:
    try:
        if value == int(value) and value >= 1 and not isinstance(value, bool):
            return int(value)
    except (TypeError, ValueError):
        pass
    raise InvalidInput(owner, "must be a whole number, at least 1", value)


def _not_negative(owner: str, value: Any) -> float:
    try:
        if float(value) >= 0:
            return float(value)
    except (TypeError, ValueError):
        pass
    raise InvalidInput(owner, "must be a number of at least 0", value)
