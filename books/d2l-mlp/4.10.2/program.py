"""The same ridge regression and folds with prices and with log prices."""
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline

from mlplab import data
from mlplab.data.table import encoder

name = "drawn-houses"  # "house-prices" for the real table
houses = data.load_table(name)
price = houses["SalePrice"].to_numpy()
ridge = RidgeCV(alphas=np.logspace(-1, 4, 11))
model = make_pipeline(encoder(data.TABLES[name]), ridge)

scores, below = {"price": [], "log price": []}, 0
folds = KFold(5, shuffle=True, random_state=0)
for train, held in folds.split(houses):
    rows, asked, truth = houses.iloc[train], houses.iloc[held], price[held]
    raw = model.fit(rows, price[train]).predict(asked)
    below += int((raw <= 0).sum())  # log has nothing to say of these
    raw = np.where(raw > 0, raw, price[train].min())
    logs = model.fit(rows, np.log(price[train])).predict(asked)
    for target, found in (("price", np.log(raw)), ("log price", logs)):
        error = np.sqrt(np.mean((found - np.log(truth)) ** 2))
        scores[target].append(error)
for target, found in scores.items():
    print(f"target {target}: log-RMSE {np.mean(found):.4f}")
print(f"{below} of {len(houses)} predicted prices are not above 0")
