"""Training and test loss against weight decay, from two starts."""

import matplotlib.pyplot as plt
import torch

# %% data
n_train, n_test, num_inputs, batch_size = 20, 100, 200, 5
true_w, true_b = torch.full((num_inputs, 1), 0.01), 0.05


def synthetic_data(n):
    X = torch.randn(n, num_inputs)
    return X, X @ true_w + true_b + torch.randn(n, 1) * 0.01


# %% model
def loss(X, y, w, b):
    return ((X @ w + b - y) ** 2).mean() / 2


# %% training
def train(X, y, w, b, lambd, num_epochs=100, lr=0.003):
    for _ in range(num_epochs):
        for i in torch.randperm(n_train).split(batch_size):
            error = X[i] @ w + b - y[i]  # the gradient of the loss, by hand
            w = w - lr * (X[i].T @ error / len(i) + lambd * w)
            b = b - lr * error.mean()  # the bias does not decay
    return w, b


# %% result
torch.manual_seed(0)
num_draws, lambdas = 10, (0, 0.3, 1, 3, 10, 30)
stds = {"start N(0, 1)": 1, "start zero": 0}
train_loss = {(start, lambd): 0.0 for start in stds for lambd in lambdas}
test_loss = dict(train_loss)
for _ in range(num_draws):
    data, test = synthetic_data(n_train), synthetic_data(n_test)
    for start, lambd in train_loss:  # each of them a net of its own
        w = torch.randn(num_inputs, 1) * stds[start]
        w, b = train(*data, w, torch.zeros(1), lambd)
        train_loss[start, lambd] += loss(*data, w, b).item() / num_draws
        test_loss[start, lambd] += loss(*test, w, b).item() / num_draws
for (start, lambd), value in test_loss.items():
    fit = train_loss[start, lambd]
    print(f"{start}, lambda {lambd}: train {fit:.2e}, test {value:.4f}")
section_without = test_loss["start N(0, 1)", 0]
section_with = test_loss["start N(0, 1)", 3]
zero_without, zero_with = test_loss["start zero", 0], test_loss["start zero", 3]

# %% curve
for start in stds:
    for kind, style in ((train_loss, "--"), (test_loss, "-")):
        name = "train" if kind is train_loss else "test"
        curve = [kind[start, lambd] for lambd in lambdas]
        plt.plot(lambdas, curve, style, label=f"{name}, {start}")
plt.xscale("symlog", linthresh=0.3)
plt.yscale("log")
plt.xlabel("lambda")
plt.ylabel("loss")
plt.legend()
plt.show()
