"""What a notebook shows: numbers as they are, names that run nothing, pictures of the values they are made of."""

import base64
import html
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from fallline import GradientDescent, Network, NetworkClassifier, NetworkRegressor, descend, error_surface, verdict_at
from fallline.markup import curves, ground, shown

HOSTILE = '<script>alert("x")</script> & é'


def points_of(svg):
    """The points of each line of a picture, (k, 2)."""
    return [
        np.array([[float(each) for each in pair.split(",")] for pair in line.split()])
        for line in re.findall(r'points="([^"]*)"', svg)
    ]


def test_names_are_shown_as_they_are_and_run_nothing():
    page = shown(
        HOSTILE, {HOSTILE: HOSTILE, "left out": None, "empty": ""}, curves({HOSTILE: [1.0, 2.0]}, [0, 1], HOSTILE)
    )
    assert "<script" not in page
    assert "left out" not in page
    assert html.unescape(re.search(r'font-weight: 600">(.*?)</div>', page)[1]) == HOSTILE
    ElementTree.fromstring(page)  # every element is closed


def test_a_curve_falls_by_equal_steps_where_the_error_falls_by_equal_factors():
    (points,) = points_of(curves({"error": 10.0 ** -np.arange(11)}, np.arange(11), "error"))
    np.testing.assert_allclose(np.diff(points, axis=0), np.diff(points, axis=0)[:1].repeat(10, axis=0), atol=0.11)
    assert points[0, 1] < points[-1, 1]


@pytest.mark.parametrize("values", [[1.0, np.nan, 3.0], [0.0, -1.0, 2.0], [5.0, 5.0, 5.0], [np.inf, 1.0, 2.0]], ids=str)
def test_whatever_a_curve_holds_what_is_drawn_is_finite(values):
    drawn = curves({"error": values}, np.arange(3), "error")
    assert len(points_of(drawn)[0]) == int(np.isfinite(values).sum())
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_a_curve_of_nothing_finite_is_nothing():
    assert curves({"error": [np.nan, np.inf]}, [0, 1], "error") == ""


def test_a_map_has_a_pixel_for_each_value_the_highest_the_darkest():
    values = np.linspace(0.0, 12.0, 6 * 9).reshape(6, 9)
    drawn = ground(
        values, np.linspace(0, 12, 13), [np.array([[0, 0], [2, 1]])], [((2, 1), False)], (0, 2, 0, 1), "a map"
    )
    content = base64.b64decode(re.search(r"base64,([^\"]+)", drawn)[1])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"), float)
    assert pixels.shape == (6, 9)
    assert (np.diff(pixels[::-1].ravel()) <= 0).all()  # the lowest row of values is at the bottom
    assert pixels[-1, 0] > 240
    assert pixels[0, -1] < 60
    np.testing.assert_array_equal(points_of(drawn)[0], [[0, 260], [260, 0]])
    assert '<circle cx="260.0" cy="0.0"' in drawn


NEURON = Network((2, 1), bias=False)
ROWS = np.array([[1.0, 0.5], [0.2, -1.0], [-0.7, 0.3]]), np.array([[1.0], [0.4], [-0.2]])


def test_paths_verdicts_and_surfaces_show_their_numbers():
    path = descend(NEURON, ROWS, GradientDescent(0.1), weights=[2.0, 2.0], max_iter=30)
    page, surface = path._repr_html_(), error_surface(path, ROWS)
    assert f"step {path.best_step}" in page
    assert "Stopped at max_iter = 30" in page
    verdict = verdict_at(NEURON, ROWS, path.best_weights)
    assert html.escape(verdict.findings) in verdict._repr_html_()
    assert html.escape(surface.plane.labels[0]) in surface._repr_html_()
    for shown_ in (page, verdict._repr_html_(), surface._repr_html_()):
        ElementTree.fromstring(shown_.replace("&nbsp;", " "))


@pytest.mark.parametrize("kind", [NetworkRegressor, NetworkClassifier])
def test_an_estimator_shows_its_path_after_a_fit(kind):
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 2))
    y = x[:, 0] + random.normal(size=40)
    fit = kind(hidden_layer_sizes=(2,), alpha=0.1, n_starts=1, random_state=0)
    assert "The path of a descent" not in fit._repr_html_()
    fit.fit(x, y if kind is NetworkRegressor else y > 0)
    assert "The path of a descent" in fit._repr_mimebundle_()["text/html"]
    assert html.escape(fit.verdict_.findings) in fit._repr_html_()
