import dataclasses

import numpy as np
import pytest

import fallline.fit.class_decay as module
from fallline.fit.class_decay import _folds, decided
from fallline.fit.settings import Settings
from fallline.fit.simplex import one_hot
from fallline.rows.rows import content_keys

QUICK = Settings(hidden_layer_sizes=(4,), output_activation="logistic", one_target_scale=True, seed=0, max_iter=60)


def rows(random, noise, n=120):
    """Two classes above and below a line, of which some are on the wrong side."""
    x = random.normal(size=(n, 3))
    other = random.random(n) < noise
    return x, one_hot(((x[:, 0] > 0) != other).astype(int), 2)


def test_the_decay_grows_with_the_noise(random):
    found = [decided(QUICK, *rows(random, noise)).alpha for noise in (0.0, 0.35)]
    assert found[0] <= 0.1 < 1.0 <= found[1]


def test_the_search_says_what_it_tries(random):
    said = []
    found = decided(QUICK, *rows(random, 0.35), told=said.append).alpha
    tried = [float(words.rpartition(" ")[2]) for words in said]
    assert all(words.startswith("choosing the weight decay") for words in said)
    assert tried == list(module._DECAYS[3 : 3 + len(tried)])
    assert found in tried[-2:]  # the one after it was no better, or there is none


@pytest.mark.parametrize(
    ("alpha", "judged", "n", "expected"),
    [(0.7, False, 120, 0.7), ("evidence", False, 120, "evidence"), ("auto", True, 120, 0.1), ("auto", False, 15, 0.1)],
    ids=["a number", "evidence", "other rows judge", "few rows"],
)
def test_a_decay_is_looked_for_only_where_nobody_chose_and_rows_can_say(
    alpha, judged, n, expected, random, monkeypatch
):
    monkeypatch.setattr(module, "fit_network", None)  # no fit is made
    settings = Settings(hidden_layer_sizes=(4,), alpha=alpha)
    assert decided(settings, *rows(random, 0.1, n), judged=judged).alpha == expected


@pytest.mark.parametrize(("inputs", "classes", "hidden"), [(4, 2, (10,)), (64, 10, (50,))])
def test_a_width_that_nobody_chose_is_narrow_where_levenberg_marquardt_goes_down(inputs, classes, hidden, random):
    y = one_hot(np.arange(100) % classes, classes)
    found = decided(Settings(alpha=0.1), random.normal(size=(100, inputs)), y)
    assert found.hidden_layer_sizes == hidden


def test_folds_hold_each_class_in_proportion_and_equal_rows_together(random):
    x = np.repeat(random.normal(size=(100, 2)), 2, axis=0)
    number = np.repeat(np.arange(100) % 4 // 3, 2)
    fold = _folds(content_keys(x, number[:, None], 0), number)
    np.testing.assert_array_equal(fold[::2], fold[1::2])
    np.testing.assert_array_equal(np.bincount(fold[number == 0]), [30] * 5)
    np.testing.assert_array_equal(np.bincount(fold[number == 1]), [10] * 5)


def test_weights_are_repetitions(random):
    x, y = rows(random, 0.2)
    often = np.arange(120) % 3
    weighted = decided(QUICK, x, y, often.astype(float))
    assert weighted.alpha == decided(QUICK, np.repeat(x, often, axis=0), np.repeat(y, often, axis=0)).alpha


def test_of_many_rows_some_choose(random, monkeypatch):
    monkeypatch.setattr(module, "_MOST_ROWS", 60)
    fits = []
    fit = module.fit_network
    monkeypatch.setattr(module, "fit_network", lambda x, y, *a, **k: fits.append(len(x)) or fit(x, y, *a, **k))
    decided(QUICK, *rows(random, 0.2))
    assert set(fits) == {48}


def test_the_search_takes_at_most_half_of_the_time(random):
    settings = dataclasses.replace(QUICK, max_seconds=0.02, hidden_layer_sizes=(30,), max_iter=100_000)
    found = decided(settings, *rows(random, 0.3, 2000))
    assert found.alpha == 0.1  # the first fits were cut short
    assert 0 < found.max_seconds < 0.02
