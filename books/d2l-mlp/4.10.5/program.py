"""Ridge regression, perceptrons with weight decay, their average."""
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from mlplab import MLPRegressor, data
from mlplab.data.table import encoder

name = "drawn-houses"  # "house-prices" for the real table
houses = data.load_table(name)
y = np.log(houses["SalePrice"].to_numpy())
scores = {"ridge": [], "3 perceptrons averaged": [], "both": []}
folds = KFold(5, shuffle=True, random_state=0)
for train, held in folds.split(houses):
    columns = encoder(data.TABLES[name]).fit(houses.iloc[train])
    x, asked = (columns.transform(houses.iloc[r]) for r in (train, held))
    mean, std = y[train].mean(), y[train].std()
    ridge = RidgeCV(np.logspace(-1, 4, 11)).fit(x, y[train])
    found = []
    for seed in range(3):
        net = MLPRegressor((32,), alpha=0.6, batch_size=64, max_iter=60,
                           learning_rate_init=0.003, random_state=seed)
        net.fit(x, (y[train] - mean) / std)
        found.append(mean + std * net.predict(asked))
    one, other = ridge.predict(asked), np.mean(found, axis=0)
    predicted = one, other, (one + other) / 2
    for p, values in zip(predicted, scores.values(), strict=True):
        values.append(np.sqrt(np.mean((p - y[held]) ** 2)))
for key, values in scores.items():
    print(f"{key}: log-RMSE {np.mean(values):.4f}")
