"""4.7.5 A graph too large for one GPU: how to split it, and how that compares with a smaller minibatch.

Splits are compared by the gradient that they compute, on one process and on two real ones; by what they hold and send;
and by how long they wait. The variance that a smaller minibatch adds is measured on images.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mlplab.analysis.parallelism import compare_parallelism, gradient_errors, gradient_variance
from mlplab.analysis.partition import partition
from mlplab.analysis.pipeline import pipeline_step
from mlplab.analysis.schedule import ScheduleName, bubble_fraction, simulate
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent
from mlplab.answers.words import Note
from mlplab.charts import plots, show
from mlplab.errors import InvalidInput, import_extra
from mlplab.rng import Stream
from mlplab.stats import mean_interval, prediction_interval

if TYPE_CHECKING:
    import altair

ROUNDING, ROUNDING_32 = 1e-12, 1e-5  # relative, in float64 and float32
SECTION, BATCH, WIDTH = (784, 256, 10), 256, 256
DEEP = (784, *[256] * 12, 10)  # a network whose state can be shared out among 4 devices
DEVICES, MICROBATCHES = 4, 16
PIPELINE = {"processes": 2, "microbatches": 4}
MARGIN = 0.05  # of a slope on double logarithmic axes
LOSS = nn.CrossEntropyLoss()


def network(sizes: tuple[int, ...], seed: int, *, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """ReLU between linear layers; weights from N(0, 2/inputs), small biases."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        linear, stream = nn.Linear(inputs, outputs), Stream(seed, "init", layer=number)
        linear.weight.data = torch.from_numpy((2 / inputs) ** 0.5 * stream.normal((outputs, inputs)))
        linear.bias.data = torch.from_numpy(0.1 * stream.normal(outputs))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(dtype)


def drawn(sizes: tuple[int, ...], number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs from N(0, 1) and random labels."""
    stream = Stream(seed, "data")
    x = torch.from_numpy(stream.normal((number, sizes[0])))
    return x, torch.from_numpy(stream.normal((number, sizes[-1]))).argmax(1)


def gradient(parameters: Iterable[Tensor], loss: Tensor) -> Tensor:
    """One vector."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters))])


# What is observed


def observe(lab: Lab) -> Observations:
    """A pipeline on two processes; memory by strategy; the variance of gradients of several batch sizes."""
    seeds = lab.seeds(quick=6, full=20)
    dataset = lab.use(lab.dataset("fashion-mnist", embedded="mnist-5k"))
    x, y = torch.from_numpy(dataset.train.features).float(), torch.from_numpy(dataset.train.targets).long()
    population, batches = lab.choose(quick=100, full=500), lab.choose(quick=50, full=100)
    return lab.observations(
        processes=pd.DataFrame(on_two_processes(lab)),
        strategies=pd.DataFrame(strategies()),
        variances=pd.DataFrame(row for seed in seeds for row in variances(x, y, seed, population, batches)),
    )


def variances(x: Tensor, y: Tensor, seed: int, population: int, batches: int) -> list[dict[str, Any]]:
    """Of the section's network at its start, on images that this seed draws."""
    at = torch.from_numpy(Stream(seed, "split").permutation(len(x))[:population])
    model = network((x.shape[1], *SECTION[1:]), seed, dtype=torch.float32)
    rows = []
    for size in (1, 4, 16, 64):
        found = gradient_variance(model, x[at], y[at], LOSS, size, num_batches=batches, seed=seed)
        row = {"measured": found.measured.estimate, "expected": found.expected}
        rows.append({"seed": seed, "batch_size": size} | {k: float(f"{v:.6g}") for k, v in row.items()})
    return rows


def strategies() -> list[dict[str, Any]]:
    """Memory, messages and idle time of a step of the deep network; the numbers in its tensors do not matter."""
    model, (x, y) = network(DEEP, 0, dtype=torch.float32), drawn(DEEP, BATCH, 0)
    found = compare_parallelism(
        model,
        x.float(),
        y,
        LOSS,
        batch_size=BATCH,
        num_devices=DEVICES,
        num_microbatches=MICROBATCHES,
        num_batches=2,
    )
    names = ("name", "devices", "examples", "state_bytes", "activation_bytes", "communication_bytes", "idle")
    return [{name: getattr(s, name) for name in names} for s in found.strategies]


def on_two_processes(lab: Lab) -> list[dict[str, Any]]:
    """What each process did in a step of the section's network; nothing where no group of processes can be made."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        count = PIPELINE["processes"]
        started = [context.Process(target=_stage, args=(rank, folder), daemon=True) for rank in range(count)]
        for process in started:
            process.start()
        for process in started:
            process.join(timeout=120)
        files = [Path(folder) / f"{rank}.json" for rank in range(count)]
        if all(file.is_file() for file in files):
            return [row for file in files for row in json.loads(file.read_text("utf-8"))]
    lab.notes.append(Note("notes.no_group"))
    return []


def _stage(rank: int, folder: str) -> None:
    """In a process of its own: one step by each schedule, and one whose micro-batches are summed, not averaged."""
    torch.set_num_threads(1)
    place = f"file://{Path(folder) / 'group'}"
    torch.distributed.init_process_group(
        "gloo", init_method=place, rank=rank, world_size=PIPELINE["processes"]
    )
    model = network(SECTION, 0, dtype=torch.float32)
    x, y = drawn(SECTION, BATCH, 0)
    x = x.float()
    slopes_ = torch.autograd.grad(LOSS(model(x), y), list(model.parameters()))
    expected = dict(zip(model.parameters(), slopes_, strict=True))
    split = partition(model, PIPELINE["processes"], x, by="memory", num_microbatches=PIPELINE["microbatches"])
    rows = []
    tried: tuple[tuple[ScheduleName, Literal["mean", "sum"]], ...]
    tried = (("gpipe", "mean"), ("1f1b", "mean"), ("gpipe", "sum"))
    for schedule, reduction in tried:
        model.zero_grad()
        step: Any = None
        try:
            step = pipeline_step(
                split, x, y, LOSS, PIPELINE["microbatches"], schedule=schedule, reduction=reduction
            )
        except InvalidInput:  # a sum was announced: the gradients are as they would be, and wrong
            assert reduction == "sum"
        own = list(split.stages[rank].parameters())
        size = max(float(expected[p].abs().max()) for p in own)
        error = max(float((p.grad - expected[p]).abs().max()) for p in own if p.grad is not None)
        rows.append(
            {
                "schedule": schedule, "reduction": reduction, "stage": rank, "error": error / size,
                "sent_bytes": step.sent_bytes if step else None, "held": step.peak_microbatches if step else None,
            }
        )  # fmt: skip
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    (Path(folder) / f"{rank}.json").write_text(json.dumps(rows), "utf-8")


# Checks

Error = Callable[[nn.Sequential, Tensor, Tensor], float]


def by_strategy(name: str) -> Error:
    """Of a strategy of `mlplab.analysis.parallelism`: ‖g - g₁‖/‖g₁‖ against one device and one pass."""

    def error(model: nn.Sequential, x: Tensor, y: Tensor) -> float:
        errors = gradient_errors(
            model, x, y, LOSS, boundaries=(0, 2, len(model)), num_workers=2, num_microbatches=4
        )
        return errors[name]

    return error


def _against_whole(model: nn.Sequential, x: Tensor, y: Tensor, found: Tensor) -> float:
    whole = gradient(model.parameters(), LOSS(model(x), y))
    return float((found - whole).norm() / whole.norm())


def tensor_split(model: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """Two devices, each with half of the hidden units: rows of W₁ and columns of W₂. The halves of o are added."""
    (w, b), (v, c) = _weights(model)
    halves = zip(w.chunk(2), b.chunk(2), v.chunk(2, dim=1), strict=True)
    o = sum((torch.relu(x @ w_k.T + b_k) @ v_k.T for w_k, b_k, v_k in halves), c)
    return _against_whole(model, x, y, gradient(model.parameters(), LOSS(o, y)))


def summed_after_activation(model: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """Two devices, each with half of the inputs: their halves of z are added only behind the activation."""
    (w, b), (v, c) = _weights(model)
    halves = zip(x.chunk(2, dim=1), w.chunk(2, dim=1), strict=True)
    h = torch.stack([torch.relu(x_k @ w_k.T + b / 2) for x_k, w_k in halves]).sum(0)
    return _against_whole(model, x, y, gradient(model.parameters(), LOSS(h @ v.T + c, y)))


def _weights(model: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    return [(layer.weight, layer.bias) for layer in model if isinstance(layer, nn.Linear)]


def smaller_batch(model: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """Half of the batch, and no more."""
    half = len(x) // 2
    return _against_whole(model, x, y, gradient(model.parameters(), LOSS(model(x[:half]), y[:half])))


def compute_the_same(errors: tuple[Error, ...]) -> Finding:
    """Random networks with one hidden layer, float64: is the gradient that of one device and one pass?"""
    worst, tries = 0.0, 0
    for seed, sizes in enumerate(((6, 8, 3), (20, 10, 5), (3, 40, 2), (12, 12, 12))):
        model, (x, y) = network(sizes, seed), drawn(sizes, 16, seed)
        for error in errors:
            worst, tries = max(worst, error(model, x, y)), tries + 1
    return Finding.true_if(worst < ROUNDING, f"{worst:.2g}", worst_error=worst, tries=tries)


def equal_one_process(rows: pd.DataFrame) -> Finding:
    """Two processes, each with a stage: are the gradients those of one process?"""
    if rows.empty:
        return Finding("undecided", detail="the pipeline was not run")
    worst = float(rows["error"].max())
    return Finding.true_if(worst < ROUNDING_32, f"{worst:.2g}", worst_error=worst)


def is_sent(subject: tuple[pd.DataFrame, int]) -> Finding:
    """Did each process send these bytes in a step?"""
    rows, expected = subject
    if rows.empty:
        return Finding("undecided", detail="the pipeline was not run")
    found = rows["sent_bytes"].astype(int).unique().tolist()
    return Finding.true_if(found == [expected], f"sent {found}, expected {expected}", sent=found[0])


def waits(share: Callable[[int, int], Fraction]) -> Finding:
    """Up to 8 stages and 32 micro-batches, both schedules, in exact fractions: is this the idle share of the time?"""
    wrong, tries = 0, 0
    for stages, microbatches, schedule in itertools.product(
        range(1, 9), (1, 2, 3, 4, 8, 16, 32), ("gpipe", "1f1b")
    ):
        timeline = simulate([1] * stages, [2] * stages, microbatches, schedule=schedule)
        wrong, tries = wrong + (timeline.bubble != share(stages, microbatches)), tries + 1
    return Finding.true_if(not wrong, f"{wrong} of {tries} differ", tries=tries)


def cuts_only_activations(row: dict[str, Any]) -> Finding:
    """Beside the whole batch on one device: the same state, and activations in proportion to the examples?"""
    state, activations = (
        row["state_bytes"] / row["whole_state"],
        row["activation_bytes"] / row["whole_activations"],
    )
    share = row["examples"] / BATCH
    right = state == 1 and abs(activations / share - 1) < 1e-9
    return Finding.true_if(
        right, f"state × {state:.3g}, activations × {activations:.3g}", activations=activations
    )


def strategy(observations: Observations, name: str) -> dict[str, Any]:
    """A row of the strategies, with what one device holds beside it."""
    rows = {row["name"]: row for row in observations.rows("strategies")}
    whole = rows["one device"]
    return rows[name] | {"whole_state": whole["state_bytes"], "whole_activations": whole["activation_bytes"]}


def slopes(observations: Observations) -> np.ndarray:
    """Of log variance against log B, one for each seed."""
    return np.array(
        [
            np.polyfit(np.log(rows["batch_size"]), np.log(rows["measured"]), 1)[0]
            for _, rows in observations["variances"].groupby("seed")
        ]
    )


def ran(observations: Observations, reduction: str) -> pd.DataFrame:
    """The steps of the pipeline whose micro-batches were averaged, or summed."""
    rows = observations["processes"]
    return rows if rows.empty else rows[rows["reduction"] == reduction]


# What is shown


def parameters(sizes: tuple[int, ...]) -> int:
    """Of a network with biases."""
    return sum((m + 1) * n for m, n in itertools.pairwise(sizes))


def facts(observations: Observations) -> dict[str, Any]:
    """Bytes and shares that sentences quote."""
    fullest, smaller, whole = (
        strategy(observations, n) for n in ("pipeline, 1F1B", "smaller batch", "one device")
    )
    return {
        "devices": DEVICES,
        "microbatches": MICROBATCHES,
        "batch": BATCH,
        "small": BATCH // DEVICES,
        "layers": len(DEEP) - 2,
        "state": whole["state_bytes"],
        "activations": whole["activation_bytes"],
        "stage_state": fullest["state_bytes"],
        "small_activations": smaller["activation_bytes"],
        "checkpointed": strategy(observations, "activation checkpointing")["activation_bytes"],
        "accumulated": strategy(observations, "gradient accumulation")["activation_bytes"],
        "idle": float(bubble_fraction(DEVICES, MICROBATCHES)),
        "idle_few": float(bubble_fraction(DEVICES, DEVICES)),
        "pipeline_bytes": fullest["communication_bytes"],
        "data_parallel_bytes": strategy(observations, "data parallel")["communication_bytes"],
        "seeds": observations["variances"]["seed"].nunique(),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Strategies; the pipeline on two processes; bubbles."""
    rows = [
        [
            words.group("names")[row["name"]], f"{row['devices']} × {row['examples']}",
            *(show.number(row[f"{what}_bytes"] / 2**20) for what in ("state", "activation", "communication")),
            show.percent(row["idle"], 1),
        ]
        for row in observations.rows("strategies")
    ]  # fmt: skip
    heads = (
        words["heads.strategy"], words["heads.devices-and-examples"],
        words["heads.state"], words["heads.activations"],
        words["heads.sent"], words["heads.idle"],
    )  # fmt: skip
    title = words("titles.a-step-by-strategy", deep=len(DEEP) - 2, batch=BATCH)
    names = {"gpipe": "GPipe", "1f1b": "1F1B"}
    ran_rows = [
        [names[row["schedule"]], str(row["stage"] + 1), show.number(row["error"], 2), f"{int(row['sent_bytes']):,}",
         str(int(row["held"]))]
        for row in ran(observations, "mean").to_dict("records")
    ]  # fmt: skip
    ran_heads = (
        words["heads.schedule"], words["heads.stage"], words["heads.gradient-error"],
        words["heads.sent-bytes"], words["heads.held"],
    )  # fmt: skip
    bubbles = [
        [str(k), *(show.percent(float(bubble_fraction(k, m)), 1) for m in (k, 16, 32))] for k in (2, 4, 8)
    ]
    bubble_heads = (
        words["heads.stages"], words["heads.as-many-micro-batches"],
        words["heads.micro-batches-16"], words["heads.micro-batches-32"],
    )  # fmt: skip
    found = [Table(title, heads, rows)]
    if ran_rows:
        what = words("labels.on-two-processes", batch=BATCH, microbatches=PIPELINE["microbatches"])
        found.append(Table(what, ran_heads, ran_rows))
    idle = words["labels.idle-percent"]
    return [*found, Table(idle, bubble_heads, bubbles)]


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Memory by strategy; below, what a smaller batch costs in variance, and a pipeline in waiting."""
    alt = import_extra("altair", what="A figure", extra="book")
    parts = {
        "state_bytes": words["labels.state"],
        "activation_bytes": words["labels.activations"],
    }
    held = pd.DataFrame(
        [
            {
                "strategy": words.group("names")[row["name"]],
                "part": label,
                "MiB": row[part] / 2**20,
                "order": i,
            }
            for row in observations.rows("strategies")
            for i, (part, label) in enumerate(parts.items())
        ]
    )
    colours = alt.Scale(domain=list(parts.values()), range=[plots.PALETTE[0], plots.PALETTE[4]])
    title = words("titles.memory-by-strategy", devices=DEVICES)
    memory = (
        alt.Chart(held, width=430, height=alt.Step(24), title=title)
        .mark_bar()
        .encode(
            x=alt.X("MiB:Q", title=words["titles.memory"]),
            y=alt.Y("strategy:N", sort=list(words.group("names").values()), title=None),
            color=alt.Color("part:N", scale=colours, title=None),
            order="order:Q",
        )
    )
    below = alt.hconcat(_variance(alt, observations, words), _bubble(alt, words))
    charts = (memory, below.resolve_scale(color="independent", strokeDash="independent"))
    return alt.vconcat(*charts).resolve_scale(color="independent", strokeDash="independent")


def _variance(alt: Any, observations: Observations, words: WordList) -> Any:
    rows = []
    for size, group in observations["variances"].groupby("batch_size"):
        found = mean_interval(group["measured"].to_numpy(dtype=float))
        rows.append(
            {"B": size, "mean": found.estimate, "low": found.ci_low, "high": found.ci_high}
            | {"expected": group["expected"].mean()}
        )
    table = pd.DataFrame(rows)
    seeds = observations["variances"]["seed"].nunique()
    note = words("labels.points-and-line", seeds=seeds)
    head = words["labels.variance-by-batch"]
    base = alt.Chart(
        table, width=215, height=170,
        title=alt.TitleParams(head, subtitle=note, anchor="start"),
    )  # fmt: skip
    x = alt.X(
        "B:Q", scale=alt.Scale(type="log", base=4), axis=alt.Axis(values=list(table["B"]), format="d"),
        title=words["titles.batch-size"],
    )  # fmt: skip
    scale = alt.Scale(type="log", nice=False, domain=[0.8 * table["mean"].min(), 1.25 * table["mean"].max()])
    y = alt.Y("mean:Q", scale=scale, axis=alt.Axis(tickCount=4, format="~g"), title="E‖g − G‖²")
    ink = plots.PALETTE[1]
    return (
        base.mark_line(color=plots.GREY).encode(x=x, y=alt.Y("expected:Q", scale=scale))
        + base.mark_rule(color=ink, strokeWidth=2).encode(x=x, y=alt.Y("low:Q"), y2="high:Q")
        + base.mark_point(color=ink, filled=True, size=55, opacity=1).encode(x=x, y=y)
    )


def _bubble(alt: Any, words: WordList) -> Any:
    rows = pd.DataFrame(
        [
            {"M": m, "idle": float(bubble_fraction(k, m)), "K": f"K = {k}"}
            for k in (2, 4, 8)
            for m in (1, 2, 4, 8, 16, 32, 64)
        ]
    )
    title = alt.TitleParams(
        words["labels.waiting"],
        subtitle="(K − 1)/(M + K − 1)",
        anchor="start",
    )
    names = list(dict.fromkeys(rows["K"]))
    return (
        alt.Chart(rows, width=215, height=170, title=title)
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "M:Q",
                scale=alt.Scale(type="log", base=2),
                title=words["titles.micro-batches"],
            ),
            y=alt.Y("idle:Q", axis=alt.Axis(format="%"), title=words["titles.idle-share"]),
            color=alt.Color("K:N", scale=plots.colour_scale(alt, names), title=None),
            strokeDash=alt.StrokeDash("K:N", scale=plots.dash_scale(alt, names), title=None),
        )
    )


def expected(seen: Observations) -> dict[str, tuple[float, float]]:
    """The slope of the variance against B of one more start, and rounding between the splits and one device."""
    return {"slope": prediction_interval(slopes(seen), num_new=1), "largest_difference": (0, ROUNDING_32)}


ANSWER = Answer(
    observe=observe,
    takes=("data", "seeds"),
    claims=(
        Claim(
            name="splits-compute-the-same",
            kind="property",
            check=compute_the_same,
            subject=lambda o: (by_strategy("pipeline"), tensor_split, by_strategy("data parallel")),
            falsehood=lambda o: (summed_after_activation,),
        ),
        Claim(
            name="two-processes-equal-one",
            kind="calculation",
            check=equal_one_process,
            subject=lambda o: ran(o, "mean"),
            falsehood=lambda o: ran(o, "sum"),  # micro-batches added up, not averaged
        ),
        Claim(
            name="a-pipeline-sends-activations",
            kind="calculation",
            check=is_sent,
            subject=lambda o: (ran(o, "mean"), 4 * BATCH * WIDTH),
            falsehood=lambda o: (
                ran(o, "mean"),
                4 * parameters(SECTION),
            ),  # what data parallel training sends
        ),
        Claim(
            name="a-pipeline-waits",
            kind="calculation",
            check=waits,
            subject=lambda o: bubble_fraction,
            falsehood=lambda o: lambda k, m: Fraction(k - 1, m),  # idle time over working time
        ),
        Claim(
            name="a-smaller-batch-cuts-only-activations",
            kind="calculation",
            check=cuts_only_activations,
            subject=lambda o: strategy(o, "smaller batch"),
            falsehood=lambda o: strategy(o, "pipeline, 1F1B"),
        ),
        Claim(
            name="variance-goes-as-one-over-b",
            kind="experiment",
            figures={"margin": MARGIN},
            check=equivalent(-1, margin=MARGIN, numbers={}),
            subject=slopes,
            falsehood=lambda o: recentred(slopes(o), -0.5),  # the standard deviation
        ),
        Claim(
            name="accumulation-and-checkpointing-are-exact",
            kind="property",
            check=compute_the_same,
            subject=lambda o: (by_strategy("gradient accumulation"), by_strategy("activation checkpointing")),
            falsehood=lambda o: (smaller_batch,),
        ),
    ),
    circulated=(
        Circulated(
            "messages-by-mpi",
            "incomplete",
        ),
        Circulated(
            "clusters-against-minibatches",
            "misread",
        ),
        Circulated(
            "three-ways",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="splits-compute-the-same",
            source="datawhale",
        ),
        Circulated("larger-models-or-faster", "misread", source="datawhale"),
        Circulated(
            "accumulation-instead",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="accumulation-and-checkpointing-are-exact",
            source="pandalabme",
        ),
        Circulated(
            "a-smaller-batch-makes-it-fit",
            {"holds": "half-right", "fails": "unsupported", "undecided": "unsupported"},
            by="a-smaller-batch-cuts-only-activations",
            source="pandalabme",
        ),
        Circulated("small-batches-overfit", "unsupported", source="pandalabme"),
    ),
    figure=figure,
    tables=tables,
    facts=facts,
    expected=expected,
    vary="--seeds 12",
)
