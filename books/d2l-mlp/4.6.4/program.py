"""One mask, no mask and the mean over many masks at test time."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy, nll_loss

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
torch.manual_seed(0)
few = torch.randperm(len(train_x))[:1000]  # few images: it overfits
train_x, train_y = train_x[few], train_y[few]

# %% model
net = nn.Sequential(
    *(nn.Linear(train_x.shape[1], 256), nn.ReLU(), nn.Dropout(0.2)),
    *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5)),
    nn.Linear(256, 10),
)
for w in net.parameters():
    nn.init.normal_(w, std=0.01 if w.dim() == 2 else 0)

# %% training
losses = []
sgd = torch.optim.SGD(net.parameters(), lr=0.5)
falling = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 20 * 80)
for _ in range(80):
    for batch in torch.randperm(1000).split(50):
        loss = cross_entropy(net(train_x[batch]), train_y[batch])
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        falling.step()
    losses.append(loss.item())

# %% result
with torch.no_grad():
    no_mask = cross_entropy(net.eval()(test_x), test_y).item()
    net.train()  # masks on
    total, of_means = 0, []
    for num in range(1, 65):
        total += net(test_x).softmax(1)
        of_means.append(nll_loss((total / num).log(), test_y).item())
one_mask, many_masks = of_means[0], of_means[-1]
print(f"loss on new images: {one_mask:.3f} with one random mask,")
print(f"{no_mask:.3f} without, {many_masks:.3f} with the mean over 64 masks")

# %% curve
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.plot(losses)
left.set(xlabel="epoch", ylabel="training loss")
right.plot(range(1, 65), of_means, label="mean over so many masks")
right.axhline(no_mask, color="black", label="no mask")
right.legend(title="loss on new images")
plt.show()
