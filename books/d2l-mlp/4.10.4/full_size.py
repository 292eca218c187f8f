"""Tune a perceptron by 5-fold, flat and nested, on the same folds."""
import numpy as np
from sklearn.model_selection import KFold

from mlplab import MLPRegressor, MLPSearchCV, data

houses = data.load("drawn-houses")
x, y = houses.train.features[:120], houses.train.targets[:120, 0]
y = (y - y.mean()) / y.std()
grid = {"alpha": [0.3, 3.0], "hidden_layer_sizes": [(4,), (16,)]}
grid["learning_rate_init"] = [0.003, 0.01]
folds = KFold(5, shuffle=True, random_state=0)


def search(rows):
    model = MLPRegressor(batch_size=32, max_iter=30, random_state=0)
    score = "neg_mean_squared_error"
    found = MLPSearchCV(model, grid, cv=folds, scoring=score)
    return found.fit(x[rows], y[rows])


flat = search(np.arange(len(x)))
print("chosen:", flat.best_params_)
errors = []
for train, held in folds.split(x):
    best = search(train)  # chooses anew, without the part held out
    errors.append(np.mean((best.predict(x[held]) - y[held]) ** 2))
print(f"lowest validation error {-flat.best_score_:.4f},", end=" ")
print(f"nested {np.mean(errors):.4f}")
