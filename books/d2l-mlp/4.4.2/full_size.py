"""Training and test error against the degree, over 500 draws of the problem."""

from mlplab.analysis.polynomial_curves import error_curves

found = error_curves(range(13), (20, 100), num_draws=500, noise_std=0.1)
table = found.table()
for size in found.sizes:
    print(f"{size} examples: degree, mean training error, its expectation,")
    print("geometric mean of the test error")
    for degree in found.degrees:
        rows = table[(table["size"] == size) & (table["degree"] == degree)]
        train = rows.query("part == 'train' and statistic == 'mean'").iloc[0]
        test = rows.query("part == 'test' and statistic == 'geometric mean'")
        print(
            f"{degree:3d} {train['estimate']:10.5f} {train['expected']:10.5f}"
            f" {test['estimate'].iloc[0]:10.4g}"
        )
