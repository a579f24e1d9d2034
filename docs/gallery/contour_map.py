"""The error as a map of two weights

A network of two weights has an error that can be drawn whole: one point of the map is one network, and the ground is darker
where its error is larger. Gradient descent starts at the hollow mark and takes every step at right angles to the lines,
straight down, until it comes to rest at the black dot. Levels are denser in the valley, so that its floor can be read, too.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from fallline import GradientDescent, Network, descend
from fallline.plot import ErrorSurfaceDisplay

random = np.random.default_rng(0)
x = random.normal(size=(100, 2))
y = np.tanh(x @ [[1.5], [-0.8]]) + 0.1 * random.normal(size=(100, 1))

neuron = Network((2, 1), output_activation="tanh", bias=False)
descent = GradientDescent(learning_rate=1.0)
path = descend(neuron, (x, y), descent, weights=[-1.5, 1.2], max_iter=100)

figure, ax = plt.subplots(figsize=(5.6, 4.0), layout="constrained")
ErrorSurfaceDisplay.from_path(path, (x, y), ax=ax)
figure.savefig(sys.argv[1] if sys.argv[1:] else "contour_map.png", dpi=150)
