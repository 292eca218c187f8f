"""Laws of the specs: one meaning has one form and one digest, and what cannot be trained cannot be made."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplab import spec
from mlplab.errors import InvalidInput, UnknownName
from mlplab.spec import (
    MLP,
    Activation,
    Initialization,
    Noise,
    Normalization,
    Optimizer,
    Penalty,
    Prior,
    Run,
    Schedule,
    Setting,
    Start,
    Training,
    digest,
)

FULL = Setting(
    MLP((64, 32), "tanh", ["linear", "linear", Initialization("normal", std=0.1)], bias=False),
    [Noise("dropout"), "none"],
    Optimizer("adam", 0.01, beta2=0.99),
    Penalty(0.001, 0.1),
    Training("squared_error", 3, None, 2, "float64"),
)
START = Start([([[1, 2, 3], [4, 5, 6]], [7, 8]), ([[0.5, -0.5]], None)])
LAPLACE = Prior("Laplace", loc=0, scale=0.1)
# Every field that was added after the first release, away from its default.
LATER = Setting(
    MLP((2,), Activation("prelu", init=0.1), normalization=Normalization("batch", momentum=0.2), start=START),
    Noise("gaussian_noise", std=0.5),
    Optimizer("lars", trust_coefficient=0.01, clip_norm=1, schedule=Schedule("step", every=5, warmup=0.5)),
    Penalty(l1=0.1, proximal=True, prior=LAPLACE, prior_weight=0.01),
    Training(
        "huber", huber_delta=2, patience=3, probes=("weight_norms", "activations"), keep_weights=(10, 1),
        precision="bfloat16",
    ),
)  # fmt: skip
SPECS = [
    Activation("relu"),
    Activation("leaky_relu", negative_slope=0.2),
    Initialization("normal", std=0.1),
    Noise("none"),
    Noise("dropout", rate=0.3),
    Noise("dropout", rate=0),
    MLP(),
    MLP((64, 32), ("relu", "tanh"), bias=False),
    Optimizer("sgd", momentum=0.9, nesterov=True),
    Penalty(0.1),
    Training(batch_size=None),
    Setting(),
    FULL,
    Run(FULL, "digits:1/2/3:ab", 5),
    Noise("dropconnect", rate=0.3),
    Normalization("batch"),
    Schedule("cosine", warmup=1),
    LAPLACE,
    LATER,
]
each_spec = pytest.mark.parametrize("made", SPECS, ids=str)

# For each field, a value away from its default. A test below fails until a new field stands here.
OTHER = {
    MLP: {
        "hidden_sizes": (64,), "activation": "tanh", "initialization": Initialization("normal", std=0.1),
        "bias": False, "normalization": "batch", "start": START,
    },
    Optimizer: {
        "kind": "adam", "learning_rate": 0.2, "momentum": 0.5, "nesterov": True, "beta1": 0.5, "beta2": 0.5,
        "epsilon": 1e-6, "trust_coefficient": 0.1, "clip_norm": 1, "schedule": "cosine",
    },
    Penalty: {"weight_decay": 0.1, "l1": 0.1, "proximal": True, "prior": LAPLACE, "prior_weight": 0.2},
    Training: {
        "loss": "squared_error", "epochs": 3, "batch_size": 32, "evaluate_every": 2, "precision": "float64",
        "huber_delta": 2, "label_smoothing": 0.1, "patience": 3, "probes": "activations", "keep_weights": 3,
        "average_epochs": 2, "drop_last": True,
    },
    Setting: {
        "model": MLP((64,)), "noise": Noise("dropout"), "optimizer": Optimizer("adam"),
        "penalty": Penalty(0.1), "training": Training(epochs=3),
    },
    Run: {"setting": FULL, "data": "other:1/2/3:cd", "seed": 1, "semantics": 1},
}  # fmt: skip
# What a field needs beside it.
NEEDED = {
    "start": {"hidden_sizes": (2,)},
    "nesterov": {"momentum": 0.5},
    "proximal": {"l1": 0.1},
    "prior": {"prior": Prior("Normal", loc=0, scale=0.1), "prior_weight": 0.1},
    "prior_weight": {"prior": LAPLACE, "prior_weight": 0.1},
    "huber_delta": {"loss": "huber"},
}


# Digests: the keys of stored results


@pytest.mark.parametrize(
    ("made", "pinned"),
    [
        (Setting(), "93cf994d28d4456101da09acd2f1a482"),
        (FULL, "591377297f8368de7c0daa4b56bfcdea"),
        (LATER, "9576c2da54d3cef1558f71896eedd0ca"),
        (Run(Setting(), "digits:1/2/3:ab", 0, semantics=1), "07a2c658a67aa7c1b21662bc914e4bd4"),
        (Run(FULL, "digits:1/2/3:ab", 2**63 - 1, semantics=1), "8993ba2773d701e66d33357d14c18b43"),
        (Run(Setting(), "digits:1/2/3:ab", 0), "516dc0798349e06d03f5b38ad697cae0"),
        (Run(FULL, "digits:1/2/3:ab", 2**63 - 1), "aaaccc5783ccb22a6080a2a713928701"),
        ([Penalty(0.1), {"a": 1, "b": None}], "b8494a94478722564ef92b9d93ac536a"),
    ],
    ids=["default", "full", "later", "old run", "old full run", "run", "full run", "list"],
)
def test_digests_are_pinned(made, pinned):
    """They are the keys of stored and published results. If one changes, no stored result is found again."""
    assert (made.digest if isinstance(made, Setting | Run) else digest(made)) == pinned


def test_the_digest_of_a_run_names_its_semantics():
    """Even today's: a new meaning must not find the results of the old one."""
    run = Run(Setting(), "digits:1/2/3:ab", 0)
    assert run.semantics == spec.SEMANTICS
    assert run.digest != digest(run)
    assert dataclasses.replace(run, semantics=spec.SEMANTICS + 1).digest != run.digest


def test_runs_that_smooth_labels_are_not_those_that_were_evaluated_to_smoothed_ones():
    run = Run(Setting(training=Training(label_smoothing=0.1)), "digits:1/2/3:ab", 0)
    assert run.digest == "83d32571ca9ea97687d33c1ed5a7108e"
    assert run.digest != digest({"run": run, "semantics": run.semantics})


@pytest.mark.parametrize(("kind", "field"), [(kind, f) for kind in OTHER for f in OTHER[kind]])
def test_every_field_changes_the_digest(kind, field):
    needed = {"setting": Setting(), "data": "digits:1/2/3:ab", "seed": 0} if kind is Run else {}
    needed |= NEEDED.get(field, {})
    changed = kind(**needed | {field: OTHER[kind][field]})
    assert digest(changed) != digest(kind(**needed))
    assert changed != kind(**needed)


def test_no_field_is_forgotten_above():
    for kind, values in OTHER.items():
        assert set(values) == {field.name for field in dataclasses.fields(kind)}, kind


@pytest.mark.parametrize("kind", [Activation, Initialization, Noise, Normalization, Schedule])
def test_every_kind_and_option_changes_the_digest(kind):
    made = [kind(name) for name in kind.KINDS]
    # 0.5 is allowed for every option of every kind but one, and 0.25 where 0.5 is the default.
    for name, options in kind.KINDS.items():
        for option, default in options.items():
            other = 7 if option == "every" else 0.25 if default == 0.5 else 0.5
            made.append(kind(name, **{option: other}))
    assert len({digest(item) for item in made}) == len(set(made)) == len(made)


def test_every_prior_and_option_changes_the_digest():
    made = []
    for name in Prior.KINDS:
        options = dict(Prior(name, **PRIOR_OPTIONS[name]).options)
        made += [Prior(name, **options)]
        made += [Prior(name, **options | {option: 0.25}) for option in options]
    assert len({digest(item) for item in made}) == len(set(made)) == len(made)


STARTS = [
    [([[1]], None)], [([[2]], None)], [([[1]], [1])], [([[1, 1]], None)], [([[1], [1]], None)],
    [([[1]], None), ([[1]], None)], [([[1 + 2**-52]], None)],
]  # fmt: skip


def test_every_number_and_shape_of_a_start_changes_its_digest():
    made = [Start(layers) for layers in STARTS]
    assert len({digest(start) for start in made}) == len({start.digest for start in made}) == len(STARTS)
    assert len(set(made)) == len(STARTS)


def test_a_part_of_equal_content_but_another_type_has_another_digest():
    assert len({digest(Activation("relu")), digest("relu"), digest(["relu"])}) == 3
    assert Noise("none") != "none"


def tensor(*numbers, dtype=torch.float64, **how):
    return torch.tensor(numbers, dtype=dtype, **how)


WEIGHT, BIAS = [[1, 2], [3, -4.5]], [0.5, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MLP([64, 32]), MLP((64, 32))),
        (MLP(64), MLP((64,))),
        (MLP((np.int64(64), 32)), MLP((64, 32))),
        (MLP(np.array([64, 32])), MLP((64, 32))),
        (MLP(range(1, 3)), MLP((1, 2))),
        (MLP((64, 32), "tanh"), MLP((64, 32), ["tanh", Activation("tanh")])),
        (MLP((64, 32), "relu", ["linear"] * 3), MLP((64, 32), initialization=Initialization("linear"))),
        (MLP((), "tanh"), MLP(())),
        (MLP((), []), MLP(())),
        (Optimizer(learning_rate=1), Optimizer(learning_rate=1.0)),
        (Optimizer(learning_rate=np.float32(0.5)), Optimizer(learning_rate=0.5)),
        (Optimizer(momentum=0), Optimizer()),
        (Penalty(np.float64(0.1)), Penalty(0.1)),
        (Penalty(-0.0), Penalty(0.0)),
        (Training(epochs=np.int32(5)), Training(epochs=5)),
        (Initialization("normal", std=1), Initialization("normal", std=1.0)),
        (Initialization("normal", std=0.01), Initialization("normal")),
        (Initialization("normal", mean=-0.0), Initialization("normal", mean=0.0)),
        (Noise("dropout", rate=0.0), Noise("none")),
        (Setting(noise="none"), Setting()),
        (Setting(noise=[Noise("dropout", rate=0)]), Setting()),
        (
            Setting(MLP((4, 3)), noise="dropout"),
            Setting(MLP((4, 3)), noise=("dropout", Noise("dropout", rate=0.5))),
        ),
        (Setting(MLP(()), noise=Noise("dropout")), Setting(MLP(()))),
        (Setting(MLP(()), noise=[]), Setting(MLP(()))),
        (Run(Setting(), "a", np.int64(3)), Run(Setting(), "a", 3)),
        (Setting(optimizer=Optimizer()), Setting()),
        (MLP((4, 3), normalization="batch"), MLP((4, 3), normalization=["batch", Normalization("batch")])),
        (MLP((), normalization="batch"), MLP(())),
        *(
            (Noise(kind, **dict.fromkeys(options, 0)), Noise("none"))
            for kind, options in Noise.KINDS.items()
            if options
        ),
        (Noise("gaussian_noise", std=Fraction(1, 2)), Noise("gaussian_noise", std=0.5)),
        (Optimizer(np.str_("adam")), Optimizer("adam")),
        (Optimizer(clip_norm=1), Optimizer(clip_norm=np.float32(1))),
        (Optimizer(trust_coefficient=1), Optimizer(trust_coefficient=1.0)),
        (Optimizer(schedule="constant"), Optimizer()),
        (Optimizer(schedule="cosine"), Optimizer(schedule=Schedule("cosine", final=-0.0, warmup=0))),
        (Schedule("step", every=30), Schedule("step", every=30.0, factor=0.1)),
        (Penalty(prior=None, prior_weight=0), Penalty()),
        (Penalty(prior=LAPLACE, prior_weight=1), Penalty(prior=LAPLACE, prior_weight=1.0)),
        (LAPLACE, Prior("Laplace", scale=np.float64(0.1), loc=-0.0)),
        (Prior("StudentT", df=3), Prior("StudentT", scale=1, loc=0, df=3.0)),
        (Training("huber", huber_delta=1), Training("huber")),
        (Training(label_smoothing=0), Training()),
        (Training(precision=np.str_("bfloat16")), Training(precision="bfloat16")),
        (Training(patience=np.int64(2)), Training(patience=2)),
        (Training(probes=Training.PROBES[::-1]), Training(probes=Training.PROBES)),
        (Training(probes="activations"), Training(probes=["activations", np.str_("activations")])),
        (Training(probes=[]), Training()),
        (Training(keep_weights=3), Training(keep_weights=(3,))),
        (Training(average_epochs=0), Training()),
        (Training(batch_size=None, drop_last=True), Training(batch_size=None)),
        (Training(keep_weights=[5, 1, 5]), Training(keep_weights=np.array([1, 5]))),
        (Start([(WEIGHT, BIAS)]), Start(iter([[np.array(WEIGHT), tuple(BIAS)]]))),
        (Start([(WEIGHT, BIAS)]), Start([(tensor(*WEIGHT), tensor(*BIAS))])),
        (Start([(WEIGHT, BIAS)]), Start([(tensor(*WEIGHT, dtype=torch.bfloat16), np.float32(BIAS))])),
        (
            Start([(WEIGHT, BIAS)]),
            Start([(tensor(*WEIGHT, requires_grad=True), torch.nn.Parameter(tensor(*BIAS)))]),
        ),
        (Start([(WEIGHT, BIAS)]), Start([(np.asfortranarray(WEIGHT), np.array(BIAS, dtype=">f4"))])),
        (Start([(WEIGHT, None)]), Start([(WEIGHT, [0, -0.0])])),
    ],
    ids=str,
)
def test_one_meaning_has_one_form_and_one_digest(one, other):
    assert one == other
    assert hash(one) == hash(other)
    assert digest(one) == digest(other)
    assert repr(one) == repr(other)


def test_epochs_and_probes_stand_in_order():
    training = Training(
        keep_weights=(8, 1, 8), probes=("train_mode", "activations")
    )  # a set of 8 and 1 begins with 8
    assert training.keep_weights == (1, 8)
    assert training.probes == ("activations", "train_mode")


def test_the_order_of_options_does_not_matter():
    assert digest(Initialization("uniform", low=0.1, high=0.2)) == digest(
        Initialization("uniform", high=0.2, low=0.1)
    )
    assert digest({"a": 1, "b": Penalty()}) == digest({"b": Penalty(), "a": 1})


@given(
    st.lists(st.tuples(*[st.floats(0, 1e9)] * 2, *[st.sampled_from([(4,), (5, 4)])]), min_size=2, max_size=2)
)
@settings(max_examples=50, derandomize=True)
def test_digests_are_equal_exactly_where_settings_are(values):
    one, other = (Setting(MLP(sizes), penalty=Penalty(decay, l1)) for decay, l1, sizes in values)
    assert (one == other) == (one.digest == other.digest)


@given(st.floats(1e-300, 1e300))
@settings(max_examples=50, derandomize=True)
def test_neighbouring_numbers_have_different_digests(rate):
    """Every bit of a number counts: none is rounded on its way to the digest."""
    neighbour = math.nextafter(rate, math.inf)
    assert Setting(optimizer=Optimizer(learning_rate=rate)) != Setting(
        optimizer=Optimizer(learning_rate=neighbour)
    )
    assert digest(Optimizer(learning_rate=rate)) != digest(Optimizer(learning_rate=neighbour))


# A field or an option that is added later, with a default that means the old behaviour


def test_a_new_field_at_its_default_leaves_the_digest():
    @dataclass(frozen=True)
    class Longer(Penalty):
        group: float = 0.0

    Longer.__name__ = "Penalty"
    assert digest(Longer(0.1)) == digest(Penalty(0.1))
    assert digest(Longer(0.1, group=0.5)) != digest(Penalty(0.1))


def test_a_field_that_moves_leaves_the_digest():
    @dataclass(frozen=True)
    class Penalty:
        l1: float = 0.0
        weight_decay: float = 0.0

    assert digest(Penalty(l1=0.2, weight_decay=0.1)) == digest(spec.Penalty(0.1, 0.2))


def test_a_new_option_at_its_default_leaves_the_digest():
    class Longer(Activation):
        KINDS = MappingProxyType({"relu": {"offset": 0.0}, "elu": {"alpha": 1.0, "offset": 0.0}})

    Longer.__name__ = "Activation"
    assert digest(Longer("relu")) == digest(Activation("relu"))
    assert digest(Longer("elu", alpha=2)) == digest(Activation("elu", alpha=2))
    assert digest(Longer("relu", offset=1)) != digest(Activation("relu"))


def test_what_has_no_digest_says_so():
    for value in (object(), 1j, MLP):
        with pytest.raises(TypeError, match="no digest"):
            digest({"a": value})


# Specs travel: to other processes, into sets and dictionaries


@each_spec
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_everything(made, protocol):
    found = pickle.loads(pickle.dumps(made, protocol))
    assert found == made
    assert hash(found) == hash(made)
    assert digest(found) == digest(made)
    assert repr(found) == repr(made)


@each_spec
def test_copies_are_equal(made):
    assert copy.deepcopy(made) == copy.copy(made) == made
    assert {made: 1}[copy.deepcopy(made)] == 1


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(lambda s, p=p: pickle.loads(pickle.dumps(s, p)) for p in range(2, 6))],
    ids=["copy", "deepcopy", "pickle 2", "pickle 3", "pickle 4", "pickle 5"],
)
def test_a_start_travels_with_weights_that_nobody_may_write(copied):
    """A digest must go on being that of the numbers."""
    found = copied(START)
    assert (found, hash(found), found.digest) == (START, hash(START), START.digest)
    for layer, other in zip(found.layers, START.layers, strict=True):
        for array, same in zip(layer, other, strict=True):
            assert array.dtype == np.float64
            np.testing.assert_array_equal(array, same)
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 1
    for name in ("layers", "digest", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(found, name, ())


def test_a_start_is_a_copy():
    weight, bias = np.ones((2, 2)), torch.zeros(2, dtype=torch.float64)
    start = Start([(weight, bias)])
    weight[:], bias[:] = 5, 5
    assert start == Start([(np.ones((2, 2)), np.zeros(2))])


def test_a_setting_can_be_written_as_json():
    """As the store does, for people to read: a start stands there by its digest."""
    held = json.loads(json.dumps(dataclasses.asdict(LATER), default=str))
    assert held["model"]["start"] == f"Start({START.digest})"
    assert held["penalty"]["prior"] == {"kind": "Laplace", "options": [["loc", 0], ["scale", 0.1]]}
    assert held["optimizer"]["schedule"]["kind"] == "step"
    assert held["training"]["keep_weights"] == [1, 10]


@each_spec
def test_specs_are_frozen(made):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(made)[0].name, None)


def test_specs_of_different_classes_are_never_equal():
    assert len(set(SPECS)) == len(SPECS) - 1, "dropout at rate 0 is no noise"


def test_replace_gives_a_checked_copy():
    setting = Setting()
    assert setting.replace(penalty=Penalty(0.1)) == Setting(penalty=Penalty(0.1))
    assert setting.replace() == setting
    assert setting == Setting()
    with pytest.raises(InvalidInput, match=r"Setting.noise must be one, or one for each of 1 layers"):
        setting.replace(noise=["none", "dropout"])


# What each layer gets


def test_one_is_spread_over_all_layers():
    model = MLP((4, 3, 2), activation="tanh", initialization="linear")
    assert model.activations == (Activation("tanh"),) * 3
    assert model.initializations == (Initialization("linear"),) * 4
    assert MLP((4, 3), normalization="batch").normalizations == (Normalization("batch"),) * 2
    assert [noise.rate for noise in Setting(model, Noise("dropout", rate=0.3)).noises] == [0.3] * 3


def test_one_for_each_layer_is_kept_in_order():
    model = MLP((4, 3), ("tanh", "relu"), ("ones", "zeros", "normal"), normalization=("none", "batch"))
    assert [n.kind for n in model.normalizations] == ["none", "batch"]
    assert [a.kind for a in model.activations] == ["tanh", "relu"]
    assert [i.kind for i in model.initializations] == ["ones", "zeros", "normal"]
    assert [noise.rate for noise in Setting(model, ("none", Noise("dropout", rate=0.3))).noises] == [0, 0.3]


def test_a_linear_model_has_no_hidden_layer_to_describe():
    model = MLP(())
    assert (model.activations, model.normalizations, Setting(model).noises) == ((), (), ())
    assert model.initializations == (Initialization("normal"),)


# Noise, priors and starts


@pytest.fixture
def two_strengths(monkeypatch):
    """A kind of noise with two options, one of them 0 unless it is asked for, as a user may register it."""
    monkeypatch.setitem(Noise.KINDS, "salt", {"strength": 1, "spread": 0})


@pytest.mark.usefixtures("two_strengths")
def test_noise_is_none_exactly_where_all_its_strengths_are_0():
    assert Noise("salt", strength=0) == Noise("none")
    for options in ({"strength": 0, "spread": 0.5}, {}, {"spread": 2}):
        made = Noise("salt", **options)
        assert made.kind == "salt"
        assert dict(made.options) == {"strength": 1, "spread": 0} | options


@pytest.mark.usefixtures("two_strengths")
def test_a_registered_noise_obeys_the_rules_of_the_others():
    assert [type(value) for _, value in Noise("salt").options] == [float, float]
    assert str(Noise("salt", spread=0.5)) == "salt(spread=0.5)"
    assert Noise("salt").rate == 0
    for bad in (-1, math.nan, "1", True, None):
        with pytest.raises(InvalidInput, match=r"^Noise\('salt'\).spread must be"):
            Noise("salt", spread=bad)


def test_the_rate_of_noise_is_that_of_dropout():
    rates = {kind: Noise(kind).rate for kind in Noise.KINDS}
    assert {kind for kind, rate in rates.items() if rate} == {"dropout"}


PRIOR_OPTIONS = {name: {"loc": 0.5, "scale": 2} for name in ("Cauchy", "Gumbel", "Laplace", "Normal")} | {
    "StudentT": {"df": 3}, "VonMises": {"loc": 0.5, "concentration": 2},
}  # fmt: skip


def test_every_prior_is_the_distribution_of_its_name():
    """Those of `torch.distributions` whose values are single real numbers: when PyTorch adds one, it stands here."""
    assert set(Prior.KINDS) == set(PRIOR_OPTIONS)
    values = torch.tensor([[-1.5, 0.0, 2.0]])
    for name, options in PRIOR_OPTIONS.items():
        theirs = getattr(torch.distributions, name)(**options)
        made = Prior(name, **options).distribution()
        torch.testing.assert_close(made.log_prob(values), theirs.log_prob(values), rtol=0, atol=0)


def test_the_density_of_a_prior_takes_tensors_of_options_and_any_weight():
    """One number a model, and a run that has diverged: its weights are no numbers, which is no error of the prior."""
    scales = torch.tensor([0.1, 2.0]).reshape(2, 1, 1)
    found = LAPLACE.distribution(scale=scales).log_prob(torch.tensor([[1.0, math.nan]]))
    assert found.shape == (2, 1, 2)
    torch.testing.assert_close(found[:, 0, 0], -(2 * scales).log().flatten() - 1 / scales.flatten())
    assert found[..., 1].isnan().all()


def test_a_start_decides_nothing_but_the_weights():
    assert START.hidden_sizes == (2,)
    assert [[array.shape for array in layer] for layer in START.layers] == [[(2, 3), (2,)], [(1, 2), (1,)]]
    assert MLP((2,), "tanh", bias=True, start=START).activation == (Activation("tanh"),)
    linear = Start([(np.ones((3, 4)), None)])
    assert MLP((), bias=False, start=linear).start == linear


# What cannot be trained cannot be made: one line that says owner, rule and received


INFINITE = [math.nan, math.inf, -math.inf]
BAD = [
    *((lambda v=v: Optimizer(learning_rate=v), "Optimizer.learning_rate must be finite") for v in INFINITE),
    *(
        (lambda v=v: Optimizer(learning_rate=v), "Optimizer.learning_rate must be greater than 0")
        for v in (0, -0.1)
    ),
    *(
        (lambda v=v: Optimizer(learning_rate=v), "Optimizer.learning_rate must be a number")
        for v in (True, "0.1", None, 1j, [0.1], np.array([0.1]), np.bool_(True))
    ),
    (lambda: Optimizer(learning_rate=10**400), "Optimizer.learning_rate must be finite"),
    *(
        (lambda n=n, v=v: Optimizer("adam" if n != "momentum" else "sgd", **{n: v}), f"Optimizer.{n} must be")
        for n in ("momentum", "beta1", "beta2", "epsilon", "trust_coefficient", "clip_norm")
        for v in (-0.1, *INFINITE, True, "a", [1], {}, 10**5000)
    ),
    *(
        (lambda n=n: Optimizer(**{n: 0}), f"Optimizer.{n} must be greater than 0")
        for n in ("trust_coefficient", "clip_norm")
    ),
    (lambda: Optimizer(trust_coefficient=None), "Optimizer.trust_coefficient must be a number"),
    *(
        (lambda v=v: Optimizer(schedule=v), "Optimizer.schedule must be a Schedule or a name")
        for v in (None, 1, ["cosine"], Noise("none"), True)
    ),
    (lambda: Optimizer("lamb", momentum=0.9), "Optimizer.momentum belongs to kinds 'sgd' and 'lars'"),
    *(
        (lambda n=n: Optimizer(**{n: 1}), f"Optimizer.{n} must be in [0, 1)")
        for n in ("momentum", "beta1", "beta2")
    ),
    (lambda: Optimizer(epsilon=0), "Optimizer.epsilon must be greater than 0"),
    (lambda: Optimizer(nesterov=1, momentum=0.9), "Optimizer.nesterov must be True or False"),
    (lambda: Optimizer(nesterov=True), "Optimizer.nesterov needs a momentum greater than 0"),
    (lambda: Optimizer("adam", momentum=0.9), "Optimizer.momentum belongs to kinds 'sgd' and 'lars'"),
    *(
        (lambda n=n, v=v: Penalty(**{n: v}), f"Penalty.{n} must be")
        for n in ("weight_decay", "l1", "prior_weight")
        for v in (-1e-9, *INFINITE, True, "0.1", None, [0.1], -(10**5000))
    ),
    *(
        (lambda v=v: Penalty(l1=0.1, proximal=v), "Penalty.proximal must be True or False")
        for v in (1, 0, None, "true", np.bool_(True))
    ),
    (lambda: Penalty(proximal=True), "Penalty.proximal needs an l1 greater than 0"),
    *(
        (lambda v=v: Penalty(prior=v, prior_weight=1), "Penalty.prior must be of type Prior")
        for v in ("Normal", 1, Noise("none"), [LAPLACE], torch.distributions.Normal)
    ),
    (lambda: Penalty(prior=LAPLACE), "Penalty.prior_weight must be greater than 0 with a prior"),
    (
        lambda: Penalty(prior_weight=1),
        "Penalty.prior_weight must be greater than 0 with a prior, and 0 without",
    ),
    *(
        (lambda n=n, v=v: Training(**{n: v}), f"Training.{n} must be a whole number, at least 1")
        for n in ("epochs", "batch_size", "evaluate_every", "patience", "keep_weights")
        for v in (0, -1, 1.0, 1.5, True, "3", math.nan, np.array(3.0), b"3", {3: 1})
    ),
    *(
        (lambda n=n, v=v: Training(**{n: v}), f"Training.{n} must be {rule}")
        for n in ("epochs", "batch_size", "evaluate_every", "patience", "keep_weights")
        for v, rule in ((2**63, "below 2**63"), (10**5000, "finite"), (-(10**5000), "finite"))
    ),
    *(
        (lambda v=v: Training(keep_weights=v), "Training.keep_weights must be a whole number, at least 1")
        for v in (None, (1, 0), (1, "2"), ((1,),), np.array([[1]]))
    ),
    (lambda: Training(epochs=3, keep_weights=(1, 4)), "Training.keep_weights must be at most epochs, 3"),
    *(
        (lambda v=v: Training(probes=v), "Training.probes must be one of")
        for v in (None, 1, ["activations", 1], [["activations"]], {"activations": False}, True, np.array("x"))
    ),
    *(
        (
            lambda n=n, v=v: Training("huber" if n == "huber_delta" else "cross_entropy", **{n: v}),
            f"Training.{n} must",
        )
        for n in ("huber_delta", "label_smoothing")
        for v in (-0.1, *INFINITE, True, "1", None, [1])
    ),
    (lambda: Training("huber", huber_delta=0), "Training.huber_delta must be greater than 0"),
    (lambda: Training(label_smoothing=1), "Training.label_smoothing must be in [0, 1)"),
    (
        lambda: Training(epochs=3, average_epochs=4),
        "Training.average_epochs must be at most epochs, 3; got 4",
    ),
    (lambda: Training(average_epochs=-1), "Training.average_epochs must be a whole number, at least 0"),
    (
        lambda: Training(average_epochs=1, patience=2),
        "Training.average_epochs must be 0 with patience; got 1",
    ),
    (lambda: Training(drop_last=1), "Training.drop_last must be True or False"),
    (lambda: Training("huber", probes="test_hits"), "Training.probes must be without 'test_hits'"),
    (lambda: Training("absolute_error", huber_delta=2), "Training.huber_delta belongs to loss 'huber'"),
    (
        lambda: Training("huber", label_smoothing=0.1),
        "Training.label_smoothing belongs to loss 'cross_entropy'",
    ),
    (lambda: Training(epochs=None), "Training.epochs must be a whole number"),
    *(
        (lambda v=v: MLP(v), "MLP.hidden_sizes must be a whole number, at least 1")
        for v in (
            0,
            (64, 0),
            -3,
            (64.0,),
            (True,),
            "64",
            ("64",),
            None,
            ((64,),),
            np.array(6.0),
            {64: 32},
            b"64",
        )
    ),
    (lambda: MLP(10**30), "MLP.hidden_sizes must be below 2**63"),
    (
        lambda: MLP((4, 3), normalization=["batch"] * 3),
        "MLP.normalization must be one, or one for each of 2 layers",
    ),
    *(
        (lambda v=v: MLP(normalization=v), "MLP.normalization must be Normalization objects or names")
        for v in (None, True, Noise("none"), [1], np.array(0), {"batch": 1})
    ),
    *(
        (lambda v=v: Normalization("batch", momentum=v), "Normalization('batch').momentum must be")
        for v in (0, 1.5, -0.1, *INFINITE, True, "0.1", None)
    ),
    *(
        (lambda v=v: Normalization("batch", epsilon=v), "Normalization('batch').epsilon must be")
        for v in (0, -1e-5, *INFINITE, True, "0.1", None)
    ),
    (lambda: Normalization("none", momentum=0.1), "Normalization('none') takes no options"),
    *(
        (lambda k=k, o=o, v=v: Schedule(k, **{o: v}), f"Schedule({k!r}).{o} must be")
        for k, options in Schedule.KINDS.items()
        for o in options
        for v in (-0.1, *INFINITE, True, "1", None, [1])
    ),
    *(
        (
            lambda v=v: Schedule("step", every=v),
            "Schedule('step').every must be a whole number of epochs, at least 1",
        )
        for v in (0, 0.5, 1.5)
    ),
    (lambda: Schedule("step", factor=0), "Schedule('step').factor must be greater than 0"),
    (lambda: Schedule("cosine", final=1.1), "Schedule('cosine').final must be in [0, 1]"),
    *(
        (lambda v=v: MLP((2,), start=v), "MLP.start must be of type Start")
        for v in ("zeros", START.layers, 1)
    ),
    (lambda: MLP((3,), start=START), "MLP.start must have hidden sizes (3,); got (2,)"),
    (lambda: MLP((), start=START), "MLP.start must have hidden sizes (); got (2,)"),
    (lambda: MLP((2,), initialization="ones", start=START), "MLP.start must stand without an initialization"),
    (lambda: MLP((2,), bias=False, start=START), "MLP.start must have biases of 0 where MLP.bias is False"),
    *((lambda v=v: Start(v), "Start needs at least one layer; got 0") for v in ([], (), iter([]))),
    *(
        (lambda v=v: Start(v), "Start, layer 0 must be a pair (weight, bias)")
        for v in (None, 1, "ab", {"a": 1}, [1], [[]], ["ab"], [(1, 2, 3)], [{1: 2}], [Noise("none")])
    ),
    *(
        (
            lambda v=v: Start([([[1.0]], None), (v, None)]),
            "Start, layer 1, weight must be an array of real numbers",
        )
        for v in (
            "a",
            "1",
            [["1"]],
            None,
            [[None]],
            [[1], [1, 2]],
            1j,
            [[10**400]],
            True,
            [[True]],
            {},
            object(),
            torch.ones(1, 1) * 1j,
            torch.ones(1, 1).to_sparse(),
            np.array([["1"]]),
        )
    ),
    (lambda: Start([([[1.0]], "a")]), "Start, layer 0, bias must be an array of real numbers"),
    *(
        (lambda v=v: Start([(v, None)]), "Start, layer 0, weight must be finite")
        for v in ([[1.0, math.nan]], torch.tensor([[-math.inf]]))
    ),
    (lambda: Start([([[1.0]], [math.inf])]), "Start, layer 0, bias must be finite; got inf"),
    *(
        (
            lambda w=w, b=b: Start([(w, b)]),
            "Start, layer 0 must be a weight (out, in), both at least 1, with a bias",
        )
        for w, b in (
            (1.0, None),
            ([1.0], None),
            ([[[1.0]]], None),
            (np.ones((0, 3)), None),
            (np.ones((3, 0)), None),
            (WEIGHT, 1.0),
            (WEIGHT, [1.0]),
            (WEIGHT, [[1.0, 2.0]]),
        )
    ),
    (
        lambda: Start([(np.ones((3, 2)), None), (np.ones((1, 4)), None)]),
        "Start, layer 1 must take the 3 outputs of the layer before; got 4",
    ),
    *(
        (lambda v=v: Prior("Normal", loc=v, scale=1), "Prior('Normal').loc must be")
        for v in ("a", None, True, *INFINITE, [0], torch.tensor(0.0), torch.zeros(2), 10**5000)
    ),
    *(
        (lambda v=v: Prior("Normal", loc=0, scale=v), "Prior('Normal') must have options")
        for v in (0, -1, 1e-300)
    ),
    (lambda: Prior("Normal"), "Prior('Normal') needs loc and scale; got 'none'"),
    (lambda: Prior("Laplace", scale=1), "Prior('Laplace') needs loc and scale; got 'scale'"),
    *(
        (
            lambda n=n: Prior("Normal", loc=0, scale=-1, **{n: False}),
            "Prior('Normal') option must be one of 'loc', 'scal",
        )
        for n in ("validate_args", "self_", "df")
    ),
    *(
        (lambda v=v: Prior(v), "Prior must be one of 'Cauchy', 'Gumbel'")
        for v in (
            "Beta",
            "Uniform",
            "MultivariateNormal",
            "Distribution",
            "AffineTransform",
            "kl_divergence",
            "",
        )
    ),
    *((lambda v=v: MLP(bias=v), "MLP.bias must be True or False") for v in (1, 0, None, "true")),
    (lambda: MLP((4, 3), ("relu", "tanh", "elu")), "MLP.activation must be one, or one for each of 2 layers"),
    (lambda: MLP((4, 3), ()), "MLP.activation must be one, or one for each of 2 layers"),
    (
        lambda: MLP((4, 3), initialization=["ones"] * 2),
        "MLP.initialization must be one, or one for each of 3 layers",
    ),
    (lambda: MLP(activation=None), "MLP.activation must be Activation objects or names"),
    (lambda: MLP(activation=Noise("none")), "MLP.activation must be Activation objects or names"),
    (lambda: Setting(noise=0.5), "Setting.noise must be Noise objects or names"),
    *(
        (lambda v=v: Noise("dropout", rate=v), "Noise('dropout').rate must be")
        for v in (1, 1.5, -0.1, *INFINITE, True)
    ),
    *(
        (lambda k=k, o=o, v=v: Noise(k, **{o: v}), f"Noise({k!r}).{o} must be")
        for k, options in Noise.KINDS.items()
        for o in options
        for v in (-0.1, *INFINITE, True, "1", None, [1], 10**5000)
    ),
    (lambda: Noise("gaussian_dropout", rate=1), "Noise('gaussian_dropout').rate must be in [0, 1)"),
    (lambda: Noise("none", rate=0.5), "Noise('none') takes no options"),
    (lambda: Activation("celu", alpha=0), "Activation('celu').alpha must not be 0"),
    (lambda: Activation("prelu", init=math.nan), "Activation('prelu').init must be finite"),
    (lambda: Initialization("lsuv", std=-1), "Initialization('lsuv').std must be at least 0"),
    (lambda: Activation("relu", alpha=1), "Activation('relu') takes no options"),
    (lambda: Initialization("normal", std=-1), "Initialization('normal').std must be at least 0"),
    (lambda: Initialization("sparse", sparsity=1), "Initialization('sparse').sparsity must be in [0, 1)"),
    (lambda: Initialization("uniform", low=1), "Initialization('uniform').low must be below high, 1"),
    (
        lambda: Initialization("trunc_normal", high=-3),
        "Initialization('trunc_normal').low must be below high, -3",
    ),
    (lambda: Initialization("normal", std=True), "Initialization('normal').std must be a number"),
    *(
        (lambda v=v: Run(Setting(), "a", v), "Run.seed must be a whole number, at least 0")
        for v in (-1, 1.0, True, None, "0", math.nan)
    ),
    (lambda: Run(Setting(), "a", 2**63), "Run.seed must be below 2**63"),
    (lambda: Setting(optimizer="adam"), "Setting.optimizer must be of type Optimizer"),
    (lambda: Setting(model=(256,)), "Setting.model must be of type MLP"),
    (lambda: Setting(penalty=0.1), "Setting.penalty must be of type Penalty"),
    (lambda: Setting(training=None), "Setting.training must be of type Training"),
]


@pytest.mark.parametrize(
    ("make", "message"), BAD, ids=[f"{i}-{message}" for i, (_, message) in enumerate(BAD)]
)
def test_bad_values_are_refused_with_one_clear_line(make, message):
    with pytest.raises(InvalidInput) as refused:
        make()
    assert str(refused.value).startswith(message)
    assert "; got " in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "nearest"),
    [
        (lambda: Activation("rellu"), "relu"),
        (lambda: Activation("relu_6"), "relu6"),
        (lambda: MLP(activation="sigmoyd"), "sigmoid"),
        (lambda: MLP(initialization="kaiming"), "kaiming_normal"),
        (lambda: Initialization("normal", stdev=1), "std"),
        (lambda: Noise("droput"), "dropout"),
        (lambda: Setting(noise="drop_out"), "dropout"),
        (lambda: Optimizer("adm"), "adam"),
        (lambda: Training("cross entropy"), "cross_entropy"),
        (lambda: Training(precision="float46"), "float64"),
        (lambda: Training(precision="bfloat"), "bfloat16"),
        (lambda: Training("huber_loss"), "huber"),
        (lambda: Training(probes=["activations", "weight_norm"]), "weight_norms"),
        (lambda: Optimizer("lar"), "lars"),
        (lambda: Optimizer(schedule="cosin"), "cosine"),
        (lambda: MLP(normalization="batchnorm"), "batch"),
        (lambda: Noise("gaussian_noise", sd=1), "std"),
        (lambda: Prior("laplace"), "Laplace"),
        (lambda: Prior("Normal", location=0), "loc"),
    ],
)
def test_an_unknown_name_says_the_nearest_one(make, nearest):
    with pytest.raises(UnknownName, match=f"Did you mean '{nearest}'"):
        make()


@pytest.mark.parametrize(
    "bad", [None, 3, ["relu"], {"a": 1}, True, np.array(["sgd", "adam"]), b"sgd"], ids=repr
)
@pytest.mark.parametrize(
    "make",
    [
        Activation, Initialization, Noise, Optimizer, Training, Normalization, Schedule, Prior,
        lambda precision: Training(precision=precision),
    ],
    ids=[*"Activation Initialization Noise Optimizer Training Normalization Schedule Prior precision".split()],
)  # fmt: skip
def test_a_name_may_be_no_text_at_all(make, bad):
    """Read from a file, a name may be a list: it is refused like any other."""
    with pytest.raises(UnknownName):
        make(bad)


# How a choice is written


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (Activation("relu"), "relu"),
        (Activation("leaky_relu"), "leaky_relu"),
        (Activation("leaky_relu", negative_slope=0.2), "leaky_relu(negative_slope=0.2)"),
        (Initialization("uniform", low=-1, high=2), "uniform(high=2,low=-1)"),
        (Noise("dropout"), "dropout"),
        (Noise("dropout", rate=0.123456789), "dropout(rate=0.123456789)"),
        (Noise("dropout", rate=0), "none"),
        (Noise("gaussian_noise", std=1), "gaussian_noise(std=1)"),
        (Normalization("batch", epsilon=1e-3), "batch(epsilon=0.001)"),
        (Schedule("step", factor=0.5, every=10), "step(every=10,factor=0.5)"),
        (Prior("Laplace", scale=0.1, loc=0), "Laplace(loc=0,scale=0.1)"),
        (Prior("StudentT", df=3), "StudentT(df=3,loc=0,scale=1)"),
    ],
)
def test_a_choice_is_written_with_the_options_that_are_not_default(made, text):
    assert str(made) == text


def test_options_are_read_by_name():
    assert Initialization("normal")["std"] == 0.01
    assert Noise("none").rate == 0
    assert Noise("dropout", rate=np.float32(0.5)).rate == 0.5
    with pytest.raises(KeyError):
        Noise("none")["rate"]
