"""The live page in a notebook: on a file, a frame, a saved model, and an estimator with the rows of its fit."""

import importlib
import pickle
import re
import urllib.request

import numpy as np
import pandas as pd
import pytest

import fallline
from fallline import NetworkClassifier, NetworkRegressor
from fallline.exceptions import SettingsError
from fallline.explore.notebook import opened


@pytest.fixture
def shown():
    """What shows a page and ends it."""
    pages = []

    def show(*given, **settings):
        pages.append(fallline.explore(*given, **settings))
        return pages[-1]

    yield show
    for page in pages:
        page.end()


def test_a_page_is_a_frame_on_a_server_of_its_own(shown, table):
    page = shown(str(table), target="height", height=400)
    address = re.search(r'<iframe src="([^"]+)"', page._repr_html_())[1].replace("&amp;", "&")
    assert address == page.url
    assert "height: 400px" in page._repr_html_()
    with urllib.request.urlopen(address) as answer:
        assert b"<main" in answer.read()
        assert "frame-ancestors 'self' http://localhost:*" in answer.headers["Content-Security-Policy"]


def test_the_folder_and_the_function_share_a_name(shown):
    importlib.import_module("fallline.explore.server")  # puts the folder in the function's place
    assert shown().url.startswith("http://127.0.0.1:")


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2))
    return x, np.tanh(x[:, 0]) - 2 * x[:, 1] + random.normal(0, 0.2, 60)


def test_an_estimator_is_opened_with_the_rows_of_its_fit(rows):
    fit = NetworkRegressor(hidden_layer_sizes=(2,), n_starts=1, random_state=0).fit(*rows)
    trained = opened(fit).trained
    np.testing.assert_allclose(trained.predict(rows[0])[:, 0], fit.predict(rows[0]), rtol=1e-12)
    assert trained.saved.about["figures"]["training"][0]["network"]["r2"] == pytest.approx(fit.score(*rows))
    assert [each["name"] for each in trained.inputs] == ["x1", "x2"]
    assert opened(fit).trained.data.x.shape == (60, 2)


def test_rows_that_stopped_a_fit_early_are_those_it_is_judged_by(rows):
    fit = NetworkRegressor(hidden_layer_sizes=(2,), early_stopping=True, random_state=0).fit(*rows)
    trained = opened(fit).trained
    assert len(trained.data.held_x) == len(fit.validation_rows_) + len(fit.test_rows_)


def test_a_classifier_on_a_frame_is_opened_by_its_classes(rows):
    frame = pd.DataFrame({"a": rows[0][:, 0], "b": rows[0][:, 1], "c": ["x", "y"] * 30})
    kind = np.where(rows[1] > 0, "up", "down")
    fit = NetworkClassifier(hidden_layer_sizes=(2,), alpha=0.1, n_starts=1, random_state=0).fit(frame, kind)
    trained = opened(fit).trained
    np.testing.assert_allclose(trained.predict(trained.data.x), fit.predict_proba(frame), atol=1e-12)
    assert trained.classes == ("down", "up")
    assert [each["kind"] for each in trained.inputs] == ["number", "number", "category"]


def test_a_frame_is_a_table(rows):
    found = opened(pd.DataFrame({"a": rows[0][:, 0], "y": rows[1]}), "y")
    assert (found.table.rows, found.target, found.trained) == (60, "y", None)


@pytest.mark.parametrize("of", [3, "nothing.csv", [1, 2]], ids=str)
def test_what_cannot_be_explored_is_refused_in_a_sentence(of):
    with pytest.raises(ValueError, match=r"cannot be explored|no file"):
        opened(of)


def test_an_estimator_whose_rows_are_gone_says_so(rows):
    fit = NetworkRegressor(hidden_layer_sizes=(2,), n_starts=1, random_state=0).fit(*rows)
    with pytest.raises(SettingsError, match="fit again"):
        opened(pickle.loads(pickle.dumps(fit)))
