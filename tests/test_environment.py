"""What made a result is said with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplab.environment import source_revision

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a checkout without its history has no revision")
def test_evidence_from_a_checkout_names_its_revision() -> None:
    head = source_revision()
    assert head is not None
    assert len(head.removesuffix("+changes")) == 12
