"""scikit-learn's multilayer perceptrons on the engine, with scikit-learn's names: drop-in estimators and their search.

search = MLPSearchCV(MLPClassifier(max_iter=50), {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(32,), (64,)]}, cv=5)
search.fit(X, y).best_params_
"""

from mlplab.estimators.perceptron import MLPClassifier, MLPRegressor
from mlplab.estimators.search import MLPSearchCV

__all__ = ["MLPClassifier", "MLPRegressor", "MLPSearchCV"]
