"""The mountain of a real table

The strength of concrete, from its recipe, by a network of 201 weights. A map has room for two directions; these are the first two
principal components of the way the descent went, and the text below says how much of the way they hold, and how far the error
of the map is from that of the way itself. Every point of the map is the error over all rows of the table.
"""

import sys

import matplotlib.pyplot as plt

from fallline import NetworkRegressor, read_table
from fallline.plot import ErrorSurfaceDisplay

table = read_table("examples/concrete.csv")
y = table.columns.pop("strength")
X = table.to_numpy()
fit = NetworkRegressor(hidden_layer_sizes=(20,), descent="l-bfgs", max_iter=3000, random_state=0)
fit.fit(X, y)

figure, ax = plt.subplots(figsize=(5.6, 5.0), layout="constrained")
ErrorSurfaceDisplay.from_estimator(fit, X, y, ax=ax, per_row=True)
figure.savefig(sys.argv[1] if sys.argv[1:] else "real_table.png", dpi=150)
