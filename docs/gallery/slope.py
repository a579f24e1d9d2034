"""The slope, and steps down it

At x = 2 the curve f(x) = x² has the slope 4: the tangent rises by 4 for each 1 to the right. A step of descent goes the other
way, by the learning rate times the slope, so that steps become shorter as the ground becomes level. Any f(x) can stand
here; its slope is exact where f is a formula in text, or is written with operators and NumPy's functions.
"""

import sys

import matplotlib.pyplot as plt

from fallline.plot import SlopeDisplay

figure, ax = plt.subplots(figsize=(5.6, 4.4), layout="constrained")
SlopeDisplay.from_function(lambda x: x**2, at=2.0, start=-2.8, learning_rate=0.15, n_steps=25, name="f(x) = x²", ax=ax)
figure.savefig(sys.argv[1] if sys.argv[1:] else "slope.png", dpi=150)
