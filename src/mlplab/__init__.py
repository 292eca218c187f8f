"""mlplab: the answer book of chapter 4 that proves itself, and the laboratory behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlplab.estimators import MLPClassifier, MLPRegressor, MLPSearchCV

__version__ = "0.1.0"
__all__ = ["MLPClassifier", "MLPRegressor", "MLPSearchCV"]


def __getattr__(name: str) -> Any:
    # Here: torch takes seconds to load, and most commands say something before they need it.
    if name in __all__:
        from mlplab import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
