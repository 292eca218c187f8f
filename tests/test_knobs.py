"""Laws of the flat names: what is written is read back as it was, and what cannot be read says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplab.errors import InvalidInput, UnknownName
from mlplab.knobs import KNOBS, turn, value_of, written
from mlplab.spec import MLP, Activation, Initialization, Noise, Optimizer, Penalty, Setting, Training

SGD, DEEP = Setting(optimizer=Optimizer(momentum=0.5)), Setting(MLP((12, 7)))

# Text, the value that it stands for, and the text that the value is written as.
TEXTS = {
    "hidden_sizes": [("256,128", (256, 128), "256,128"), ("64", (64,), "64"), ("", (), ""),
                     (" [ 4, 3 ] ", (4, 3), "4,3"), ("(4,)", (4,), "4")],
    "activation": [("tanh", (Activation("tanh"),), "tanh"),
                   ("tanh, relu", (Activation("tanh"), Activation("relu")), "tanh,relu"),
                   ("elu(alpha=2),relu", (Activation("elu", alpha=2), Activation("relu")),
                    "elu(alpha=2),relu"),
                   ("elu()", (Activation("elu"),), "elu")],
    "initialization": [("normal(std=0.1)", (Initialization("normal", std=0.1),), "normal(std=0.1)"),
                       ("uniform( low = -1 , high = 2e-3 )", (Initialization("uniform", low=-1, high=0.002),),
                        "uniform(high=0.002,low=-1)"),
                       ("linear,uniform(low=-1,high=1),sparse(sparsity=0.5,std=1)",
                        (Initialization("linear"), Initialization("uniform", low=-1),
                         Initialization("sparse", sparsity=0.5, std=1)),
                        "linear,uniform(low=-1),sparse(sparsity=0.5,std=1)")],
    "bias": [("true", True, "True"), ("No", False, "False"), (" 0 ", False, "False"), ("YES", True, "True")],
    "dropout": [("0.2,0.5", (0.2, 0.5), "0.2,0.5"), ("0.5", (0.5, 0.5), "0.5,0.5"),
                ("(0, .3)", (0.0, 0.3), "0,0.3"), ("0", (0.0, 0.0), "0,0")],
    "noise": [("dropout(rate=0.3)", (Noise("dropout", rate=0.3),), "dropout(rate=0.3)"),
              ("none", (Noise("none"),), "none"),
              ("none,dropout", (Noise("none"), Noise("dropout")), "none,dropout")],
    "optimizer": [("adamw", "adamw", "adamw"), (" sgd ", "sgd", "sgd")],
    "learning_rate": [("0.05", 0.05, "0.05"), ("1", 1.0, "1"), ("3e-4", 0.0003, "0.0003"),
                      ("0.123456789", 0.123456789, "0.123456789")],
    "momentum": [("0.9", 0.9, "0.9")],
    "nesterov": [("true", True, "True"), ("false", False, "False")],
    "beta1": [("0.8", 0.8, "0.8")],
    "beta2": [("0.9999999", 0.9999999, "0.9999999")],
    "epsilon": [("1e-8", 1e-8, "1e-08")],
    "weight_decay": [("0.001", 0.001, "0.001"), ("0", 0.0, "0"), ("-0", 0.0, "0")],
    "l1": [("0.001", 0.001, "0.001")],
    "loss": [("squared_error", "squared_error", "squared_error"),
             ("cross_entropy ", "cross_entropy", "cross_entropy")],
    "epochs": [("3", 3, "3"), (" 30 ", 30, "30")],
    "batch_size": [("32", 32, "32"), ("full", None, "full"), ("Full", None, "full")],
    "evaluate_every": [("2", 2, "2")],
    "precision": [("float64", "float64", "float64")],
}  # fmt: skip


def base(name: str, value: object) -> Setting:
    """A setting on which the knob can be turned: as many layers as the value has, momentum where needed."""
    if name == "hidden_sizes":
        return Setting()
    if name in ("activation", "noise", "dropout") and isinstance(value, tuple) and len(value) == 2:
        return DEEP
    return DEEP if name == "initialization" else SGD if name == "nesterov" else Setting()


def test_every_knob_is_tried():
    assert set(TEXTS) == set(KNOBS)


def test_every_field_of_a_setting_has_a_knob():
    turned = {(knob.part, knob.field) for knob in KNOBS.values()}
    parts = {"model": MLP, "optimizer": Optimizer, "penalty": Penalty, "training": Training}
    fields = {(part, field.name) for part, kind in parts.items() for field in dataclasses.fields(kind)}
    assert turned == fields | {("noise", "")}


@pytest.mark.parametrize(
    ("name", "text", "value", "as_written"), [(name, *row) for name, rows in TEXTS.items() for row in rows]
)
def test_text_becomes_a_value_and_is_written_again(name, text, value, as_written):
    setting = turn(base(name, value), **{name: text})
    assert value_of(setting, name) == value
    assert written(value_of(setting, name)) == as_written
    assert turn(setting, **{name: as_written}) == setting
    assert turn(base(name, value), **{name: value}) == setting, "the value itself does what its text does"


@pytest.mark.parametrize("name", KNOBS)
def test_the_example_of_a_knob_can_be_read(name):
    """It stands in the error message: a person who copies it must not get another error."""
    setting = SGD if name == "nesterov" else DEEP if name in ("dropout", "initialization") else Setting()
    turned = turn(setting, **{name: KNOBS[name].example})
    assert turn(turned, **{name: written(value_of(turned, name))}) == turned


def test_equal_layers_are_written_once():
    setting = turn(DEEP, activation="tanh,tanh", noise="dropout,dropout")
    assert setting == turn(DEEP, activation="tanh", noise="dropout")
    assert written(value_of(setting, "activation")) == "tanh"


def test_a_setting_is_not_changed_by_turning():
    setting = Setting()
    turn(setting, learning_rate=0.5, dropout=0.3, hidden_sizes=(4,))
    assert setting == Setting()
    assert turn(setting) == setting


def test_several_knobs_of_one_part_are_turned_together():
    """Each alone would be refused: Nesterov needs a momentum, two activations need two layers."""
    texts = {"activation": "tanh,relu", "hidden_sizes": "4,3", "dropout": ".1,.2"}
    turned = turn(Setting(), nesterov="true", momentum="0.9", **texts)
    assert turned.optimizer == Optimizer(momentum=0.9, nesterov=True)
    assert turned.model == MLP((4, 3), ("tanh", "relu"))
    assert [noise.rate for noise in turned.noises] == [0.1, 0.2]


def test_dropout_and_noise_turn_the_same():
    assert turn(DEEP, dropout=(0.2, 0.5)) == turn(DEEP, noise="dropout(rate=0.2),dropout(rate=0.5)")
    assert turn(DEEP, dropout=0.5) == turn(DEEP, noise="dropout") == turn(DEEP, dropout=[0.5, 0.5])
    assert turn(DEEP, dropout=0) == turn(DEEP, noise="none") == DEEP
    assert value_of(DEEP, "dropout") == (0, 0)
    for order in (("dropout", "noise"), ("noise", "dropout")):
        given_twice = dict.fromkeys(order, "0.5") | {"noise": "none"}
        with pytest.raises(InvalidInput, match=f"{order[1]} must be the only one of 'dropout' and 'noise'"):
            turn(DEEP, **given_twice)


def test_values_of_other_types_are_what_the_spec_makes_of_them():
    assert turn(Setting(), hidden_sizes=np.array([4, 3])).model == MLP((4, 3))
    assert turn(Setting(), learning_rate=np.float64(0.3)).optimizer == Optimizer(learning_rate=0.3)
    assert turn(Setting(), activation=Activation("elu")).model.activation == (Activation("elu"),)
    assert turn(Setting(), batch_size=None).training.batch_size is None


# What cannot be read


def test_an_unknown_knob_says_the_nearest_one():
    for call in (lambda: turn(Setting(), learning_rte=1), lambda: value_of(Setting(), "learning_rte")):
        with pytest.raises(UnknownName, match="Did you mean 'learning_rate'"):
            call()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, "???") for name in KNOBS if name not in ("optimizer", "loss", "precision")),
        ("hidden_sizes", "1.5"), ("hidden_sizes", "4;3"), ("hidden_sizes", "4 3"), ("epochs", "1.5"),
        ("epochs", ""), ("learning_rate", ""), ("learning_rate", "0,1"), ("bias", "maybe"), ("bias", ""),
        ("batch_size", "none"), ("activation", ""), ("activation", "relu,"), ("activation", "relu,,tanh"),
        ("activation", "(relu,tanh)"),
        ("activation", "elu(alpha)"), ("activation", "elu(0.5)"), ("activation", "elu(alpha=)"),
        ("activation", "elu(alpha=1"), ("activation", "elu alpha=1)"), ("activation", "elu(kind=1)"),
        ("activation", "elu(self=1)"), ("initialization", "normal(std=(1))x"),
        ("noise", "dropout(0.5)"), ("dropout", "half"), ("dropout", "0.5;0.2"),
    ],
)  # fmt: skip
def test_unreadable_text_is_refused_with_one_line_and_an_example(name, text):
    with pytest.raises(InvalidInput) as refused:
        turn(DEEP, **{name: text})
    message = f"{name} could not be read; got {text!r}. Write it like {name}={KNOBS[name].example}."
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dropout", "1", "Noise('dropout').rate must be in [0, 1)"),
        ("dropout", "0.1,0.2,0.3", "Setting.noise must be one, or one for each of 2 layers"),
        ("dropout", "", "Setting.noise must be one, or one for each of 2 layers"),
        ("learning_rate", "nan", "Optimizer.learning_rate must be finite"),
        ("learning_rate", "1e999", "Optimizer.learning_rate must be finite"),
        ("learning_rate", "-1", "Optimizer.learning_rate must be greater than 0"),
        ("hidden_sizes", "4,0", "MLP.hidden_sizes must be a whole number, at least 1"),
        ("epochs", "0", "Training.epochs must be a whole number, at least 1"),
        ("batch_size", "-3", "Training.batch_size must be a whole number, at least 1"),
        ("initialization", "normal(std=nan)", "Initialization('normal').std must be finite"),
        ("activation", "relu(alpha=1)", "Activation('relu') takes no options"),
        ("activation", "relu,tanh,elu", "MLP.activation must be one, or one for each of 2 layers"),
    ],
)
def test_what_the_spec_refuses_is_refused_in_its_words(name, text, message):
    with pytest.raises(InvalidInput) as refused:
        turn(DEEP, **{name: text})
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "nearest"),
    [
        ("optimizer", "adm", "adam"),
        ("loss", "square_error", "squared_error"),
        ("precision", "float46", "float64"),
        ("activation", "relu,tahn", "tanh"),
        ("activation", "elu(alfa=1)", "alpha"),
        ("initialization", "xavier_norm", "xavier_normal"),
        ("noise", "droput(rate=0.5)", "dropout"),
    ],
)
def test_unknown_names_in_text_say_the_nearest_one(name, text, nearest):
    with pytest.raises(UnknownName, match=f"Did you mean '{nearest}'"):
        turn(DEEP, **{name: text})


# Any setting, and any text

POSITIVE = st.floats(1e-300, 1e300)
RATE = st.floats(0, 1, exclude_max=True)


@st.composite
def named(draw, kind, value=POSITIVE):
    name = draw(st.sampled_from(sorted(kind.KINDS)))
    options = {option: draw(value) for option in kind.KINDS[name] if draw(st.booleans())}
    if "low" in kind.KINDS[name]:
        low, high = sorted(draw(st.lists(RATE, min_size=2, max_size=2, unique=True)))
        options = {"low": low, "high": high}
    return kind(name, **options | ({"sparsity": draw(RATE)} if name == "sparse" else {}))


@st.composite
def any_setting(draw):
    sizes = tuple(draw(st.lists(st.integers(1, 10**6), max_size=3)))

    def layers(strategy, last=0):
        count = len(sizes) + last
        return tuple(draw(st.lists(strategy, min_size=count, max_size=count))) or None

    model = MLP(
        sizes,
        layers(named(Activation)) or "relu",
        layers(named(Initialization), last=1),
        draw(st.booleans()),
    )
    rate, beta1, beta2, epsilon = draw(POSITIVE), draw(RATE), draw(RATE), draw(POSITIVE)
    kind, momentum = draw(st.sampled_from(Optimizer.KINDS)), draw(RATE)
    momentum = momentum if kind == "sgd" else 0.0
    optimizer = Optimizer(kind, rate, momentum, momentum > 0 and draw(st.booleans()), beta1, beta2, epsilon)
    training = Training(
        draw(st.sampled_from(sorted(Training.LOSSES))),
        draw(st.integers(1, 10**6)),
        draw(st.none() | st.integers(1, 10**6)),
        draw(st.integers(1, 100)),
        draw(st.sampled_from(["float32", "float64"])),
    )
    noise = layers(named(Noise, RATE)) or "none"
    return Setting(
        model, noise, optimizer, Penalty(draw(st.floats(0, 1e300)), draw(st.floats(0, 1e300))), training
    )


@given(any_setting())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_any_setting_is_what_its_knobs_say(setting):
    """All knobs written as text, and read on the default setting, give it back, bit for bit."""
    texts = {name: written(value_of(setting, name)) for name in KNOBS}
    for left_out in ("dropout", "noise"):
        chosen = {name: text for name, text in texts.items() if name != left_out}
        if (
            not setting.model.hidden_sizes
        ):  # no layer that could have an activation or noise: nothing to write
            chosen.pop("noise", None)
        found = turn(Setting(), **chosen)
        assert found == setting
        assert found.digest == setting.digest


@given(
    st.sampled_from(sorted(KNOBS)), st.text(max_size=12) | st.text("relu()=,.0123normalstd[] ", max_size=12)
)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_any_text_is_read_or_refused_with_one_line(name, text):
    """Whatever is typed: a setting, or an error for a person. Never anything else."""
    message = ""
    try:
        turned = turn(DEEP, **{name: text})
    except InvalidInput as refused:
        message = str(refused)
    else:
        assert turn(turned, **{name: written(value_of(turned, name))}) == turned
    assert len(message.splitlines()) <= 1
