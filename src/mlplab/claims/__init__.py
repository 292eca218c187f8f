"""Statements that can be checked, their checks and known-false controls, and the laboratory they are checked in."""

from mlplab.claims.claim import Circulated, Claim, ClaimKind, Finding, Judgement, recentred
from mlplab.claims.lab import Effort, Lab
from mlplab.claims.observations import Observations
from mlplab.claims.words import Language, Words

__all__ = [
    "Circulated",
    "Claim",
    "ClaimKind",
    "Effort",
    "Finding",
    "Judgement",
    "Lab",
    "Language",
    "Observations",
    "Words",
    "recentred",
]
