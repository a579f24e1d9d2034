"""Three networks on one table

The ground around the weights that were found, for 2, 6 and 18 hidden units on the same table. The directions are random, and each
unit's part of them is as long as its weights (Li and others, 2018), so that a distance means the same on all three maps. A
wider network reaches a lower error, in a valley of another shape. The descent is not drawn: two random directions would hold
next to nothing of it.
"""

import sys

import matplotlib.pyplot as plt

from fallline import NetworkRegressor, error_surface, read_table
from fallline.plot import ErrorSurfaceDisplay

table = read_table("examples/concrete.csv")
y = table.columns.pop("strength")
X = table.to_numpy()

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
for ax, width in zip(axes, (2, 6, 18), strict=True):
    fit = NetworkRegressor(hidden_layer_sizes=(width,), descent="l-bfgs", max_iter=3000, random_state=0)
    path, rows = fit.fit(X, y).path_, fit.descended_rows(X, y)
    around = error_surface(path.model, rows, "random", at=path.best_weights, extent=(-0.6, 0.6, -0.6, 0.6), points=61)
    ErrorSurfaceDisplay(around).plot(ax, per_row=True, legend=False)
    ax.set_title(f"{width} hidden units, {path.model.n_weights} weights", fontsize="medium")
    ax.set_ylabel("" if width > 2 else "random direction 2")
figure.savefig(sys.argv[1] if sys.argv[1:] else "widths.png", dpi=120)
