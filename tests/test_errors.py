"""Bad input gets one clear line (law 6): the forms of messages, the nearest name, and the missing extra."""

from __future__ import annotations

import inspect
import pickle
import sys

import pytest

from mlplab import errors
from mlplab.errors import InvalidInput, MissingExtra, MLPLabError, UnknownName, import_extra


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Optimizer.momentum", "must be in [0, 1)", 1.0), "Optimizer.momentum must be in [0, 1); got 1.0."),
        (("seed", "must be a number", "a\nb"), r"seed must be a number; got 'a\nb'."),
        (("x", "must be even", 3, "4 is"), "x must be even; got 3. 4 is."),
        (("x", "must be even", 3, "4 is."), "x must be even; got 3. 4 is."),
    ],
)
def test_invalid_input_says_owner_rule_received_and_remedy(arguments, message):
    assert str(InvalidInput(*arguments)) == message


def test_an_unknown_name_says_the_nearest_one():
    message = "Optimizer.kind must be one of 'sgd', 'adam'; got 'adm'. Did you mean 'adam'?"
    assert str(UnknownName("Optimizer.kind", "adm", ["sgd", "adam"])) == message


def test_capitals_do_not_hide_the_nearest_name():
    assert "Did you mean 'relu'?" in str(UnknownName("Activation", "ReLU", ["gelu", "relu"]))


def test_an_unknown_name_like_no_other_has_no_nearest_one():
    assert (
        str(UnknownName("kind", "qqq", iter(["sgd", "adam"])))
        == "kind must be one of 'sgd', 'adam'; got 'qqq'."
    )


def test_a_long_list_is_not_recited():
    names = [f"4.{section}.{number}" for section in range(1, 8) for number in range(1, 8)]
    message = str(UnknownName("exercise", "4.61", names, "`mlplab list` shows all."))
    assert message.startswith("exercise is not known; got '4.61'. Did you mean '4.6.1'?")
    assert message.endswith("`mlplab list` shows all.")


@pytest.mark.parametrize("received", [None, 3, ["adam"], 1.5])
def test_an_unknown_name_may_be_no_text_at_all(received):
    assert f"got {received!r}" in str(UnknownName("kind", received, ["sgd", "adam"]))


def test_every_error_for_people_is_in_the_tree_of_the_docstring():
    tree = [
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if found.__module__ == "mlplab.errors"
    ]
    assert len(tree) >= 7
    for found in tree:
        assert issubclass(found, MLPLabError)
        assert found.__name__ in errors.__doc__
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(UnknownName, InvalidInput)


# Optional parts


def test_an_extra_that_is_there_is_imported():
    assert import_extra("json.decoder", what="The table", extra="book").JSONDecoder


@pytest.mark.parametrize("module", ["mlplab_absent", "mlplab_absent.inner"])
def test_a_missing_extra_says_which_command_brings_it(module):
    with pytest.raises(MissingExtra) as raised:
        import_extra(module, what="The search", extra="tune")
    message = "The search needs an optional part of mlplab: pip install 'mlplab[tune]' brings it."
    assert str(raised.value) == message


@pytest.fixture
def broken_package(tmp_path, monkeypatch):
    """An installed package one of whose own imports is missing, or whose code fails."""
    package = tmp_path / "mlplab_broken"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "needs.py").write_text("import mlplab_absent\n")
    (package / "fails.py").write_text("raise ImportError('a library is too old')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "mlplab_broken"
    for name in [name for name in sys.modules if name.startswith("mlplab_broken")]:
        del sys.modules[name]


def test_a_broken_inner_import_is_not_masked(broken_package):
    """'pip install' would not help: the package is there, and what it lacks is named."""
    with pytest.raises(ModuleNotFoundError, match="mlplab_absent") as raised:
        import_extra(f"{broken_package}.needs", what="The search", extra="tune")
    assert not isinstance(raised.value, MLPLabError)


def test_an_import_error_of_another_kind_is_not_masked(broken_package):
    with pytest.raises(ImportError, match="too old"):
        import_extra(f"{broken_package}.fails", what="The search", extra="tune")


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("x", "must be even", 3, "4 is"),
        UnknownName("kind", "adm", ["sgd", "adam"]),
        MissingExtra("A figure", "book"),
        errors.StoreError("gone"),
    ],
)
def test_an_error_says_the_same_in_another_process(error):
    """A worker's error reaches the person who asked."""
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there)) == (type(error), str(error))
