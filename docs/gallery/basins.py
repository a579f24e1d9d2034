"""Whom momentum saves, and whom not

Every point is a start, in the colour of the minimum its descent ends in. Plain descent follows the ground; with momentum it has
a speed and rolls out of a shallow hollow: that saves nearly half of the starts that plain descent loses. The others stay
caught, and a few that would have come to the lowest minimum roll past it. Stippled starts were still on their way after the last
step; where they go was found by following them on.
"""

import sys

import numpy as np

from fallline import GradientDescent, Network, find_basins
from fallline.plot import BasinDisplay

random = np.random.default_rng(48)
x = random.normal(size=(12, 2)) * np.exp(1.2 * random.normal(size=(12, 1)))
y = random.uniform(0.05, 0.95, size=(12, 1))

neuron = Network((2, 1), output_activation="logistic", bias=False)
descents = {"plain": GradientDescent(1.0), "momentum": GradientDescent(1.0, momentum=0.8)}
basins = find_basins(neuron, (x, y), descents, extent=(-6, 6, -6, 6), points=81, max_iter=1000)
display = BasinDisplay(basins, saved=("momentum", "plain")).plot()
display.figure_.savefig(sys.argv[1] if sys.argv[1:] else "basins.png", dpi=150)
