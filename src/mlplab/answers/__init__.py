"""The framework of an answer: books on a shelf, their exercises, claims and checks, and the laboratory. No content."""

from mlplab.answers.answer import Answer, Table
from mlplab.answers.claim import Circulated, Claim, ClaimKind, Finding, Judgement, Verdict, recentred
from mlplab.answers.lab import Effort, Lab
from mlplab.answers.observations import DataUsed, Looks, Observations, rounded
from mlplab.answers.shelf import Book, CirculatedSet, Exercise, Section, Shelf, ours
from mlplab.answers.words import Language, WordList

__all__ = [
    "Answer",
    "Book",
    "Circulated",
    "CirculatedSet",
    "Claim",
    "ClaimKind",
    "DataUsed",
    "Effort",
    "Exercise",
    "Finding",
    "Judgement",
    "Lab",
    "Language",
    "Looks",
    "Observations",
    "Section",
    "Shelf",
    "Table",
    "Verdict",
    "WordList",
    "ours",
    "recentred",
    "rounded",
]
