"""An answer as a whole: which of its claims can be judged."""

from __future__ import annotations

import pytest

from mlplab.answers import Answer, Claim, Finding, Observations
from mlplab.errors import MLPLabError
from mlplab.stats import Verdict

NOTHING = Observations()


def claim(name: str, verdict: Verdict = "holds", *requires: str) -> Claim:
    return Claim(
        name=name,
        kind="calculation",
        check=lambda given: Finding(given, numbers={"size": 2.0}),
        subject=lambda observations: verdict,
        falsehood=lambda observations: "fails",
        requires=requires,
    )


def answer(*claims: Claim) -> Answer:
    return Answer(claims=claims, figure=lambda observations, words: None)


@pytest.mark.parametrize("verdict", ["holds", "fails", "undecided"])
@pytest.mark.parametrize("overfits", ["holds", "fails", "undecided"])
def test_a_claim_is_judged_only_where_its_preconditions_hold(overfits, verdict):
    found = answer(claim("helps", verdict, "overfits"), claim("overfits", overfits)).findings(NOTHING)
    assert found["overfits"].verdict == overfits
    if overfits == "holds":
        assert (found["helps"].verdict, found["helps"].unmet) == (verdict, ())
    else:
        assert (found["helps"].verdict, found["helps"].unmet) == ("untestable", ("overfits",))
        assert found["helps"].to_dict()["unmet"] == ["overfits"]
    assert found["helps"].size == 2.0  # sentences may still say what was measured


def test_what_rests_on_an_untestable_claim_is_untestable_too():
    found = answer(
        claim("last", "holds", "middle", "other"),
        claim("middle", "holds", "first"),
        claim("first", "fails"),
        claim("other"),
    ).findings(NOTHING)
    assert [found[name].verdict for name in ("first", "middle", "last")] == [
        "fails",
        "untestable",
        "untestable",
    ]
    assert found["last"].unmet == ("middle",)
    assert list(found) == ["last", "middle", "first", "other"]


def test_a_control_is_checked_whether_or_not_its_claim_can_be():
    helps = claim("helps", "holds", "overfits")
    assert answer(helps, claim("overfits", "fails")).findings(NOTHING)["helps"].verdict == "untestable"
    assert helps.control(NOTHING).verdict == "fails"


UNFIT = {
    "unknown": ([claim("helps", "holds", "overfit"), claim("overfits")], "overfits"),
    "itself": ([claim("helps", "holds", "helps")], "helps > helps"),
    "circular": (
        [
            claim("a", "holds", "b"),
            claim("b", "holds", "c"),
            claim("c", "holds", "b"),
            claim("d", "holds", "a"),
        ],
        "b > c > b",
    ),
    "a text": (
        [Claim("a", "proof", Finding, lambda o: 0, lambda o: 1, requires="b"), claim("b")],
        "tuple of names",
    ),
}


@pytest.mark.parametrize(("claims", "said"), UNFIT.values(), ids=UNFIT)
def test_law_6_a_precondition_that_is_none_is_one_line(claims, said):
    with pytest.raises(MLPLabError, match=said) as caught:
        answer(*claims)
    assert str(caught.value).startswith("Claim.requires of ")
    assert "\n" not in str(caught.value)
