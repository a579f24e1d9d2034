"""Four descents on one map

One sigmoid unit with two weights made the data, with the weights 2 and −1, and four descents look for them from (−0.5, −5): a
plain one, momentum as heavy ball and in Nesterov's form, and Levenberg–Marquardt. The start and the true weights are those of
the tour of Wolfram's Neural Networks package. The ground is so flat at the start that plain descent takes long to leave;
Levenberg–Marquardt is there in a handful of steps.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from fallline import GradientDescent, LevenbergMarquardt, Network, descend
from fallline.plot import ErrorSurfaceDisplay

x = np.random.default_rng(0).normal(size=(100, 2))
y = 1 / (1 + np.exp(-x @ [[2.0], [-1.0]]))

neuron = Network((2, 1), output_activation="logistic", bias=False)
descents = {
    "plain": GradientDescent(5.0),
    "momentum": GradientDescent(5.0, momentum=0.8),
    "Nesterov": GradientDescent(5.0, momentum=0.8, nesterov=True),
    "Levenberg–Marquardt": LevenbergMarquardt(),
}
paths = {
    name: descend(neuron, (x, y), descent, weights=[-0.5, -5.0], max_iter=80) for name, descent in descents.items()
}

figure, ax = plt.subplots(figsize=(5.6, 5.2), layout="constrained")
ErrorSurfaceDisplay.from_path(paths, (x, y), ax=ax)
figure.savefig(sys.argv[1] if sys.argv[1:] else "four_descents.png", dpi=150)
