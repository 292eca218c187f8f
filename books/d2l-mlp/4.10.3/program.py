"""Cells go missing in three ways, and the mean fills them; then the houses."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

# %% data
file = Path("../data/kaggle_house_pred_train.csv")  # where the book puts it
if file.exists():
    table = pd.read_csv(file).drop(columns="Id")
    prices = table.pop("SalePrice")
else:
    print("No house prices in ../data: scikit-learn's diabetes stand in.")
    table, prices = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    table["bmi"] = table["bmi"].mask(table["bmi"] < 22)
rng = np.random.default_rng(0)
n = 100_000
x2 = rng.normal(size=n)
x1 = 0.6 * x2 + 0.8 * rng.normal(size=n)  # mean 0, variance 1
y = x1 + x2 + rng.normal(size=n)  # both slopes are 1

# %% model
noise = rng.normal(size=n)
cause = {
    "by chance (MCAR)": noise,
    "where x2 is large (MAR)": x2 + noise,
    "where x1 is large (MNAR)": x1 + noise,
}
fill = {
    "the mean": lambda known: known.fillna(known.mean()),
    "interpolation down the rows": lambda known: known.interpolate(),
}
found = {}
for why, pressure in cause.items():
    known = pd.Series(x1).mask(pressure > np.quantile(pressure, 0.6))
    for way, filled_by in fill.items():
        filled = filled_by(known).bfill()
        design = np.column_stack([np.ones(n), filled, x2])
        slopes = np.linalg.lstsq(design, y, rcond=None)[0][1:]
        correlation = np.corrcoef(filled, x2)[0, 1]
        found[why, way] = filled.mean(), filled.var(), correlation, *slopes

# %% result
heads = ["mean", "variance", "correlation", "slope 1", "slope 2"]
print(pd.DataFrame(found, heads).T.round(2).to_string())
print("in truth: mean 0, variance 1, correlation 0.6, slopes 1 and 1")
variance, correlation, _, slope_2 = found["by chance (MCAR)", "the mean"][1:]
mean_mnar = found["where x1 is large (MNAR)", "the mean"][0]

# %% check
gaps = table.isna()
gaps = gaps.loc[:, gaps.sum().between(20, len(table) - 20)]
logs = np.log(prices)
apart = gaps.apply(lambda gap: logs[gap].mean() - logs[~gap].mean())
apart = np.expm1(apart).sort_values()
lowest = float(apart.iloc[0])
print(f"a gap in {apart.index[0]} goes with prices {-lowest:.0%} lower")
apart.plot.barh(xlabel="price of houses with a gap, against the others")
plt.show()
