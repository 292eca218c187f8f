"""The toolbox for data: has it shifted since training, where, and can the shift be corrected.

detector = C2STDetector().fit(reference)
result = detector.test(current)
result.p_value, result.decision, result.drivers, result.would_find
"""

from mlplab.shift.bbsd import BBSDDetector
from mlplab.shift.by_feature import FeatureDetector
from mlplab.shift.c2st import C2STDetector
from mlplab.shift.detector import WindowsResult
from mlplab.shift.mmd import MMDDetector
from mlplab.shift.notices import DataWarning, Notice
from mlplab.shift.result import Driver, Power, ShiftResult

__all__ = [
    "BBSDDetector",
    "C2STDetector",
    "DataWarning",
    "Driver",
    "FeatureDetector",
    "MMDDetector",
    "Notice",
    "Power",
    "ShiftResult",
    "WindowsResult",
]
