"""A plan says the same from TOML, from JSON and from the command line; what it cannot mean is refused by name."""

from __future__ import annotations

import json

import pytest

from mlplab.cli.studies import read_levels
from mlplab.data.own_table import Roles
from mlplab.errors import DataError, InvalidInput, MLPLabError, UnknownName
from mlplab.spec import MLP, Activation, Initialization, Setting
from mlplab.study.design import factorial
from mlplab.study.plan import Plan
from mlplab.study.space import Space

GOOD = """
[data]
file = "houses.csv"   # beside this file
target = "price"
leave_out = ["tax"]
[base]
epochs = 3
[vary]
dropout = [0, 0.5]
hidden_sizes = [[8], [8, 4]]
[compare]
seeds = 4
margin = 0.01
"""


def read(folder, text: str) -> Plan:
    path = folder / "plan.toml"
    path.write_text(text, "utf-8")
    return Plan.read(path)


def test_toml_json_and_the_command_line_say_the_same(tmp_path):
    plan = read(tmp_path, GOOD)
    assert plan.file == str(tmp_path / "houses.csv")
    assert plan.roles == Roles("price", leave_out=("tax",))
    assert plan.vary["hidden_sizes"] == [(8,), (8, 4)]
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert read_levels(["dropout=0,0.5", "hidden_sizes=8|8,4", "activation=elu(alpha=0.5),relu"]) == {
        "dropout": ["0", "0.5"],
        "hidden_sizes": ["8", "8,4"],
        "activation": ["elu(alpha=0.5)", "relu"],
    }


@pytest.mark.parametrize(
    ("old", "new", "error", "says"),
    [
        ("[compare]", "[comparison]", UnknownName, "Did you mean 'compare'?"),
        ("seeds", "sedes", UnknownName, "Did you mean 'seeds'?"),
        ("dropout", "dropuot", UnknownName, "Did you mean 'dropout'?"),
        ("target", "traget", UnknownName, "Did you mean 'target'?"),
        ("seeds = 4", "seeds = 1", InvalidInput, "at least 2"),
        ("seeds = 4", 'seeds = "4"', InvalidInput, "whole number"),
        ("margin = 0.01", "margin = -1", InvalidInput, "above 0"),
        ("epochs", "dropout", InvalidInput, "cannot hold what is varied"),
        ("[0, 0.5]", "0.5", InvalidInput, "must be a list of levels"),
        ("[data]", "[data", DataError, "no valid TOML"),
        ("[compare]\nseeds = 4\nmargin = 0.01", "compare = 3", MLPLabError, ""),
        ('file = "houses.csv"', "file = 3", InvalidInput, "as text"),
        ("seeds = 4", "seeds = 9\nuntil_decided = true\nmax_seeds = 5", InvalidInput, "at least Plan.seeds"),
    ],
)
def test_what_a_plan_cannot_mean_is_refused_by_name(tmp_path, old: str, new: str, error, says: str):
    assert old in GOOD
    with pytest.raises(error) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["dropout", "=0,1", "dropout="])
def test_levels_that_cannot_be_read(text: str):
    with pytest.raises(InvalidInput, match="KEY=LEVELS"):
        read_levels([text])
    with pytest.raises(InvalidInput, match="once"):
        read_levels(["dropout=0", "dropout=1"])


SYNTAXES = {
    "commas": ("dropout", "0, 0.2,0.5", [(0.0,), (0.2,), (0.5,)]),
    "bars": ("hidden_sizes", "64,32|16", [(64, 32), (16,)]),
    "square brackets": ("hidden_sizes", "[64,32],[16]", [(64, 32), (16,)]),
    "round brackets": ("hidden_sizes", "(64,32),(16)", [(64, 32), (16,)]),
    "brackets and bars": ("hidden_sizes", "[64,32]|16", [(64, 32), (16,)]),
    "one in brackets": ("dropout", "[0.2,0.5],0", [(0.2, 0.5), (0.0,)]),
    "options": ("initialization", "normal(mean=0,std=0.1),linear",
                [(Initialization("normal", mean=0, std=0.1),), (Initialization("linear"),)]),
    "options and bars": ("activation", "elu(alpha=0.5),relu|tanh", None),
    "names": ("activation", "relu,tanh", [(Activation("relu"),), (Activation("tanh"),)]),
}  # fmt: skip


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_levels_are_written_in_one_way_for_compare_study_and_tune(tmp_path, syntax: str):
    name, text, levels = SYNTAXES[syntax]
    base = Setting(MLP((8, 8)))
    from_file = read(tmp_path, GOOD.replace("hidden_sizes = [[8], [8, 4]]", f'{name} = "{text}"').replace(
        "dropout = [0, 0.5]", ""))  # fmt: skip
    of_file, typed = (
        factorial(base, **{name: plan[name]}) for plan in (from_file.vary, read_levels([f"{name}={text}"]))
    )
    searched = Space(base, **{name: text}).dimensions[name]
    assert of_file == typed
    assert [arm.levels[name] for arm in typed] == list(searched.levels)
    if levels is not None:
        assert list(searched.levels) == levels


@pytest.mark.parametrize("text", ["0,,0.5", "0|", ",0", "[],"])
def test_an_empty_level_is_refused_everywhere(tmp_path, text: str):
    for door in (
        lambda: read_levels([f"dropout={text}"]),
        lambda: Space(Setting(), dropout=text),
        lambda: read(tmp_path, GOOD.replace("dropout = [0, 0.5]", f'dropout = "{text}"')),
    ):
        with pytest.raises(InvalidInput, match="levels of dropout must not be empty"):
            door()
