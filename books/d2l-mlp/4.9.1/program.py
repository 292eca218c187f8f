"""A spam filter is retrained again and again while sites adapt to it."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

# %% data
rng = np.random.default_rng(0)
num = 2000
useful = np.arange(num) % 2  # every other page is spam


def pages():
    """Two features of the content, and two marks that a site can change."""
    sign = np.where(useful[:, None], 1, -1)
    return rng.normal(size=(num, 4)) + sign * [0.5, 0.5, 1, 1]


def adapted(x, weights, reaction):
    """Spam moves its marks along the filter's weights."""
    x = x.copy()
    x[useful == 0, 2:] += reaction * weights[2:]
    return x


# %% model
def fitted(x):  # logistic regression with weight decay 0.1
    return LogisticRegression(C=1 / (0.1 * num), tol=1e-8).fit(x, useful)


# %% training
def retrained(reaction, rounds=30):
    train_x, fresh = pages(), pages()
    model = fitted(train_x)
    shares, moves = [model.score(fresh, useful)], []
    for _ in range(rounds):
        weights = model.coef_[0]
        shares.append(model.score(adapted(fresh, weights, reaction), useful))
        model = fitted(adapted(train_x, weights, reaction))
        moves.append(np.linalg.norm(model.coef_[0] - weights))
    return shares, moves


# %% result
found = {}
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
for reaction in 0.3, 1.0, 3.0:
    shares, moves = found[reaction] = retrained(reaction)
    print(
        f"Reaction {reaction}: {shares[0]:.1%} of pages judged right at first,"
    )
    print(
        f"  {shares[1]:.1%} once sites react, {shares[-1]:.1%} after 30 rounds;"
    )
    print(f"  the last retraining moves the weights by {moves[-1]:.2g}")
    left.plot(shares, label=f"reaction {reaction}")
    right.semilogy(moves, label=f"reaction {reaction}")
before, after, *_, after_last = found[1.0][0]

left.set(xlabel="round", ylabel="pages judged right")
right.set(xlabel="round", ylabel="how far the weights move")
right.legend()
plt.show()
