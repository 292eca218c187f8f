"""A split computes the same gradient; a smaller minibatch a noisier one."""

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

# %% model
torch.manual_seed(0)
W1 = torch.randn(train_x.shape[1], 256) * (2 / train_x.shape[1]) ** 0.5
W2 = torch.randn(256, 10) * (2 / 256) ** 0.5
W1.requires_grad_()
W2.requires_grad_()
chosen = torch.randperm(len(train_x))[:500]
x, y = train_x[chosen], train_y[chosen]


def gradient(x, y):
    loss = cross_entropy(torch.relu(x @ W1) @ W2, y)
    grads = torch.autograd.grad(loss, (W1, W2))
    return torch.cat([g.flatten() for g in grads])


# %% check
whole = gradient(x, y)
h = torch.relu(x @ W1)  # by layers: on the first device
arrived = h.detach().requires_grad_()  # sent to the second
back = torch.autograd.grad(cross_entropy(arrived @ W2, y), (arrived, W2))
(first,) = torch.autograd.grad(h, W1, back[0])  # sent back
by_layers = torch.cat([first.flatten(), back[1].flatten()])
halves = zip(W1.chunk(2, 1), W2.chunk(2), strict=True)  # within layers
o = sum(torch.relu(x @ rows) @ columns for rows, columns in halves)
within = torch.autograd.grad(cross_entropy(o, y), (W1, W2))
within = torch.cat([g.flatten() for g in within])
by_examples = (gradient(x[:250], y[:250]) + gradient(x[250:], y[250:])) / 2
splits = (by_layers, within, by_examples)
largest_difference = max((g - whole).abs().max().item() for g in splits)
print(f"Three splits agree with one device to {largest_difference:.1e}.")

# %% result
sizes, variances = (1, 4, 16, 64), []
for size in sizes:
    picks = torch.randint(len(x), (100, size))
    errors = [((gradient(x[i], y[i]) - whole) ** 2).sum() for i in picks]
    variances.append(torch.stack(errors).mean().item())
slope = np.polyfit(np.log(sizes), np.log(variances), 1)[0]
print(f"The variance of a minibatch gradient goes as B to the {slope:.2f}.")

# %% curve
plt.loglog(sizes, variances, "o-")
plt.xlabel("batch size B")
plt.ylabel("variance of the gradient")
plt.show()
