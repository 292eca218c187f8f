"""Laws of the specs: one meaning has one form and one digest, and what cannot be trained cannot be made."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplab import spec
from mlplab.errors import InvalidInput, UnknownName
from mlplab.spec import (
    MLP,
    Activation,
    Initialization,
    Noise,
    Optimizer,
    Penalty,
    Run,
    Setting,
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
]
each_spec = pytest.mark.parametrize("made", SPECS, ids=str)

# For each field, a value away from its default. A test below fails until a new field stands here.
OTHER = {
    MLP: {
        "hidden_sizes": (64,), "activation": "tanh", "initialization": Initialization("normal", std=0.1),
        "bias": False,
    },
    Optimizer: {
        "kind": "adam", "learning_rate": 0.2, "momentum": 0.5, "nesterov": True, "beta1": 0.5, "beta2": 0.5,
        "epsilon": 1e-6,
    },
    Penalty: {"weight_decay": 0.1, "l1": 0.1},
    Training: {
        "loss": "squared_error", "epochs": 3, "batch_size": 32, "evaluate_every": 2, "precision": "float64",
    },
    Setting: {
        "model": MLP((64,)), "noise": Noise("dropout"), "optimizer": Optimizer("adam"),
        "penalty": Penalty(0.1), "training": Training(epochs=3),
    },
    Run: {"setting": FULL, "data": "other:1/2/3:cd", "seed": 1, "semantics": 2},
}  # fmt: skip


# Digests: the keys of stored results


@pytest.mark.parametrize(
    ("made", "pinned"),
    [
        (Setting(), "93cf994d28d4456101da09acd2f1a482"),
        (FULL, "591377297f8368de7c0daa4b56bfcdea"),
        (Run(Setting(), "digits:1/2/3:ab", 0), "07a2c658a67aa7c1b21662bc914e4bd4"),
        (Run(FULL, "digits:1/2/3:ab", 2**63 - 1), "8993ba2773d701e66d33357d14c18b43"),
        ([Penalty(0.1), {"a": 1, "b": None}], "b8494a94478722564ef92b9d93ac536a"),
    ],
    ids=["default", "full", "run", "full run", "list"],
)
def test_digests_are_pinned(made, pinned):
    """They are the keys of stored and published results. If one changes, no stored result is found again."""
    assert (made.digest if isinstance(made, Setting | Run) else digest(made)) == pinned


def test_the_digest_of_a_run_names_its_semantics():
    """Even today's: a new meaning must not find the results of the old one."""
    run = Run(Setting(), "digits:1/2/3:ab", 0)
    assert run.semantics == spec.SEMANTICS
    assert run.digest != digest(run)
    assert dataclasses.replace(run, semantics=2).digest != run.digest


@pytest.mark.parametrize(("kind", "field"), [(kind, f) for kind in OTHER for f in OTHER[kind]])
def test_every_field_changes_the_digest(kind, field):
    needed = {"setting": Setting(), "data": "digits:1/2/3:ab", "seed": 0} if kind is Run else {}
    if field == "nesterov":  # needs a momentum
        needed["momentum"] = 0.5
    changed = kind(**needed | {field: OTHER[kind][field]})
    assert digest(changed) != digest(kind(**needed))
    assert changed != kind(**needed)


def test_no_field_is_forgotten_above():
    for kind, values in OTHER.items():
        assert set(values) == {field.name for field in dataclasses.fields(kind)}, kind


@pytest.mark.parametrize("kind", [Activation, Initialization, Noise])
def test_every_kind_and_option_changes_the_digest(kind):
    made = [kind(name) for name in kind.KINDS]
    # 0.25 is allowed for every option of every kind, and no default.
    made += [kind(name, **{option: 0.25}) for name, options in kind.KINDS.items() for option in options]
    assert len({digest(item) for item in made}) == len(set(made)) == len(made)


def test_a_part_of_equal_content_but_another_type_has_another_digest():
    assert len({digest(Activation("relu")), digest("relu"), digest(["relu"])}) == 3
    assert Noise("none") != "none"


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
    ],
    ids=str,
)
def test_one_meaning_has_one_form_and_one_digest(one, other):
    assert one == other
    assert hash(one) == hash(other)
    assert digest(one) == digest(other)
    assert repr(one) == repr(other)


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
    assert [noise.rate for noise in Setting(model, Noise("dropout", rate=0.3)).noises] == [0.3] * 3


def test_one_for_each_layer_is_kept_in_order():
    model = MLP((4, 3), activation=("tanh", "relu"), initialization=("ones", "zeros", "normal"))
    assert [a.kind for a in model.activations] == ["tanh", "relu"]
    assert [i.kind for i in model.initializations] == ["ones", "zeros", "normal"]
    assert [noise.rate for noise in Setting(model, ("none", Noise("dropout", rate=0.3))).noises] == [0, 0.3]


def test_a_linear_model_has_no_hidden_layer_to_describe():
    model = MLP(())
    assert (model.activations, Setting(model).noises) == ((), ())
    assert model.initializations == (Initialization("normal"),)


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
        for n in ("momentum", "beta1", "beta2", "epsilon")
        for v in (-0.1, *INFINITE, True, "a")
    ),
    *(
        (lambda n=n: Optimizer(**{n: 1}), f"Optimizer.{n} must be in [0, 1)")
        for n in ("momentum", "beta1", "beta2")
    ),
    (lambda: Optimizer(epsilon=0), "Optimizer.epsilon must be greater than 0"),
    (lambda: Optimizer(nesterov=1, momentum=0.9), "Optimizer.nesterov must be True or False"),
    (lambda: Optimizer(nesterov=True), "Optimizer.nesterov needs a momentum greater than 0"),
    (lambda: Optimizer("adam", momentum=0.9), "Optimizer.momentum belongs to kind 'sgd'"),
    *(
        (lambda n=n, v=v: Penalty(**{n: v}), f"Penalty.{n} must be")
        for n in ("weight_decay", "l1")
        for v in (-1e-9, *INFINITE, True, "0.1", None)
    ),
    *(
        (lambda n=n, v=v: Training(**{n: v}), f"Training.{n} must be a whole number, at least 1")
        for n in ("epochs", "batch_size", "evaluate_every")
        for v in (0, -1, 1.0, 1.5, True, "3", math.nan)
    ),
    (lambda: Training(epochs=None), "Training.epochs must be a whole number"),
    *(
        (lambda v=v: MLP(v), "MLP.hidden_sizes must be a whole number, at least 1")
        for v in (0, (64, 0), -3, (64.0,), (True,), "64", ("64",), None, ((64,),))
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
    (lambda: Noise("none", rate=0.5), "Noise('none') takes no options"),
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
    ],
)
def test_an_unknown_name_says_the_nearest_one(make, nearest):
    with pytest.raises(UnknownName, match=f"Did you mean '{nearest}'"):
        make()


@pytest.mark.parametrize("bad", [None, 3, ["relu"], {"a": 1}, True])
@pytest.mark.parametrize("make", [Activation, Initialization, Noise, Optimizer, Training])
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
