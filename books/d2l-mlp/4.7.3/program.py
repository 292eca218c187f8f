"""The memory of 784-256-10 in training and prediction: what is held."""

import os

import torch
from torch.profiler import ProfilerActivity, profile

# %% data
d, h, q, batch = 784, 256, 10, 256  # an example: the section has no sizes
x, y = torch.randn(batch, d), torch.randint(q, (batch,))

# %% model
W1 = (torch.randn(h, d) * 0.01).requires_grad_()
W2 = (torch.randn(q, h) * 0.01).requires_grad_()
lambd, lr = 1e-3, 0.1


def net(x):
    return torch.relu(x @ W1.T) @ W2.T


def peak(job):
    """The most bytes that a job holds at once, beside what was there."""
    job()  # once to warm up
    W1.grad = W2.grad = None
    os.environ["KINETO_LOG_LEVEL"] = "99"  # the profiler talks much
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as p:
        job()
    held = most = 0
    for event in p.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


# %% training
kept = {}


def keep(tensor):  # autograd hands over what the backward will read
    kept[tensor.untyped_storage().data_ptr()] = tensor
    return tensor


def step():
    L = torch.nn.functional.cross_entropy(net(x), y)
    s = lambd / 2 * ((W1**2).sum() + (W2**2).sum())
    (L + s).backward()
    with torch.no_grad():
        W1.sub_(W1.grad, alpha=lr)
        W2.sub_(W2.grad, alpha=lr)


def predict():
    with torch.no_grad():
        net(x)


# %% result
with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
    torch.nn.functional.cross_entropy(net(x), y)
own = {t.untyped_storage().data_ptr() for t in (W1, W2, x, y)}
kept_bytes = sum(t.nbytes for place, t in kept.items() if place not in own)
parameter_bytes = W1.nbytes + W2.nbytes
prediction_peak = parameter_bytes + x.nbytes + peak(predict)
training_peak = parameter_bytes + x.nbytes + y.nbytes + peak(step)
gradient_bytes = W1.grad.nbytes + W2.grad.nbytes
print("parameters:", parameter_bytes, "bytes; gradients:", gradient_bytes)
print("kept for the backward, beside them:", kept_bytes)
print("at once, in prediction:", prediction_peak, "in training:", training_peak)
