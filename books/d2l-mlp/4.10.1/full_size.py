"""Score ridge regression on folds, then write a submission."""
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import RepeatedKFold
from sklearn.pipeline import make_pipeline

from mlplab import data
from mlplab.data.submission import write_submission
from mlplab.data.table import encoder
from mlplab.stats import resampled_interval

name = "drawn-houses"  # "house-prices" for the real table
houses, asked = (data.load_table(name, part) for part in ("train", "test"))
y = np.log(houses["SalePrice"].to_numpy())
ridge = RidgeCV(alphas=np.logspace(-1, 4, 11))
model = make_pipeline(encoder(data.TABLES[name]), ridge)

scores = []
folds = RepeatedKFold(n_splits=5, n_repeats=2, random_state=0)
for train, held in folds.split(houses):
    model.fit(houses.iloc[train], y[train])  # encodes by these rows alone
    wrong = model.predict(houses.iloc[held]) - y[held]
    scores.append(np.sqrt(np.mean(wrong**2)))
found = resampled_interval(scores, test_train_ratio=1 / 4)
print(f"log-RMSE {found.estimate:.3f},", end=" ")
print(f"95% interval {found.ci_low:.3f} to {found.ci_high:.3f}")

prices = np.exp(model.fit(houses, y).predict(asked))
ids = asked["Id"].astype(int).tolist()
print(write_submission("submission.csv", ids, prices))
