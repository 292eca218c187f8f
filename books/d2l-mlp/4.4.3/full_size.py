"""How large a rate is stable in each basis, and how well conditioned it is."""

import numpy as np

from mlplab.analysis.polynomial_conditioning import conditioning
from mlplab.rng import Stream

x = Stream(0, "data").normal(100)
reach = np.abs(x).max()
for domain in (None, (-reach, reach)):
    found = conditioning(x, [10, 19], domain=domain)
    print("x as it is" if domain is None else "x mapped to [-1, 1]")
    shown = ["basis", "degree", "largest_feature", "largest_rate"]
    print(found.table()[[*shown, "design_condition"]].to_string(index=False))

positive = np.abs(x)
logs = np.log(positive[:, None] ** np.arange(1, 6))
print("rank of log(x^1), ..., log(x^5):", np.linalg.matrix_rank(logs))
