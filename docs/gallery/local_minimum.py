"""A local minimum that traps a descent

One sigmoid neuron without a bias can have more than one minimum. Here two inputs of very different size on each axis, 10 and
0.5, want outputs of 0.3 and 0.9: a weight cannot serve both, and there are two ways to give one up. That makes two minima for
each weight, and four on the map, all of them computed and none drawn by hand. Two descents with the same learning rate
start a step apart; one ends at the black dot, the other is caught. Source of the rows: Auer, Herbster and Warmuth (1996).
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from fallline import GradientDescent, Network, descend
from fallline.plot import ErrorSurfaceDisplay

x = np.array([[10, 0], [0.5, 0], [0, 10], [0, 0.5]])
y = np.array([[0.3], [0.9], [0.3], [0.9]])

neuron = Network((2, 1), output_activation="logistic", bias=False)
paths = {
    name: descend(neuron, (x, y), GradientDescent(1.0), weights=start, max_iter=8000)
    for name, start in {"one start": [0.4, -1.6], "another": [0.7, -1.6]}.items()
}

figure, ax = plt.subplots(figsize=(5.6, 5.0), layout="constrained")
ErrorSurfaceDisplay.from_path(paths, (x, y), extent=(-3, 7, -3, 7), points=201, ax=ax)
figure.savefig(sys.argv[1] if sys.argv[1:] else "local_minimum.png", dpi=150)
