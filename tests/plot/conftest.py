"""Axes to draw into without pyplot, and an end to the figures that pyplot opened."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    figure = Figure()
    FigureCanvasAgg(figure)  # or canvas.draw() draws nothing
    return figure.add_subplot()


@pytest.fixture(autouse=True)
def _close_figures(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")
