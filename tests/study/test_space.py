"""Laws of a search space: draws are repeatable and uniform, bad input gets one clear line."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab.errors import InvalidInput, UnknownName
from mlplab.knobs import turn
from mlplab.spec import Setting
from mlplab.study.space import Range, Space

BASE = Setting()


def values(space: Space, name: str, count: int = 400) -> np.ndarray:
    return np.array([space.draw(7, number).levels[name] for number in range(count)])


def test_a_draw_hangs_on_seed_and_number_alone():
    space = Space(BASE, learning_rate="loguniform(0.001,1)", dropout=[0, 0.2, 0.5])
    names = [space.draw(3, number).name for number in (5, 0, 5)]
    assert names[0] == names[2] != names[1]
    assert space.draw(4, 5).name != names[0]


def test_loguniform_gives_each_decade_its_share():
    drawn = np.log10(values(Space(BASE, learning_rate="loguniform(0.001,1)"), "learning_rate"))
    counts = np.histogram(drawn, bins=[-3, -2, -1, 0])[0]
    assert counts.sum() == 400
    # Binomial with n = 400 and p = 1/3: 4 standard deviations are 38.
    assert np.abs(counts - 400 / 3).max() < 38


def test_whole_numbers_have_equal_shares_at_both_ends():
    drawn = values(Space(BASE, batch_size="uniform(1,4)"), "batch_size", 800)
    counts = np.bincount(drawn, minlength=5)[1:]
    assert counts.sum() == 800
    assert np.abs(counts - 200).max() < 50  # 4 standard deviations of a binomial with p = 1/4


def test_a_space_is_written_as_it_can_be_typed():
    texts = {
        "learning_rate": "loguniform(0.001,1)",
        "hidden_sizes": "64|64,32",
        "batch_size": "uniform(8,64)",
        "dropout": "0,0.5",
        "initialization": "linear,kaiming_normal",
    }
    space = Space(BASE, **texts)
    assert {name: str(dimension) for name, dimension in space.dimensions.items()} == texts
    assert str(Space(BASE, **{n: str(d) for n, d in space.dimensions.items()})) == str(space)


def test_a_range_of_widths_is_one_hidden_layer():
    drawn = values(Space(BASE, hidden_sizes="loguniform(8,512)"), "hidden_sizes", 20)
    assert drawn.shape == (20, 1)
    assert drawn.min() >= 8
    assert drawn.max() <= 512


def test_a_momentum_is_left_out_where_the_optimiser_has_none():
    space = Space(BASE, optimizer="sgd,adam", momentum="uniform(0.1,0.9)", nesterov="true,false")
    arms = [space.draw(0, number) for number in range(40)]
    kinds = {arm.setting.optimizer.kind for arm in arms}
    assert kinds == {"sgd", "adam"}, "adam is not lost to momenta that it refuses"
    for arm in arms:
        assert ("momentum" in arm.levels) == (arm.setting.optimizer.kind == "sgd")
    given = turn(BASE, momentum=0.9)
    assert {Space(given, optimizer=["adam"]).draw(0, n).setting.optimizer.momentum for n in range(3)} == {0.0}


def test_what_is_no_setting_is_drawn_again():
    space = Space(BASE, hidden_sizes="32|32,32", dropout="0.2|0.2,0.5")
    for number in range(30):
        arm = space.draw(0, number)
        assert len(arm.setting.noise) in (1, len(arm.setting.model.hidden_sizes))


def test_a_small_space_is_drawn_without_doubles_until_it_is_empty():
    space = Space(BASE, dropout="0,0.2,0.5", momentum="0,0.9")
    assert space.size == 6
    arms, number = space.draws(0, 0, 4)
    more, _ = space.draws(0, number, 10, without=arms)
    assert len({arm.setting for arm in [*arms, *more]}) == 6
    large = Space(BASE, batch_size="uniform(1,250)")
    assert len(large.draws(0, 0, 250)[0]) > 245, "the last ones are not given up early"
    assert Space(BASE, dropout="uniform(0,0.5)").size is None
    assert Space(BASE, batch_size="uniform(8,64)").size == 57


def test_numbers_are_cut_to_few_digits_and_stay_within():
    assert Range(0.001, 1, is_log=True, is_whole=False).rounded(0.123456789) == 0.1235
    assert Range(0.00123456, 1, is_log=True, is_whole=False).rounded(0) == 0.001235


@pytest.mark.parametrize(
    ("dimensions", "said"),
    [
        ({}, "needs at least 1 hyperparameter"),
        ({"learning_rat": "0.1"}, "Did you mean 'learning_rate'"),
        ({"learning_rate": "fast,slow"}, "could not be read; got 'fast'"),
        ({"learning_rate": ["fast"]}, "could not be read; got 'fast'"),
        ({"learning_rate": "0.1,,0.2"}, "must not be empty"),
        ({"learning_rate": ""}, "must not be empty"),
        ({"learning_rate": []}, "needs levels"),
        ({"learning_rate": 0.1}, "needs a list of levels or a range"),
        ({"learning_rate": "0.1,0.10"}, "must have each level once"),
        ({"learning_rate": "0.1,-1"}, "must be greater than 0; got -1"),
        ({"learning_rate": "uniform(0,1)"}, "greater than 0"),
        ({"weight_decay": "loguniform(0,1)"}, "lowest value above 0"),
        ({"learning_rate": "uniform(1,0.1)"}, "lowest value below the highest"),
        ({"learning_rate": "uniform(0.1)"}, "a lowest and a highest value"),
        ({"learning_rate": "qloguniform(0.1,1)"}, "Did you mean 'loguniform'"),
        ({"learning_rate": "uniform(low,high)"}, "could not be read; got 'low'"),
        ({"activation": "uniform(relu,tanh)"}, "has no order"),
        ({"momentum": "uniform(0,1)"}, r"must be in \[0, 1\); got 1.0"),
        ({"hidden_sizes": "16.5,32"}, "could not be read; got '16.5'"),
        ({"dropout": [0.5, "much"]}, "could not be read; got 'much'"),
        ({"label_smoothing": "0,0.1", "loss": "squared_error"}, "belongs to loss"),
    ],
    ids=str,
)
def test_law_6_bad_spaces_get_one_clear_line(dimensions, said):
    with pytest.raises(InvalidInput, match=said) as raised:
        Space(BASE, **dimensions)
    assert "\n" not in str(raised.value)


def test_an_unknown_hyperparameter_is_an_unknown_name():
    with pytest.raises(UnknownName):
        Space(BASE, drop_out="0.5")
