"""Exercises to be answered: what a reader hands in is put to the checks of the published answer."""

from mlplab.workbook.part import Choice, Formula, Function, Number, Part, Prediction, Value, Wrong

__all__ = ["Choice", "Formula", "Function", "Number", "Part", "Prediction", "Value", "Wrong"]
