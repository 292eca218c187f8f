"""Factors x levels x seeds -> runs -> results that stay, compared by seed.

study = Study(factorial(Setting(), dropout=[0, 0.5]), seeds=5, data=load("digits"))
with Store() as store:
    results = run_study(study, store)
results.compare("test_accuracy", baseline="dropout=0")
"""

from mlplab.study.design import Arm, Study, factorial
from mlplab.study.results import Results
from mlplab.study.row import StoredResult
from mlplab.study.run import Progress, Train, run_study
from mlplab.study.scalars import ScalarLog
from mlplab.study.store import Store, default_path

__all__ = [
    "Arm",
    "Progress",
    "Results",
    "ScalarLog",
    "Store",
    "StoredResult",
    "Study",
    "Train",
    "default_path",
    "factorial",
    "run_study",
]
