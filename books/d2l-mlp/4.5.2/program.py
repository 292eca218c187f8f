"""Which λ do 20 validation examples choose, and what does it cost?"""

import numpy as np

from mlplab import data
from mlplab.answers import ours

q = ours().exercise("4.5.2").module

for draw in range(8):
    problem = data.load(
        "linear-high-dim", num_train=100, noise_std=0.1, draw=draw
    )
    path = q.ridge_path(*q.arrays(problem.train), q.LAMBDAS)
    risk = q.risks(problem, *path)  # exact: inputs are N(0, I)
    x, y = q.arrays(problem.validation)
    chosen = np.argmin(q.losses(x[:20], y[:20], *path).mean(0))
    best = np.argmin(risk)
    print(
        f"draw {draw}: best λ {q.LAMBDAS[best]:7.3f},",
        f"chosen {q.LAMBDAS[chosen]:8.3f},",
        f"regret {risk[chosen] / risk[best] - 1:6.2%} of the risk",
    )
