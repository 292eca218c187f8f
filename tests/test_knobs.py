"""Laws of the flat names: what is written is read back as it was, and what cannot be read says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplab.errors import InvalidInput, UnknownName
from mlplab.knobs import KNOBS, turn, value_of, written
from mlplab.spec import (
    MLP,
    Activation,
    Initialization,
    Noise,
    Normalization,
    Optimizer,
    Penalty,
    Prior,
    Schedule,
    Setting,
    Training,
)

SGD, DEEP = Setting(optimizer=Optimizer(momentum=0.5)), Setting(MLP((12, 7)))
BELIEVING = Setting(penalty=Penalty(prior=Prior("Normal", loc=0, scale=1), prior_weight=0.5))
LAPLACE = Prior("Laplace", loc=0, scale=0.1)

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
    "normalization": [("batch", (Normalization("batch"),), "batch"), ("none", (Normalization("none"),), "none"),
                      ("batch(momentum=0.5), none", (Normalization("batch", momentum=0.5), Normalization("none")),
                       "batch(momentum=0.5),none")],
    "bias": [("true", True, "True"), ("No", False, "False"), (" 0 ", False, "False"), ("YES", True, "True")],
    "dropout": [("0.2,0.5", (0.2, 0.5), "0.2,0.5"), ("0.5", (0.5, 0.5), "0.5,0.5"),
                ("(0, .3)", (0.0, 0.3), "0,0.3"), ("0", (0.0, 0.0), "0,0")],
    "noise": [("dropout(rate=0.3)", (Noise("dropout", rate=0.3),), "dropout(rate=0.3)"),
              ("none", (Noise("none"),), "none"),
              ("none,dropout", (Noise("none"), Noise("dropout")), "none,dropout"),
              ("dropconnect(rate=0)", (Noise("none"),), "none"),
              ("gaussian_noise(std=2),layer_moment", (Noise("gaussian_noise", std=2), Noise("layer_moment")),
               "gaussian_noise(std=2),layer_moment")],
    "optimizer": [("adamw", "adamw", "adamw"), (" sgd ", "sgd", "sgd")],
    "learning_rate": [("0.05", 0.05, "0.05"), ("1", 1.0, "1"), ("3e-4", 0.0003, "0.0003"),
                      ("0.123456789", 0.123456789, "0.123456789")],
    "momentum": [("0.9", 0.9, "0.9")],
    "nesterov": [("true", True, "True"), ("false", False, "False")],
    "beta1": [("0.8", 0.8, "0.8")],
    "beta2": [("0.9999999", 0.9999999, "0.9999999")],
    "epsilon": [("1e-8", 1e-8, "1e-08")],
    "trust_coefficient": [("0.01", 0.01, "0.01")],
    "clip_norm": [("0.5", 0.5, "0.5"), ("none", None, "none"), (" None ", None, "none")],
    "schedule": [("constant", Schedule("constant"), "constant"),
                 ("step(every=5, factor=0.5)", Schedule("step", every=5, factor=0.5), "step(every=5,factor=0.5)"),
                 (" cosine( warmup = .5 ) ", Schedule("cosine", warmup=0.5), "cosine(warmup=0.5)")],
    "weight_decay": [("0.001", 0.001, "0.001"), ("0", 0.0, "0"), ("-0", 0.0, "0")],
    "l1": [("0.001", 0.001, "0.001")],
    "proximal": [("true", True, "True"), ("0", False, "False")],
    "prior": [("Laplace(loc=0,scale=0.1)", LAPLACE, "Laplace(loc=0,scale=0.1)"),
              ("Laplace( scale = 1e-1 , loc = -0 )", LAPLACE, "Laplace(loc=0,scale=0.1)"),
              ("StudentT(df=3)", Prior("StudentT", df=3), "StudentT(df=3,loc=0,scale=1)")],
    "prior_weight": [("0.001", 0.001, "0.001"), ("1", 1.0, "1")],
    "loss": [("squared_error", "squared_error", "squared_error"),
             ("cross_entropy ", "cross_entropy", "cross_entropy")],
    "epochs": [("3", 3, "3"), (" 30 ", 30, "30")],
    "batch_size": [("32", 32, "32"), ("full", None, "none"), ("Full", None, "none"), (" none", None, "none")],
    "evaluate_every": [("2", 2, "2")],
    "precision": [("float64", "float64", "float64"), ("bfloat16 ", "bfloat16", "bfloat16")],
    "huber_delta": [("2.5", 2.5, "2.5")],
    "label_smoothing": [("0.1", 0.1, "0.1"), ("0", 0.0, "0")],
    "patience": [("5", 5, "5"), ("none", None, "none"), ("NONE", None, "none")],
    "probes": [("activations", ("activations",), "activations"), ("", (), ""), ("()", (), ""),
               ("weight_norms, activations", ("activations", "weight_norms"), "activations,weight_norms")],
    "average_epochs": [("5", 5, "5"), ("0", 0, "0")],
    "drop_last": [("true", True, "True"), ("no", False, "False")],
    "keep_weights": [("1,10", (1, 10), "1,10"), ("[10, 1, 10]", (1, 10), "1,10"), ("3", (3,), "3"), ("", (), "")],
}  # fmt: skip


NEEDS = {
    "initialization": DEEP,
    "nesterov": SGD,
    "proximal": Setting(penalty=Penalty(l1=0.1)),
    "prior": BELIEVING,
    "prior_weight": BELIEVING,
    "huber_delta": Setting(training=Training("huber")),
}


def base(name: str, value: object) -> Setting:
    """A setting on which the knob can be turned: as many layers as the value has, and what the knob needs."""
    per_layer = name in ("activation", "noise", "dropout", "normalization")
    return DEEP if per_layer and isinstance(value, tuple) and len(value) == 2 else NEEDS.get(name, Setting())


def test_every_knob_is_tried():
    assert set(TEXTS) == set(KNOBS)


def test_every_field_of_a_setting_has_a_knob():
    turned = {(knob.part, knob.field) for knob in KNOBS.values()}
    parts = {"model": MLP, "optimizer": Optimizer, "penalty": Penalty, "training": Training}
    fields = {(part, field.name) for part, kind in parts.items() for field in dataclasses.fields(kind)}
    assert turned == fields - {("model", "start")} | {("noise", "")}, "weights are not typed"


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
    setting = DEEP if name == "dropout" else NEEDS.get(name, Setting())
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


def test_a_prior_and_its_weight_are_turned_together():
    """On and off: neither stands without the other."""
    on = turn(Setting(), prior="Laplace(loc=0,scale=0.1)", prior_weight="0.1")
    assert on.penalty == Penalty(prior=LAPLACE, prior_weight=0.1)
    assert turn(Setting(), prior_weight=0.1, prior=LAPLACE) == on
    for weight in (0, "0", 0.0):
        for prior in ("none", None, " None"):
            assert turn(on, prior=prior, prior_weight=weight) == Setting()
    for half in ({"prior": "Normal(loc=0,scale=1)"}, {"prior_weight": "1"}):
        with pytest.raises(InvalidInput, match=r"^Penalty.prior_weight must be greater than 0 with a prior"):
            turn(Setting(), **half)
    for half in ({"prior": "none"}, {"prior_weight": "0"}):
        with pytest.raises(InvalidInput, match=r"^Penalty.prior_weight must be greater than 0 with a prior"):
            turn(on, **half)


def test_what_needs_another_knob_is_turned_with_it():
    assert turn(Setting(), proximal="true", l1="0.1").penalty == Penalty(l1=0.1, proximal=True)
    assert turn(Setting(), huber_delta="2", loss="huber").training == Training("huber", huber_delta=2)
    assert turn(Setting(), keep_weights="40", epochs="40").training == Training(epochs=40, keep_weights=40)


def test_dropout_says_nothing_of_other_noise():
    setting = turn(DEEP, noise="dropconnect,dropout(rate=0.3)")
    assert value_of(setting, "dropout") == (0, 0.3)
    assert written(value_of(setting, "noise")) == "dropconnect,dropout(rate=0.3)"


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
    assert turn(Setting(), schedule=Schedule("cosine")) == turn(Setting(), schedule="cosine")
    assert turn(Setting(), probes=["activations"]) == turn(Setting(), probes="activations")
    assert turn(Setting(), keep_weights=3).training.keep_weights == (3,)


# What cannot be read


def test_an_unknown_knob_says_the_nearest_one():
    for call in (lambda: turn(Setting(), learning_rte=1), lambda: value_of(Setting(), "learning_rte")):
        with pytest.raises(UnknownName, match="Did you mean 'learning_rate'"):
            call()


SPELLED = ("optimizer", "loss", "precision", "probes")  # any text can be read: the spec says which are names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, "???") for name in KNOBS if name not in SPELLED),
        ("hidden_sizes", "1.5"), ("hidden_sizes", "4;3"), ("hidden_sizes", "4 3"), ("epochs", "1.5"),
        ("epochs", ""), ("learning_rate", ""), ("learning_rate", "0,1"), ("bias", "maybe"), ("bias", ""),
        ("batch_size", "nothing"), ("patience", ""), ("patience", "full"), ("clip_norm", "full"), ("patience", "1.5"),
        *((name, text) for name in ("hidden_sizes", "keep_weights", "dropout")
          for text in ("(4", "4)", "[4)", "(4]", "((4))", "4,,3", ",4", ",", "(,)", "4)(3")),
        *((name, f"{kind}{text}") for name, kind in (("initialization", "normal"), ("activation", "elu"),
                                                     ("schedule", "cosine"), ("prior", "Normal"), ("noise", "dropout"))
          for text in ("(std=1", "std=1)", "((std=1)", "(std=1))", "((std=1))", "([std=1])", "[std=1]", "(std=[1])",
                       "(std=1,std=1)", "(std=1,,)", "(,std=1)", "(,)", "(std==1)", "(=1)x", "()()", "(")),
        ("initialization", "normal(std=1,linear"), ("initialization", "normal(std=1,linear(gain=1)"),
        ("schedule", "cosine,step"), ("schedule", ""), ("prior", ""),
        ("prior", "Normal(loc=0,scale=1),Laplace(loc=0,scale=1)"),
        ("prior", "Normal(loc=a,scale=1)"), ("prior", "Normal(0,1)"),
        ("normalization", "batch(momentum)"), ("probes", "activations,,weight_norms"), ("epochs", "9" * 5000),
        ("activation", ""), ("activation", "relu,"), ("activation", "relu,,tanh"),
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
    shown = repr(text) if len(repr(text)) <= 200 else f"{text!r:.200}..."
    message = f"{name} could not be read; got {shown}. Write it like {name}={KNOBS[name].example}."
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
        ("epochs", "9" * 19, "Training.epochs must be below 2**63"),
        ("normalization", "batch,none,batch", "MLP.normalization must be one, or one for each of 2 layers"),
        (
            "schedule",
            "step(every=0.5)",
            "Schedule('step').every must be a whole number of epochs, at least 1",
        ),
        ("schedule", "none", "Schedule must be one of 'constant', 'step', 'cosine'"),
        ("prior", "none,none", "Prior must be one of"),
        ("clip_norm", "0", "Optimizer.clip_norm must be greater than 0"),
        ("trust_coefficient", "inf", "Optimizer.trust_coefficient must be finite"),
        ("proximal", "true", "Penalty.proximal needs an l1 greater than 0"),
        ("prior", "Normal", "Prior('Normal') needs loc and scale"),
        ("prior", "Normal(loc=0,scale=-1)", "Prior('Normal') must have options that PyTorch takes"),
        ("prior", "Normal(loc=nan,scale=1)", "Prior('Normal').loc must be finite"),
        ("prior", "Normal(loc=0,scale=1,validate_args=0)", "Prior('Normal') option must be one of"),
        ("probes", "(activations", "Training.probes must be one of"),
        ("keep_weights", "11", "Training.keep_weights must be at most epochs, 10"),
        ("average_epochs", "11", "Training.average_epochs must be at most epochs, 10"),
        ("average_epochs", "-1", "Training.average_epochs must be a whole number, at least 0"),
        ("patience", "0", "Training.patience must be a whole number, at least 1"),
        ("huber_delta", "2", "Training.huber_delta belongs to loss 'huber'"),
        ("label_smoothing", "1", "Training.label_smoothing must be in [0, 1)"),
        ("noise", "layer_moment(scale=-1)", "Noise('layer_moment').scale must be at least 0"),
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
        ("noise", "gaussian_noise(sd=0.5)", "std"),
        ("normalization", "batchnorm", "batch"),
        ("schedule", "cosine(warm_up=1)", "warmup"),
        ("prior", "laplace(loc=0,scale=1)", "Laplace"),
        ("prior", "Normal(location=0,scale=1)", "loc"),
        ("probes", "weight_norms,activation", "activations"),
        ("precision", "bfloat", "bfloat16"),
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
    narrow = {"sparsity": RATE, "rate": RATE, "final": RATE, "every": st.integers(1, 10**6)}
    if kind is Normalization:
        narrow["momentum"] = RATE.filter(bool)
    return kind(name, **options | {option: draw(narrow[option]) for option in options if option in narrow})


@st.composite
def prior(draw):
    name, loc = (
        draw(st.sampled_from(["Normal", "Laplace", "Cauchy", "Gumbel", "StudentT"])),
        draw(st.floats(-9, 9)),
    )
    freedom = {"df": draw(st.floats(1e-3, 1e3))} if name == "StudentT" else {}
    return Prior(name, loc=loc, scale=draw(st.floats(1e-3, 1e3)), **freedom)


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
        layers(named(Normalization)) or "none",
    )
    rate, beta1, beta2, epsilon = draw(POSITIVE), draw(RATE), draw(RATE), draw(POSITIVE)
    kind, momentum = draw(st.sampled_from(Optimizer.KINDS)), draw(RATE)
    momentum = momentum if kind in ("sgd", "lars") else 0.0
    nesterov = momentum > 0 and draw(st.booleans())
    trust, clip_norm, schedule = draw(POSITIVE), draw(st.none() | POSITIVE), draw(named(Schedule))
    optimizer = Optimizer(kind, rate, momentum, nesterov, beta1, beta2, epsilon, trust, clip_norm, schedule)
    loss, epochs = draw(st.sampled_from(sorted(Training.LOSSES))), draw(st.integers(1, 10**6))
    probes = [probe for probe in Training.PROBES if probe != "test_hits" or loss == "cross_entropy"]
    patience = draw(st.none() | st.integers(1, 100))
    training = Training(
        loss,
        epochs,
        draw(st.none() | st.integers(1, 10**6)),
        draw(st.integers(1, 100)),
        draw(st.sampled_from(["float32", "float64", "bfloat16"])),
        draw(POSITIVE) if loss == "huber" else 1,
        draw(RATE) if loss == "cross_entropy" else 0,
        patience,
        draw(st.sets(st.sampled_from(probes))),
        draw(st.sets(st.integers(1, epochs), max_size=3)),
        draw(st.integers(0, epochs)) if patience is None else 0,
        draw(st.booleans()),
    )
    noise = layers(named(Noise)) or "none"
    decay, l1, believed = draw(st.floats(0, 1e300)), draw(st.floats(0, 1e300)), draw(st.none() | prior())
    penalty = Penalty(decay, l1, l1 > 0 and draw(st.booleans()), believed, draw(POSITIVE) if believed else 0)
    return Setting(model, noise, optimizer, penalty, training)


@given(any_setting())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_any_setting_is_what_its_knobs_say(setting):
    """All knobs written as text, and read on the default setting, give it back, bit for bit."""
    texts = {name: written(value_of(setting, name)) for name in KNOBS}
    only_dropout = {noise.kind for noise in setting.noises} <= {"none", "dropout"}
    for left_out in ("dropout", "noise") if only_dropout else ("dropout",):
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
