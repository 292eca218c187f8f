"""Three ways to fool oneself without any shift of the distribution."""

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)

# %% result
fig, axes = plt.subplots(1, 2, figsize=(9, 3))
# Too few examples
sizes = np.array([50, 100, 200, 400, 800, 1600, 3200])
gaps = [
    np.abs((rng.normal(size=(400, n)) ** 2).mean(1) - 1).mean() for n in sizes
]
slope = np.polyfit(np.log(sizes), np.log(gaps), 1)[0]
print(f"The gap to the true risk falls as n to the power {slope:.2f}")
axes[0].loglog(sizes, gaps, "o-")
axes[0].set(xlabel="examples", ylabel="gap to the true risk")


# A test set that is asked again and again
def attack(rows=1000, queries=1000):
    """Guesses vote, those that score below 1/2 the other way round."""
    reused, fresh = rng.choice([-1, 1], size=(2, queries, rows))  # 1: right
    vote = np.where(reused.mean(1) >= 0, 1, -1)[:, None]
    votes = (np.cumsum(vote * signs, axis=0) for signs in (reused, fresh))
    return [((v > 0) + (v == 0) / 2).mean(1) for v in votes]


shares = np.mean([attack() for _ in range(5)], axis=0)
reused, fresh = shares[:, -1]
print(f"1000 queries: guesses are right on {reused:.1%} of the test set")
print(f"  and on {fresh:.1%} of fresh rows")
axes[1].semilogx(range(1, 1001), shares[0], label="the test set")
axes[1].semilogx(range(1, 1001), shares[1], label="fresh rows")
axes[1].set(xlabel="scores asked for", ylabel="share right")
axes[1].legend()


# A leak
def leaky(outside, rows=50, features=1000, kept=20, folds=5):
    """Accuracy on pure noise, the best features chosen outside or inside."""
    x, y = rng.normal(size=(rows, features)), np.tile([-1.0, 1.0], rows // 2)
    fold = np.repeat(rng.permutation(rows // 2) % folds, 2)  # stratified
    right = []
    for k in range(folds):
        seen = fold != k
        link = y[seen] @ x[seen]
        best = np.argsort(-np.abs(y @ x if outside else link))[:kept]
        means = [x[seen & (y == sign)].mean(0) for sign in (-1, 1)]
        score = (x[~seen] - np.mean(means, axis=0))[:, best] @ link[best]
        right += [np.sign(score) == y[~seen]]
    return np.mean(right)


outside, inside = (
    np.mean([leaky(way) for _ in range(50)]) for way in (True, False)
)
print(f"Pure noise, features chosen on all rows: {outside:.1%} right;")
print(f"  chosen inside each fold: {inside:.1%}")
plt.show()
