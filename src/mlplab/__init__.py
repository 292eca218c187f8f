"""mlplab: the answer book of chapter 4 that proves itself, and the laboratory behind it."""

__version__ = "0.1.0"
