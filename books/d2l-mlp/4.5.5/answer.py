"""4.5.5 What else helps against overfitting, beside weight decay, more data and a model of the right size?

One problem with few images, one network, as many updates for every remedy. Each remedy's strength is chosen on
validation images, then compared with no remedy on draws of the images that nothing was chosen on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.answers.checks import beats, greater
from mlplab.charts import plots, show
from mlplab.data import Dataset, Part
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Run, Setting
from mlplab.stats import Comparison, compare_arms, mean_interval, prediction_interval
from mlplab.study import Arm, Results, Study

from .. import chapter

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here.
MARGIN = 0.003
# Nor do differences in test loss of less than 0.01 nats, some 1 % of the loss without a remedy.
LOSS_MARGIN = 0.01
METRIC = "test_accuracy"
# Augmentation trains on an image and so many shifted copies; the comparison with more data takes as much more.
COPIES, MORE = 4, 4
MEMBERS = 5
FIRST_MEMBER_SEED = 20_000

Change = Callable[[Dataset], Dataset]


@dataclass(frozen=True)
class Option:
    """A remedy at one strength: knobs that are turned, or the data that are changed, `times` as many to train on."""

    strength: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    change: Change | None = None
    times: int = 1


def shifted(pixels: int) -> Change:
    """Adds to each training image COPIES of it, shifted by up to so many pixels in either direction."""

    def change(data: Dataset) -> Dataset:
        height, width = data.feature_shape
        images = data.train.features.reshape(-1, height, width)
        padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels)))
        parts = [images]
        for copy in range(COPIES):
            uniform = Stream(copy, "data", layer=pixels).uniform((len(images), 2))
            places = (uniform * (2 * pixels + 1)).astype(int)
            moved = [p[y : y + height, x : x + width] for p, (y, x) in zip(padded, places, strict=True)]
            parts.append(np.stack(moved))
        features = np.concatenate(parts).reshape(-1, height * width)
        train = Part(np.ascontiguousarray(features), np.tile(data.train.targets, COPIES + 1))
        return dataclasses.replace(data, train=train, fingerprint="")

    return change


def projected(components: int) -> Change:
    """Replaces images by their coordinates along the first principal components of the training images."""

    def change(data: Dataset) -> Dataset:
        mean = data.train.features.mean(0)
        axes = np.linalg.svd(data.train.features - mean, full_matrices=False)[2][:components]
        parts = {
            name: Part(((part.features - mean) @ axes.T).astype(np.float32), part.targets)
            for name, part in data.parts.items()
        }
        return dataclasses.replace(data, **parts, feature_shape=(len(axes),), fingerprint="")

    return change


REMEDIES: dict[str, tuple[Option, ...]] = {
    "early_stopping": tuple(Option(f"patience {n}", {"patience": n}) for n in (2, 5, 15)),
    "augmentation": tuple(Option(f"±{n} px", change=shifted(n), times=COPIES + 1) for n in (1, 2, 3)),
    "label_smoothing": tuple(Option(f"{s:g}", {"label_smoothing": s}) for s in (0.05, 0.1, 0.3)),
    "dropout": tuple(Option(f"p = {p:g}", {"dropout": (p,)}) for p in (0.2, 0.5, 0.8)),
    "pca": tuple(Option(f"{k} components", change=projected(k)) for k in (20, 50, 150)),
    "weight_decay": tuple(Option(f"λ = {w:g}", {"weight_decay": w}) for w in (1e-3, 3e-3, 1e-2)),
    "smaller_net": tuple(Option(f"{n} units", {"hidden_sizes": (n,)}) for n in (16, 32, 64)),
}
NAMES = (*REMEDIES, "ensemble", "more_data", "none")
# What the question asks for, and what it names itself.
ASKED = ("early_stopping", "augmentation", "ensemble", "label_smoothing", "dropout", "pca")
NAMED = ("weight_decay", "smaller_net", "more_data")


def observe(lab: Lab) -> Observations:
    """Choose the strength of each remedy; train all on fresh draws of the images."""
    dataset = lab.dataset("fashion-mnist", embedded="digits")
    # 20 updates an epoch, whatever the number of images.
    num = 1_000 if dataset.name != "digits" else 200
    base = turn(
        chapter.MLP_SETTING, batch_size=num // 20, epochs=lab.choose(quick=40, full=100), evaluate_every=1
    )
    # Taken: with more to train on there are fewer epochs, and one remedy is a smaller network.
    taken = {name: lab.take(name, base) for name in ("epochs", "hidden_sizes")}
    base = lab.setting(turn(base, **taken))
    first, count = chapter.FIRST_TUNING_SEED, lab.choose(quick=1, full=3)
    every = lab.choose(quick=slice(0, 3, 2), full=slice(None))
    options = {name: options[every] for name, options in REMEDIES.items()}
    chosen, tried = {}, []
    for name, of_remedy in options.items():
        found = [
            run_option(lab, base, option, dataset, num, range(first, first + count)) for option in of_remedy
        ]
        # Of plain numbers: a strength of which a run diverged has no mean, and is not chosen.
        means = [float(results.frame["validation_accuracy"].to_numpy().mean()) for results in found]
        best = int(np.nanargmax(means))
        chosen[name] = of_remedy[best]
        tried += [
            {"remedy": name, "strength": option.strength, "validation_accuracy": mean, "chosen": i == best}
            for i, (option, mean) in enumerate(zip(of_remedy, means, strict=True))
        ]
    seeds = lab.seeds(quick=4, full=20)
    frames = [
        run_option(lab, base, option, dataset, num, seeds).frame.assign(arm=name)
        for name, option in {"none": Option(""), **chosen}.items()
    ]
    more = Option("", times=MORE)
    frames.append(run_option(lab, base, more, dataset, MORE * num, seeds).frame.assign(arm="more_data"))
    smoothing = pd.DataFrame(
        [smoothing_row(base, drawn(dataset, num, seed), chosen["label_smoothing"], seed) for seed in seeds]
    )
    frames.append(pd.DataFrame([ensemble_row(base, drawn(dataset, num, seed), seed) for seed in seeds]))
    # What sets arms apart is in the table of what was tried: knobs are no columns of the runs.
    columns = [
        "arm",
        "seed",
        "status",
        "train_accuracy",
        "validation_accuracy",
        "test_accuracy",
        "test_loss",
        "seconds",
    ]
    runs = pd.concat(frames)[columns]
    given = pd.DataFrame([{"num_images": num, "num_tuning": count}])
    return lab.observations(runs=runs, tried=pd.DataFrame(tried), given=given, smoothing=smoothing)


def drawn(dataset: Dataset, num: int, seed: int) -> Dataset:
    """A problem of few images: `num` training images and as many for validation (or all), drawn by the seed.

    A larger draw of one seed contains the smaller. Test images are all that there are.
    """
    order = Stream(seed, "split").permutation(dataset.train.num_examples)[:num]
    rows = Stream(seed, "split", layer=1).permutation(dataset.validation.num_examples)[:1_000]
    train, validation = (
        Part(part.features[rows], part.targets[rows])
        for part, rows in ((dataset.train, order), (dataset.validation, rows))
    )
    return dataclasses.replace(dataset, train=train, validation=validation, fingerprint="")


def run_option(
    lab: Lab, base: Setting, option: Option, dataset: Dataset, num: int, seeds: Sequence[int]
) -> Results:
    """Train one remedy at one strength: with more to train on, fewer epochs, so that updates stay as many."""
    setting = turn(base, **option.knobs, epochs=max(1, base.training.epochs // option.times))

    def data(seed: int) -> Dataset:
        problem = drawn(dataset, num, seed)
        return option.change(problem) if option.change else problem

    return lab.run(Study([Arm(option.strength or "plain", setting)], seeds, data))


def ensemble_row(base: Setting, problem: Dataset, seed: int) -> dict[str, Any]:
    """Test accuracy of the mean prediction of MEMBERS networks with starts and orders of their own."""
    members = [seed, *(FIRST_MEMBER_SEED + MEMBERS * seed + i for i in range(1, MEMBERS))]
    runs = [Run(base, problem.fingerprint, member) for member in members]
    ends = [end for end in train(runs, problem) if isinstance(end, Result)]
    row = {"arm": "ensemble", "seed": seed, "seconds": sum(end.seconds for end in ends)}
    if any(end.status == "diverged" for end in ends):
        return row | {"status": "diverged"}
    means = {name: mean_outputs(ends, part.features) for name, part in problem.parts.items()}
    for name, part in problem.parts.items():
        row[f"{name}_accuracy"] = float((means[name].argmax(1) == part.targets).mean())
    assert problem.test is not None
    right = means["test"][np.arange(len(problem.test.targets)), problem.test.targets]
    return row | {"status": "finished", "test_loss": float(-np.log(right).mean())}


def smoothing_row(base: Setting, problem: Dataset, option: Option, seed: int) -> dict[str, Any]:
    """Of a network trained on smoothed targets: its accuracy and its mean confidence on test images.

    Confidence is the probability of the class that is named.
    """
    run = Run(turn(base, **option.knobs), problem.fingerprint, seed)
    (end,) = [end for end in train([run], problem) if isinstance(end, Result)]
    row: dict[str, Any] = {"strength": option.strength, "seed": seed, "status": end.status}
    if end.status == "diverged":
        return row
    assert problem.test is not None
    outputs = mean_outputs([end], problem.test.features)
    return row | {
        "confidence": float(outputs.max(1).mean()),
        "test_accuracy": float((outputs.argmax(1) == problem.test.targets).mean()),
    }


def mean_outputs(ends: Sequence[Result], features: np.ndarray) -> np.ndarray:
    """Mean probability of each class over ReLU networks: (example, class)."""
    outputs = []
    for end in ends:
        x = torch.from_numpy(features)
        for weight, bias in end.parameters[:-1]:
            x = torch.relu(x @ torch.from_numpy(weight).T + torch.from_numpy(bias))
        weight, bias = end.parameters[-1]
        outputs.append(torch.softmax(x @ torch.from_numpy(weight).T + torch.from_numpy(bias), 1))
    return torch.stack(outputs).mean(0).numpy()


def accuracies(observations: Observations) -> dict[str, np.ndarray]:
    """Test accuracy of every arm, by seed."""
    return {name: observations.runs.values(METRIC, name) for name in NAMES}


def comparisons(values: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    """Every remedy against none, at the level that Holm sets over all of them."""
    return compare_arms(values, "none", claim="greater", margin=MARGIN)


def quality(observations: Observations) -> dict[str, np.ndarray]:
    """Minus the test loss to the labels themselves, of every arm, by seed: more is better."""
    return {name: -observations.runs.values("test_loss", name) for name in NAMES}


def loss_comparisons(observations: Observations) -> dict[str, Comparison]:
    """How much every remedy lowers the test loss, at the level that Holm sets over all of them."""
    return compare_arms(quality(observations), "none", claim="greater", margin=LOSS_MARGIN)


def smoothing_gap(observations: Observations) -> np.ndarray:
    """Test accuracy less mean confidence of the networks trained on smoothed labels, by seed."""
    table = observations["smoothing"]
    return (table["test_accuracy"] - table["confidence"]).to_numpy(dtype=float)


def at_edge(observations: Observations) -> list[str]:
    """The remedies of which the weakest or the strongest value that was tried was chosen."""
    found = []
    for remedy, tried in observations["tried"].groupby("remedy", sort=False):
        chosen = tried["chosen"].to_numpy(dtype=bool)
        if chosen[0] or chosen[-1]:
            found.append(str(remedy))
    return found


def in_another_world(observations: Observations, name: str, gain: float) -> dict[str, np.ndarray]:
    """The same spread, in a world where the remedy's true gain in quality is `gain`."""
    values = quality(observations)
    differences = values[name] - values["none"]
    return values | {name: values["none"] + differences - differences.mean() + gain}


def mean_less_spread(errors: Any, spread: Any) -> Any:
    """Mean squared error of the members less their spread about their mean."""
    return errors - spread


def mean_alone(errors: Any, spread: Any) -> Any:
    """As if averaging predictions averaged their errors."""
    return errors


def is_the_ensembles_error(formula: Callable[[Any, Any], Any]) -> Finding:
    """Three members, any outputs, in computer algebra: is it the squared error of their mean?"""
    f, y = sympy.symbols("f:3"), sympy.Symbol("y")
    mean = sum(f) / 3
    errors, spread = sum((a - y) ** 2 for a in f) / 3, sum((a - mean) ** 2 for a in f) / 3
    rest = sympy.simplify((mean - y) ** 2 - formula(errors, spread))
    return Finding.true_if(rest == 0, detail=f"left over: {rest}")


def stopped(curvature: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """Share of the full solution that gradient descent from 0 has reached along each direction: 1 - (1 - ηs)^t."""
    return 1 - (1 - rate * curvature) ** steps


def ridge_at_the_same_time(curvature: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """The share that ridge regression leaves at λ = 1/(ηt): like it, but not the same."""
    return curvature / (curvature + 1 / (rate * steps))


def is_early_stopping(shares: Callable[[np.ndarray, float, int], np.ndarray]) -> Finding:
    """Run gradient descent on ten random least-squares problems: does it shrink each direction by that?"""
    worst = 0.0
    for seed in range(10):
        stream = Stream(seed, "data")
        x, y = stream.normal((30, 6)) * np.array([3, 2, 1, 0.5, 0.2, 0.1]), stream.normal(30)
        curvature, axes = np.linalg.eigh(x.T @ x / 30)
        rate, steps = 0.5 / curvature.max(), 40
        w = np.zeros(6)
        for _ in range(steps):
            w -= rate * x.T @ (x @ w - y) / 30
        full = axes.T @ np.linalg.lstsq(x, y, rcond=None)[0]
        worst = max(worst, float(np.abs(axes.T @ w - shares(curvature, rate, steps) * full).max()))
    # 40 steps on numbers of size 1 to 10, in float64.
    return Finding.true_if(worst < 1e-10, worst_error=worst)


def remedy_names(words: WordList) -> Mapping[str, str]:
    """How each remedy is named."""
    return words.group("remedies", members=MEMBERS, more=MORE)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Each remedy at its chosen strength, and what it gains."""
    found, by_loss = comparisons(accuracies(observations)), loss_comparisons(observations)
    tried = observations["tried"]
    names, strengths = remedy_names(words), words.group("strengths")
    strength = {row["remedy"]: row["strength"] for row in tried[tried["chosen"]].to_dict("records")}
    rows = []
    for name in (*ASKED, *NAMED, "none"):
        cells = [
            show.percent_interval(mean_interval(observations.runs.values(METRIC, name))),
            show.points_interval(found[name]) if name in found else "",
            show.number_interval(mean_interval(observations.runs.values("test_loss", name))),
            show.number_interval(by_loss[name]) if name in by_loss else "",
        ]
        train_accuracy = show.percent(float(observations.runs.values("train_accuracy", name).mean()), 1)
        rows.append(
            [
                names[name],
                strengths.get(strength[name], strength[name]) if name in strength else "",
                train_accuracy,
                *map(show.stacked, cells),
            ]
        )
    title = words["titles.test-accuracy-mean-over-draws"]
    heads = (
        words["heads.remedy"],
        words["heads.strength-chosen"],
        words["heads.training"],
        words["heads.test"],
        words["heads.gain-points"],
        words["heads.test-loss"],
        words["heads.loss-lowered"],
    )
    return [Table(title, heads, rows)]


def facts(observations: Observations) -> dict[str, Any]:
    """Gains, and the problem that they are measured on; remedies in the order of what they gain."""
    found, by_loss = comparisons(accuracies(observations)), loss_comparisons(observations)
    given = observations["given"].iloc[0]
    return {
        "gains": found,
        "lowered": by_loss,
        "raised": -by_loss["label_smoothing"].estimate,
        "loss_margin": LOSS_MARGIN,
        "without_loss": mean_interval(observations.runs.values("test_loss", "none")),
        "smoothed": {
            name: float(observations["smoothing"][name].mean()) for name in ("test_accuracy", "confidence")
        },
        "num_at_edge": len(at_edge(observations)),
        "num_tuned": int(observations["tried"]["remedy"].nunique()),
        "num_strengths": int(observations["tried"].groupby("remedy").size().max()),
        "num_validation": min(1_000, int(given["num_images"])),
        "num_more_accurate": sum(found[name].verdict == "holds" for name in ASKED),
        "num_images": int(given["num_images"]),
        "num_tuning": int(given["num_tuning"]),
        "num_helping": sum(by_loss[name].verdict == "holds" for name in ASKED),
        "num_asked": len(ASKED),
        "members": MEMBERS,
        "copies": COPIES,
        "more": MORE,
        "epochs": observations.settings[0]["epochs"],
        "without": {
            part: mean_interval(observations.runs.values(f"{part}_accuracy", "none"))
            for part in ("train", "test")
        },
        "best_gain": max((by_loss[name] for name in ASKED), key=lambda c: c.estimate),
        "hidden": observations.settings[0]["hidden_sizes"],
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """By how much each remedy lowers the test loss, the largest first."""
    found = loss_comparisons(observations)
    order = sorted(found, key=lambda name: -found[name].estimate)
    mark = words["labels.named-in-question"]
    return plots.difference_plot(
        {name: found[name] for name in order},
        value_title=words["titles.test-loss-lowered"],
        title=words["titles.each-remedy-minus-none"],
        labels={name: remedy_names(words)[name] + (mark if name in NAMED else "") for name in order},
        value_format=".2f",
        notes=words.notes,
        width=360,
    )


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The test losses of one draw: without a remedy, stopped early, with dropout, of the ensemble."""
    names = ("none", "early_stopping", "dropout", "ensemble")
    return {name: prediction_interval(observations.runs.values("test_loss", name)) for name in names}


def _helps_claim(name: str) -> Claim:
    return Claim(
        name=f"{name.replace('_', '-')}-helps",
        kind="experiment",
        check=beats(name, "none", margin=LOSS_MARGIN),
        subject=quality,
        falsehood=lambda o: in_another_world(o, name, -0.03),
    )


ANSWER = Answer(
    observe=observe,
    claims=(
        _helps_claim("early_stopping"),
        _helps_claim("augmentation"),
        _helps_claim("ensemble"),
        _helps_claim("label_smoothing"),
        _helps_claim("dropout"),
        _helps_claim("pca"),
        _helps_claim("weight_decay"),
        Claim(
            name="smoothing-makes-underconfident",
            kind="experiment",
            check=greater(0.1),
            subject=smoothing_gap,
            falsehood=lambda o: -smoothing_gap(o),
            unit="points",
        ),
        Claim(
            name="averaging-removes-the-spread",
            kind="proof",
            check=is_the_ensembles_error,
            subject=lambda o: mean_less_spread,
            falsehood=lambda o: mean_alone,
        ),
        Claim(
            name="early-stopping-shrinks",
            kind="property",
            check=is_early_stopping,
            subject=lambda o: stopped,
            falsehood=lambda o: ridge_at_the_same_time,
        ),
    ),
    circulated=(
        Circulated(
            "dropout",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="dropout-helps",
        ),
        Circulated(
            "reduce-minor-features-by-pca",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="pca-helps",
        ),
        Circulated("more-data", "misread"),
        Circulated(
            "stop-at-the-lowest-validation-error",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="early-stopping-helps",
            source="datawhale",
        ),
        Circulated(
            "transformed-images-reduce-overfitting",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="augmentation-helps",
            source="pandalabme",
        ),
        Circulated(
            "ensembles-generalise-better",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="ensemble-helps",
            source="pandalabme",
        ),
        Circulated("decay-and-simpler-models", "misread", source="pandalabme"),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=200",
)
