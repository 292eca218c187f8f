"""A rate that suits one batch size and not another; and lucky winners."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy

# %% data
folder = Path("../data/FashionMNIST/raw")  # where the book's loader leaves it
if folder.is_dir():
    train_x, train_y, test_x, test_y = (
        np.fromfile(folder / f"{part}-{kind}-ubyte", np.uint8)[skip:]
        for part in ("train", "t10k")
        for kind, skip in (("images-idx3", 16), ("labels-idx1", 8))
    )
    train_x = train_x.reshape(-1, 784) / np.float32(255)
    test_x = test_x.reshape(-1, 784) / np.float32(255)
else:
    print("No Fashion-MNIST in ../data: scikit-learn's digits stand in.")
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, random_state=0)
    train_x, test_x, train_y, test_y = parts
train_x, test_x = torch.tensor(train_x).float(), torch.tensor(test_x).float()
train_y, test_y = torch.tensor(train_y).long(), torch.tensor(test_y).long()

# %% training
num = len(train_x) * 5 // 6  # the last sixth is for validation
valid_x, valid_y = train_x[num:], train_y[num:]
num_epochs = 2 if num > 10_000 else 20  # more epochs for the few digits


def train(rate, batch):
    W1 = 0.01 * torch.randn(train_x.shape[1], 64)
    W2 = 0.01 * torch.randn(64, 10)
    params = [W1, torch.zeros(64), W2, torch.zeros(10)]
    params = [p.requires_grad_() for p in params]

    def net(x):
        return torch.relu(x @ params[0] + params[1]) @ params[2] + params[3]

    for _ in range(num_epochs):
        for rows in torch.randperm(num).split(batch):
            loss = cross_entropy(net(train_x[rows]), train_y[rows])
            for p, gradient in zip(params, torch.autograd.grad(loss, params)):
                p.data -= rate * gradient
    return (net(valid_x).argmax(1) == valid_y).float().mean().item()


# %% result
torch.manual_seed(0)
gains = {}
for batch in (32, 2048):
    low, high = (train(rate, min(batch, num // 4)) for rate in (0.1, 0.3))
    gains[batch] = high - low
    print(f"batch {batch}: {low:.1%} at rate 0.1, {high:.1%} at 0.3")
difference = gains[2048] - gains[32]
print(f"What the higher rate does differs by {100 * difference:.1f} points.")

# %% check
rng = np.random.default_rng(0)
numbers = [2, 4, 16, 64, 256, 1024]
winners = [rng.standard_normal((4000, m)).max(1).mean() for m in numbers]
winner_of_16 = winners[2]
print(f"The best of 16 equal settings: {winner_of_16:.2f} standard deviations")

# %% curve
plt.semilogx(numbers, winners, "o-", label="best of m equal settings")
plt.semilogx(numbers, np.sqrt(2 * np.log(numbers)), label="√(2 ln m)")
plt.gca().set(xlabel="m", ylabel="standard deviations above the mean")
plt.legend()
plt.show()
