import contextlib
import dataclasses
import itertools
import signal
import time

import numpy as np
import pytest

from fallline import InMemory, Network
from fallline.descent import Stop
from fallline.fit.network_fit import fit_network
from fallline.fit.settings import Settings
from fallline.sure import fitted_intervals
from fallline.sure.fitted_intervals import FittedIntervals, intervals_of_fit
from fallline.sure.intervals import intervals_of
from fallline.threads import stopping

SETTINGS = {"hidden_layer_sizes": (4,), "alpha": 0.01, "seed": 0}


def waves(random, n=100, noise=0.2):
    x = random.uniform(-2, 2, size=(n, 2))
    return x, (np.sin(2 * x[:, :1]) + x[:, 1:] ** 2) + noise * random.normal(size=(n, 1))


def made(x, y, s=None, unseen=None, **settings):
    fitted, path = fit_network(x, y, sample_weight=s, **SETTINGS | settings)
    unseen = None if unseen is None else fitted.rows(*unseen)
    return fitted, intervals_of_fit(fitted, path, fitted.rows(x, y, s), Settings(seed=0), unseen)


def test_they_are_in_the_users_units(random):
    x, y = waves(random, 400)
    plain = made(x, y)[1]
    other = made(1000 * x + 5, 50 * y - 3)[1]
    np.testing.assert_allclose(other.std(1000 * x + 5), 50 * plain.std(x), rtol=1e-3)
    np.testing.assert_allclose(other.mean_std(1000 * x + 5), 50 * plain.mean_std(x), rtol=1e-3)
    np.testing.assert_allclose(other.interval(1000 * x + 5, 0.8), 50 * plain.interval(x, 0.8) - 3, rtol=1e-3, atol=1e-2)


def test_an_interval_is_a_pair_for_each_row_and_output(random):
    x, y = waves(random)
    fitted, got = made(x, np.column_stack([y, 2 * y]))
    assert got.interval(x).shape == (100, 2, 2)
    np.testing.assert_allclose(got.interval(x).mean(axis=2), fitted.predict(x), rtol=1e-9)
    assert got.interval(x[:0]).shape == (0, 2, 2)
    assert got.std(x[:0]).shape == (0, 2)


def test_blocks_of_rows_change_nothing(random, monkeypatch):
    x, y = waves(random)
    got = made(x, y)[1]
    whole = got.interval(x)
    monkeypatch.setattr(fitted_intervals, "_AT_ONCE", 7)
    np.testing.assert_allclose(got.interval(x), whole, rtol=1e-12)


def test_where_the_network_is_flexible_fits_without_the_row_widen_them():
    random = np.random.default_rng(1)
    x, y = waves(random, 80)
    fitted, path = fit_network(x, y, **SETTINGS | {"hidden_layer_sizes": (8,), "alpha": 1e-3})
    rows, new = fitted.rows(x, y), fitted.rows(*waves(random, 2000))
    alone = intervals_of(fitted.alone().network, fitted.averages(), rows)
    got = intervals_of_fit(fitted, path, rows, Settings(seed=0)).scaled
    # Leave-one-out says that new rows are nearer than they are, and rows of further fits say it less.
    assert alone.further_off(new) > 1.15
    assert 0.9 < got.further_off(new) < 0.95 * alone.further_off(new)


def test_further_fits_begin_from_the_strength_that_the_fit_found(random, monkeypatch):
    x, y = waves(random, 60)
    begun, walk = [], fitted_intervals.descend

    def descend(*args, **settings):
        begun.append((settings["alpha"], walk(*args, **settings)))
        return begun[-1][1]

    monkeypatch.setattr(fitted_intervals, "descend", descend)
    fitted, path = fit_network(x, y, **SETTINGS | {"alpha": "evidence", "n_starts": 1})
    intervals_of_fit(fitted, path, fitted.rows(x, y), Settings(seed=0))
    assert len(begun) == 5
    for alpha, further in begun:
        assert alpha.first * path.n_rows == pytest.approx(path.strength.max())
        assert further.strength.max() != path.strength.max()  # and is found anew
    begun.clear()
    fitted, path = fit_network(x, y, **SETTINGS | {"n_starts": 3})
    intervals_of_fit(fitted, path, fitted.rows(x, y), Settings(seed=0))
    # A mean of several is judged by means of two.
    assert [alpha for alpha, _ in begun] == [SETTINGS["alpha"]] * 10


def test_neither_the_number_of_threads_nor_their_timing_changes_them(random):
    x, y = waves(random, 60)
    fitted, path = fit_network(x, y, **SETTINGS | {"n_starts": 3})
    one, two, three = (
        intervals_of_fit(fitted, path, fitted.rows(x, y), Settings(seed=0, n_jobs=jobs)).interval(x)
        for jobs in (1, 2, 3)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_in_a_further_fit_ends_them_all(n_jobs, random, monkeypatch):
    x, y = waves(random, 60)
    fitted, path = fit_network(x, y, **SETTINGS)
    begun = itertools.count()

    def interrupted(*_, **__):
        with contextlib.suppress(KeyboardInterrupt):  # as ``descend`` does, which keeps what it has
            if next(begun) == 0:
                signal.raise_signal(signal.SIGINT)
            while not stopping():
                time.sleep(0.01)
        return dataclasses.replace(path, stop=Stop.INTERRUPTED)

    monkeypatch.setattr(fitted_intervals, "descend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        intervals_of_fit(fitted, path, fitted.rows(x, y), Settings(seed=0, n_jobs=n_jobs))
    assert next(begun) <= n_jobs  # no other fit began


def test_where_it_is_stiff_leave_one_out_is_enough(random, monkeypatch):
    x, y = waves(random, 600)
    fitted, path = fit_network(x, y, **SETTINGS)
    monkeypatch.setattr(fitted_intervals, "descend", None)  # no further fit
    got = intervals_of_fit(fitted, path, fitted.rows(x, y), Settings(seed=0))
    alone = intervals_of(fitted.alone().network, fitted.averages(), fitted.rows(x, y))
    np.testing.assert_array_equal(got.scaled.std(x), alone.std(x))


def test_rows_kept_apart_take_the_place_of_further_fits(random, monkeypatch):
    x, y = waves(random, 60)
    new = waves(random, 200, noise=1.0)
    monkeypatch.setattr(fitted_intervals, "descend", None)
    fitted, got = made(x, y, unseen=new)
    np.testing.assert_allclose(got.scaled.further_off(fitted.rows(*new)), 1.0, rtol=1e-9)


def test_row_weights_are_repetitions(random):
    x, y = waves(random, 60)
    s = np.tile([1.0, 2.0, 0.0], 20)
    weighted = made(x, y, s, hidden_layer_sizes=())[1]
    repeated = made(np.repeat(x, s.astype(int), 0), np.repeat(y, s.astype(int), 0), hidden_layer_sizes=())[1]
    np.testing.assert_allclose(weighted.interval(x), repeated.interval(x), rtol=1e-4)


@pytest.mark.parametrize("descent", ["mini-batch", "rprop"])
def test_any_descent_has_intervals(descent, random):
    x, y = waves(random, 80)
    got = made(x, y, descent=descent, max_iter=20)[1]
    assert np.isfinite(got.interval(x)).all()


def test_they_say_what_they_are_made_of_and_what_is_undetermined(random):
    x, y = waves(random)
    x = np.column_stack([x, x[:, 0]])
    fitted, path = fit_network(x, y, **SETTINGS | {"hidden_layer_sizes": (), "alpha": 0.0})
    got = intervals_of_fit(fitted, path, fitted.rows(x, y), Settings(seed=0))
    assert isinstance(got, FittedIntervals)
    assert "undetermined: " in got.says(["a->y", "b->y", "c->y", "bias->y"])
    assert "a->y" in got.says(["a->y", "b->y", "c->y", "bias->y"])
    assert np.isinf(got.std(x + [[1.0, 0.0, 0.0]])).all()
    assert isinstance(fitted.network, Network)
    assert isinstance(fitted.rows(x, y), InMemory)


def nothing_more(*_, **__):
    raise AssertionError("a further fit was made")


@pytest.mark.parametrize("columns", [2, 45])
def test_of_a_default_fit_they_hold_what_they_say_without_a_further_fit(columns, random, monkeypatch):
    monkeypatch.setattr(fitted_intervals, "descend", nothing_more)

    def rows(n):
        x = random.uniform(-2, 2, size=(n, columns))
        return x, np.sin(2 * x[:, :1]) + x[:, 1:2] ** 2 + 0.3 * random.normal(size=(n, 1))

    held, settings = [], Settings(seed=0, max_iter=20)
    for _ in range(2):
        (x, y), (new, truth) = rows(120), rows(400)
        fitted, path = fit_network(x, y, settings)
        assert fitted.left_out is not None
        ends = intervals_of_fit(fitted, path, fitted.rows(x, y), settings).interval(new)
        held.append(((ends[..., 0] < truth) & (truth < ends[..., 1])).mean())
    assert 0.90 < np.mean(held) < 0.99


def test_rows_left_out_say_how_far_off_a_default_fit_is(random):
    x, y = waves(random)
    settings = Settings(seed=0, max_iter=20)
    fitted, path = fit_network(x, y, settings)
    plain = intervals_of_fit(fitted, path, fitted.rows(x, y), settings).std(x)
    residuals = np.sqrt(np.mean((fitted.left_out - y) ** 2))
    assert np.sqrt(np.mean(plain**2)) == pytest.approx(residuals, rel=0.1)
    further = dataclasses.replace(fitted, left_out=y + 3 * (fitted.left_out - y))
    thrice = intervals_of_fit(further, path, fitted.rows(x, y), settings).std(x)
    assert np.sqrt(np.mean(thrice**2)) == pytest.approx(3 * residuals, rel=0.1)
