"""What momentum does here

How fast a descent comes down to the minimum, for each learning rate and momentum, predicted from the second derivatives of the
error there: darker where it takes more steps to a tenth of the distance. Beyond the line it diverges. The dot is the best
pair; the descent that was taken is marked, and beside the map its measured error lies on the predicted one.
"""

import sys

import numpy as np

from fallline import GradientDescent, Network, descend
from fallline.plot import MomentumMapDisplay

random = np.random.default_rng(0)
x = random.normal(size=(200, 2)) @ [[1.0, 0.9], [0.0, 0.3]]  # two inputs that say nearly the same: a narrow valley
y = 1 / (1 + np.exp(-x @ [[2.0], [-1.0]])) + 0.05 * random.normal(size=(200, 1))

neuron = Network((2, 1), output_activation="logistic", bias=False)
path = descend(neuron, (x, y), GradientDescent(20.0, momentum=0.9), weights=[0.5, 1.0], max_iter=200)

display = MomentumMapDisplay.from_path(path, (x, y))
display.figure_.savefig(sys.argv[1] if sys.argv[1:] else "momentum.png", dpi=150)
