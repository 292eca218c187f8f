"""4.7.3 The memory of the section's network, in training and in prediction: reckoned term by term, and measured.

What is measured are bytes of real tensors: those that autograd hands to a saved-tensor hook, gradients, the state of
the optimiser, and the most that PyTorch's allocator was asked for at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlplab.analysis.allocator import peak_bytes
from mlplab.analysis.memory import COLOURS, OPTIMIZERS, Memory, Use, memory
from mlplab.analysis.step import Role
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.charts import plots
from mlplab.errors import import_extra

if TYPE_CHECKING:
    import altair

SIZES, BATCH = (784, 256, 10), 256  # the section's network, without biases
FLOAT, LABEL = 4, 8  # bytes of a number and of a label
COPIES = {"sgd": 0, "momentum": 1, "adam": 2}  # of the parameters, in the state of the optimiser
KEEPS_INPUT = {"ReLU": 0, "Tanh": 0, "GELU": 1}  # whether the backward of the activation reads z beside h
PENALTY = 1e-3  # λ of the section's objective; only that it is not 0 matters
DEPTHS = (1, 2, 4, 8)  # hidden layers of 256 units
CPU = torch.device("cpu")


class Case(NamedTuple):
    """A network and how it is trained."""

    sizes: tuple[int, ...] = SIZES
    batch: int = BATCH
    activation: str = "ReLU"
    biases: bool = False
    optimizer: str = "sgd"


CASES = [
    Case(optimizer=optimizer, activation=activation)
    for optimizer, activation in itertools.product(COPIES, KEEPS_INPUT)
] + [
    Case((20, 30, 3), 7, "ReLU", True, "adam"), Case((20, 30, 40, 3), 7, "GELU", True, "momentum"),
    Case((5, 64, 64, 64, 2), 100, "Tanh", True), Case((100, 8, 50), 33, "GELU"), Case((17, 200, 200, 5), 1, "ReLU"),
]  # fmt: skip
# Sizes for which the peak is where the gradient of the first layer is made: a batch of at most d/3.
PEAK_CASES = (
    Case(), Case((784, 128, 10), 64), Case((500, 300, 20), 100), Case((2000, 64, 5), 32), Case(batch=1),
    Case((100, 400, 10), 10),
)  # fmt: skip


def network(case: Case) -> nn.Sequential:
    """Linear layers with the activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(case.sizes):
        layers += [nn.Linear(inputs, outputs, bias=case.biases), getattr(nn, case.activation)()]
    return nn.Sequential(*layers[:-1])


def batch_of(case: Case) -> tuple[Tensor, Tensor]:
    """Inputs and labels; only their sizes matter."""
    return torch.ones(case.batch, case.sizes[0]), torch.zeros(case.batch, dtype=torch.int64)


# Measured


def observe(lab: Lab) -> Observations:
    """Real steps, and what they held."""
    terms, peaks, depths = [], [], []
    for number, case in enumerate(CASES):
        terms += [{"case": number, "term": term, "bytes": size} for term, size in measured(case).items()]
    for optimizer in COPIES:
        peaks.append({"step": optimizer, "bytes": training_peak(Case(optimizer=optimizer))})
    peaks.append({"step": "prediction", "bytes": prediction_peak(Case())})
    for depth in DEPTHS:
        case = Case((784, *[256] * depth, 10))
        resident = sum(p.nbytes for p in network(case).parameters()) + batch_of(case)[0].nbytes
        kept = measured(case)["saved"]
        depths.append({"depth": depth, "prediction": prediction_peak(case) - resident, "training": kept})
    formulas = [
        {"case": number, "step": step, "bytes": size}
        for number, case in enumerate(PEAK_CASES)
        for step, size in {
            "prediction": prediction_peak(case),
            "loss": training_peak(case),
            "objective": training_peak(case, PENALTY),
            "decay": training_peak(case, decay=PENALTY),
        }.items()
    ]
    tables = {"terms": terms, "peaks": peaks, "depths": depths, "formulas": formulas}
    return lab.observations(**{name: pd.DataFrame(rows) for name, rows in tables.items()})


def measured(case: Case) -> dict[str, int]:
    """Bytes of a real step by what they are for."""
    net, (x, y) = network(case), batch_of(case)
    own = {t.untyped_storage().data_ptr() for t in (*net.parameters(), x, y)}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    make = OPTIMIZERS[case.optimizer]
    assert make is not None
    optimizer = make(net.parameters())
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values()]
    return {
        "parameter": sum(p.nbytes for p in net.parameters()),
        "input": x.nbytes,
        "target": y.nbytes,
        "saved": sum(kept.values()),
        "gradient": sum(p.grad.nbytes for p in net.parameters() if p.grad is not None),
        # A state may hold the count of steps too: a number for each tensor of parameters.
        "optimizer state": sum(s.nbytes for s in states if isinstance(s, Tensor) and s.ndim),
    }


def training_peak(case: Case, penalty: float = 0.0, *, decay: float = 0.0) -> int:
    """The most bytes of a training step that is not the first.

    The penalty λ/2 (‖W₁‖² + ‖W₂‖²) is part of the objective, as the section writes it; `decay` leaves it to SGD.
    """
    net, (x, y) = network(case), batch_of(case)
    make = OPTIMIZERS[case.optimizer]
    assert make is not None
    optimizer = torch.optim.SGD(net.parameters(), weight_decay=decay) if decay else make(net.parameters())

    def step() -> None:
        loss = functional.cross_entropy(net(x), y)
        if penalty:
            loss = loss + penalty / 2 * sum((w**2).sum() for w in net.parameters())
        loss.backward()
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    held = [
        *net.parameters(),
        x,
        y,
        *(t for s in optimizer.state.values() for t in s.values() if isinstance(t, Tensor)),
    ]
    return sum(t.nbytes for t in held) + peak_bytes(step, CPU)


def prediction_peak(case: Case) -> int:
    """The most bytes of a prediction."""
    net, (x, _) = network(case).eval(), batch_of(case)

    def predict() -> None:
        with torch.no_grad():
            net(x)

    predict()
    return sum(t.nbytes for t in (*net.parameters(), x)) + peak_bytes(predict, CPU)


# Reckoned


def reckoned(case: Case, *, keeps_z: bool = False) -> dict[str, int]:
    """The same terms from the sizes alone. With `keeps_z` every z is kept for the backward, as the notes list it."""
    pairs = list(itertools.pairwise(case.sizes))
    parameters = FLOAT * sum(m * n + (n if case.biases else 0) for m, n in pairs)
    hidden, outputs = sum(case.sizes[1:-1]), case.sizes[-1]
    times = 1 + max(KEEPS_INPUT[case.activation], int(keeps_z))
    return {
        "parameter": parameters,
        "input": FLOAT * case.batch * case.sizes[0],
        "target": LABEL * case.batch,
        # Beside h, cross-entropy keeps its log-probabilities, and the number of examples as one number.
        "saved": FLOAT * case.batch * (times * hidden + outputs) + FLOAT,
        "gradient": parameters,
        "optimizer state": COPIES[case.optimizer] * parameters,
    }


def peak_formula(case: Case, step: str) -> int:
    """The peak from d, h, q and B: of a prediction, of an SGD step on the loss, and on the loss with the penalty.

    The penalty adds w² of W₁ and its gradient, and the loss's log-probabilities are not free yet.
    """
    (d, h, q), batch = case.sizes, case.batch
    if step == "prediction":
        return FLOAT * (d * h + h * q + batch * (d + 2 * h))
    on_loss = FLOAT * (2 * (d * h + h * q) + batch * (d + h)) + LABEL * batch + 2 * FLOAT
    return on_loss if step == "loss" else on_loss + FLOAT * (2 * d * h + batch * q) + 2 * FLOAT


def without_penalty(case: Case, step: str) -> int:
    """The same for an objective of the loss alone."""
    return peak_formula(case, "loss" if step == "objective" else step)


@cache
def predicted(optimizer: str, batch: int = BATCH) -> Memory:
    """By `mlplab memory`, from shapes alone."""
    case = Case(batch=batch)
    return memory(network(case), *batch_of(case), nn.CrossEntropyLoss(), optimizer=optimizer)


def two_neighbours(case: Case) -> int:
    """Bytes of the two largest tensors that stand side by side: a layer's input (not x) and its output."""
    chain = [size for hidden in case.sizes[1:-1] for size in (hidden, hidden)] + [case.sizes[-1]]
    return FLOAT * case.batch * max(map(sum, itertools.pairwise(chain)))


def all_tensors(case: Case) -> int:
    """Bytes of every z and h, and of o."""
    return FLOAT * case.batch * (2 * sum(case.sizes[1:-1]) + case.sizes[-1])


# Checks


def are_terms(subject: tuple[pd.DataFrame, Callable[[Case], dict[str, int]]]) -> Finding:
    """Is each measured term what was reckoned, to the byte?"""
    table, reckon = subject
    expected = [reckon(CASES[row["case"]])[row["term"]] for row in table.to_dict("records")]
    wrong = int((table["bytes"].to_numpy() != np.array(expected)).sum())
    numbers = {"terms": len(table), "networks": table["case"].nunique()}
    return Finding.true_if(not wrong, f"{wrong} of {len(table)} terms differ", **numbers)


def are_peaks(subject: tuple[pd.DataFrame, int]) -> Finding:
    """Is each measured peak what `mlplab memory` predicts for a batch, to one part in a thousand?"""
    table, batch = subject
    worst = 0.0
    for step, found in zip(table["step"], table["bytes"], strict=True):
        told = predicted("sgd", batch).prediction if step == "prediction" else predicted(step, batch).training
        worst = max(worst, abs(told.peak / found - 1))
    return Finding.true_if(worst < 1e-3, f"{worst:.2g}", worst_error=worst)


def follow_formula(subject: tuple[pd.DataFrame, Callable[[Case, str], int]]) -> Finding:
    """Is each measured peak the formula's, to the byte?"""
    table, formula = subject
    table = table[table["step"] != "decay"]
    apart = [
        abs(row["bytes"] - formula(PEAK_CASES[row["case"]], row["step"])) for row in table.to_dict("records")
    ]
    return Finding.true_if(max(apart) == 0, f"{max(apart)} bytes apart", networks=table["case"].nunique())


def is_prediction(subject: tuple[pd.DataFrame, Callable[[Case], int]]) -> Finding:
    """Networks of several depths: does a prediction hold this at its peak, beside parameters and inputs?"""
    table, reckon = subject
    expected = [reckon(Case((784, *[256] * depth, 10))) for depth in table["depth"]]
    worst = int(np.abs(table["prediction"] - expected).max())
    numbers = {"bytes": int(table["prediction"].iloc[0]), "deepest": int(table["depth"].max())}
    return Finding.true_if(worst == 0, f"{worst} bytes apart", **numbers)


def grows_by_layer(kept: pd.Series) -> Finding:
    """Does each hidden layer more add 4 · batch · 256 bytes?"""
    steps = kept.diff().dropna() / np.diff(kept.index)
    right = bool((steps == FLOAT * BATCH * 256).all())
    return Finding.true_if(right, f"{steps.tolist()}", bytes=float(steps.iloc[0]))


# What is shown

NAMES = (
    "parameter",
    "input",
    "target",
    "saved",
    "gradient",
    "optimizer state",
    "temporary",
)
STEPS = (
    "prediction",
    "sgd",
    "momentum",
    "adam",
)


def use(step: str) -> Use:
    """What is held at the peak of a step, by role."""
    return predicted("sgd").prediction if step == "prediction" else predicted(step).training


def facts(observations: Observations) -> dict[str, Any]:
    """Bytes of the section's network at a batch of 256."""
    peaks = dict(zip(observations["peaks"]["step"], observations["peaks"]["bytes"], strict=True))
    of_case = reckoned(Case())
    return {
        "batch": BATCH,
        "prediction_bytes": peaks["prediction"],
        "sgd_bytes": peaks["sgd"],
        "objective_bytes": _section_peak(observations, "objective"),
        "decay_bytes": _section_peak(observations, "decay"),
        "prediction_megabytes": peaks["prediction"] / 1e6,
        "objective_megabytes": _section_peak(observations, "objective") / 1e6,
        "objective_ratio": _section_peak(observations, "objective") / peaks["sgd"],
        "sizes": "-".join(map(str, SIZES)),
        "adam_bytes": peaks["adam"],
        "adam_ratio": peaks["adam"] / peaks["prediction"],
        "parameter_bytes": of_case["parameter"],
        "input_bytes": of_case["input"],
        "label_bytes": of_case["target"],
        "saved_bytes": of_case["saved"],
        "hidden_bytes": FLOAT * BATCH * SIZES[1],
        "saved_at_peak": use("sgd").at_peak.get("saved", 0),
        "temporary_at_peak": use("sgd").at_peak["temporary"],
    }


def _section_peak(observations: Observations, step: str) -> int:
    table = observations["formulas"]
    return int(table.loc[(table["case"] == 0) & (table["step"] == step), "bytes"].iloc[0])


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Each term of the section's network; then depth."""
    terms = observations["terms"]
    found = {
        optimizer: terms[terms["case"] == CASES.index(Case(optimizer=optimizer))].set_index("term")["bytes"]
        for optimizer in COPIES
    }
    formulas: dict[Role, str] = {
        "parameter": "4(dh + hq)", "input": "4Bd", "target": "8B", "saved": "4B(h + q) + 4", "gradient": "4(dh + hq)",
        "optimizer state": "4k(dh + hq)",
    }  # fmt: skip
    rows = []
    for term, formula in formulas.items():
        for optimizer in COPIES if term == "optimizer state" else ("sgd",):
            name = words.group("names")[term]
            if term == "optimizer state":
                name += f" ({words.group('steps')[optimizer].split(', ')[-1].split('，')[-1]}, k = {COPIES[optimizer]})"
            size = reckoned(Case(optimizer=optimizer))[term]
            held = use("prediction").at_peak.get(term, 0)
            rows.append([name, formula, f"{size:,}", f"{found[optimizer][term]:,}", f"{held:,}"])
    peaks = dict(zip(observations["peaks"]["step"], observations["peaks"]["bytes"], strict=True))
    heads = (
        words["heads.term"], words["heads.formula"], words["heads.reckoned"], words["heads.measured"],
        words["heads.it-in-prediction"],
    )  # fmt: skip
    title = words(
        "titles.bytes-training-step-d-h", sizes=SIZES[0], sizes_2=SIZES[1], sizes_3=SIZES[2], batch=BATCH
    )
    whole = [
        [label, f"{use(step).peak:,}", f"{peaks[step]:,}", f"{use(step).at_peak['temporary']:,}"]
        for step, label in words.group("steps").items()
    ]
    whole += [
        [label, f"{peak_formula(Case(), 'objective'):,}" if step == "objective" else "", f"{size:,}", ""]
        for step, label in words.group("penalised").items()
        for size in (_section_peak(observations, step),)
    ]
    peak_heads = (
        words["heads.step"], words["heads.predicted"], words["heads.measured"],
        words["heads.it-temporary"],
    )  # fmt: skip
    depth_rows = [
        [str(row["depth"]), f"{row['prediction']:,}", f"{row['training']:,}"]
        for row in observations.rows("depths")
    ]
    depth_heads = (
        words["heads.hidden-layers"], words["heads.prediction-at-once"],
        words["heads.training-kept"],
    )  # fmt: skip
    return [
        Table(title, heads, rows),
        Table(words["titles.most-bytes-at-once"], peak_heads, whole),
        Table(
            words["titles.bytes-activations-by-depth-measured"],
            depth_heads,
            depth_rows,
        ),
    ]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """What each kind of step holds at its peak, by role, with ticks for what was measured; and a step as it goes on."""
    alt = import_extra("altair", what="A figure", extra="book")
    rows = [
        {"step": words.group("steps")[step]} | row
        for step in STEPS
        for row in _by_role(use(step).at_peak, words)
    ]
    marks = [
        {"step": words.group("steps")[step], "MiB": size / 2**20}
        for step, size in zip(observations["peaks"]["step"], observations["peaks"]["bytes"], strict=True)
    ]
    line = use("momentum").timeline
    flow = [{"operation": i} | row for i, held in enumerate(line) for row in _by_role(held, words)]
    names = list(words.group("names").values())
    colour = alt.Color(
        "part:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[COLOURS[role] for role in NAMES]),
        title=None,
        legend=alt.Legend(labelLimit=260),
    )
    amount = words["labels.memory-mib"]
    y = alt.Y("step:N", sort=list(words.group("steps").values()), title=None)
    bars = (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar(size=24)
        .encode(
            x=alt.X("MiB:Q", title=amount),
            y=y,
            color=colour,
            order="order:Q",
            tooltip=["step:N", "part:N", alt.Tooltip("MiB:Q", format=".3f")],
        )
    )
    ticks = alt.Chart(pd.DataFrame(marks)).mark_tick(color=plots.INK, thickness=2.5, size=34)
    peaks = bars + ticks.encode(x="MiB:Q", y=y)
    areas = (
        alt.Chart(pd.DataFrame(flow))
        .mark_area(interpolate="step-after")
        .encode(
            x=alt.X(
                "operation:Q",
                scale=alt.Scale(nice=False, domain=[0, len(line) - 1]),
                title=words["titles.operation-step"],
            ),
            y=alt.Y("MiB:Q", stack="zero", title=amount),
            color=colour,
            order="order:Q",
        )
    )
    what = f"{'-'.join(map(str, SIZES))}, B = {BATCH}, float32"
    heads = (
        words("heads.at-peak", what=what),
        words["heads.training-step-with-momentum-as"],
    )
    under = (
        words["heads.bars-predicted-from-shapes-ticks"],
        words["heads.predicted-from-shapes"],
    )
    titles = [
        alt.TitleParams(head, subtitle=note, anchor="start") for head, note in zip(heads, under, strict=True)
    ]
    return alt.vconcat(
        peaks.properties(title=titles[0], width=470, height=alt.Step(38)),
        areas.properties(title=titles[1], width=470, height=170),
    )


def _by_role(held: Mapping[Any, int], words: WordList) -> list[dict[str, Any]]:
    return [
        {"part": label, "order": order, "MiB": held.get(role, 0) / 2**20}
        for order, (role, label) in enumerate(words.group("names").items())
    ]


def expected(seen: Observations) -> dict[str, tuple[float, float]]:
    """To the byte: what autograd keeps and the gradients, as measured on the section's network."""
    terms = seen["terms"]
    of_case = terms[terms["case"] == CASES.index(Case())].set_index("term")["bytes"]
    names = {"parameter_bytes": "parameter", "kept_bytes": "saved", "gradient_bytes": "gradient"}
    exact = {name: (float(of_case[term]), float(of_case[term])) for name, term in names.items()}
    peaks = {"prediction_peak": "prediction", "training_peak": "objective"}
    whole = {name: float(peak_formula(Case(), step)) for name, step in peaks.items()}
    return exact | {name: (value, value) for name, value in whole.items()}


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="every-term-to-the-byte",
            kind="property",
            check=are_terms,
            subject=lambda o: (o["terms"], reckoned),
            falsehood=lambda o: (o["terms"], lambda case: reckoned(case, keeps_z=True)),
        ),
        Claim(
            name="peaks-as-predicted",
            kind="calculation",
            check=are_peaks,
            subject=lambda o: (o["peaks"], BATCH),
            falsehood=lambda o: (o["peaks"], BATCH - 1),
        ),
        Claim(
            name="peaks-follow-the-formula",
            kind="property",
            check=follow_formula,
            subject=lambda o: (o["formulas"], peak_formula),
            falsehood=lambda o: (o["formulas"], without_penalty),
        ),
        Claim(
            name="prediction-holds-two-neighbours",
            kind="calculation",
            check=is_prediction,
            subject=lambda o: (o["depths"], two_neighbours),
            falsehood=lambda o: (o["depths"], all_tensors),
        ),
        Claim(
            name="training-keeps-every-layer",
            kind="calculation",
            check=grows_by_layer,
            subject=lambda o: o["depths"].set_index("depth")["training"],
            falsehood=lambda o: o["depths"].set_index("depth")["prediction"],
        ),
    ),
    circulated=(
        Circulated(
            "training-needs-x-z-h",
            {"holds": "incomplete", "fails": "unsupported", "undecided": "unsupported"},
            by="every-term-to-the-byte",
        ),
        Circulated(
            "prediction-needs-x-z-h",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="prediction-holds-two-neighbours",
        ),
        Circulated(
            "sum-of-the-list",
            {"holds": "incomplete", "fails": "unsupported", "undecided": "unsupported"},
            by="every-term-to-the-byte",
            source="datawhale",
        ),
        Circulated(
            "prediction-without-gradients",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="prediction-holds-two-neighbours",
            source="datawhale",
        ),
        Circulated(
            "outputs-of-all-layers",
            {"holds": "incomplete", "fails": "unsupported", "undecided": "unsupported"},
            by="every-term-to-the-byte",
            source="pandalabme",
        ),
    ),
    figure=figure,
    tables=tables,
    facts=facts,
    expected=expected,
)
