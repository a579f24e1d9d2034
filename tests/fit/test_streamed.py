"""Fits to rows that stream by: with settings given the fit of memory, and the default near what all rows say."""

import re

import numpy as np
import pytest

from fallline import LBFGS, Adam, GradientDescent, LevenbergMarquardt, Rprop
from fallline.descent import Stop
from fallline.exceptions import CheckpointError, SettingsError
from fallline.fit import large, streamed
from fallline.fit.network_fit import fit_network
from fallline.fit.settings import Settings
from fallline.fit.streamed import fit_streamed, rows_of_fit
from fallline.rows.stream import Streamed
from fallline.sure.fitted_intervals import intervals_of_fit


class Blocks:
    """A source: arrays in blocks."""

    def __init__(self, x, y, s=None, size=777):
        self.x, self.y, self.s, self.size, self.asked = x, y, s, size, 0
        self.inputs, self.outputs = x.shape[1], y.shape[1]

    def blocks(self):
        self.asked += 1
        for at in range(0, len(self.x), self.size):
            part = slice(at, at + self.size)
            yield self.x[part], self.y[part], None if self.s is None else self.s[part]


def truth(x):
    return np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]


def table(random, n=6000, noise=0.1):
    x = random.normal(size=(n, 3)) * [1.0, 2.0, 0.5] + [0.0, 0.0, 1.0]
    return x, truth(x) + noise * random.normal(size=(n, 1))


@pytest.fixture
def streams(monkeypatch):
    """Have tables of more than 800 rows streamed."""
    monkeypatch.setattr(streamed, "_MOST_ROWS", 800)
    monkeypatch.setattr(large, "WORK", 3e7)


@pytest.mark.parametrize(
    ("settings", "near"),
    [
        ({"descent": LevenbergMarquardt(), "alpha": 0.1, "max_iter": 12}, 1e-8),
        ({"descent": LevenbergMarquardt(), "max_iter": 12}, 1e-8),
        ({"descent": LBFGS(), "alpha": 0.1, "max_iter": 20}, 1e-8),
        ({"descent": Rprop(), "max_iter": 20}, 1e-8),
        ({"descent": GradientDescent(learning_rate=0.05, momentum=0.9), "max_iter": 20, "n_starts": 3}, 1e-10),
        ({"descent": GradientDescent(), "hidden_layer_sizes": (), "max_iter": 100}, 1e-10),
        ({"hidden_layer_sizes": ()}, 1e-10),
        ({"descent": LBFGS(), "scale": False, "alpha": 0.0, "max_iter": 10}, 1e-8),
    ],
)
def test_with_settings_given_the_fit_is_that_of_memory(settings, near, random, streams):
    x, y = table(random, 3000)
    s = random.integers(0, 3, len(x)).astype(float)
    settings = {"hidden_layer_sizes": (4,), "seed": 0} | settings
    watched = {"held": (x[:100], y[:100])}
    one, path = fit_streamed(Blocks(x, y, s), watched=watched, **settings)
    other, way = fit_network(x, y, sample_weight=s, watched=watched, **settings)
    assert path.n_rows == s.sum()
    assert path.stop == way.stop
    np.testing.assert_allclose(path.error, way.error, rtol=near)
    np.testing.assert_allclose(path.watched["held"], way.watched["held"], rtol=near)
    np.testing.assert_allclose(one.predict(x), other.predict(x), rtol=near, atol=near * np.abs(y).max())


def test_a_judge_ends_the_walk_where_it_ends_in_memory(random, streams):
    x, y = table(random, 3000)
    settings = {"hidden_layer_sizes": (8,), "descent": LBFGS(), "seed": 0, "max_iter": 60, "n_iter_no_change": 3}
    held = Blocks(x[:500], y[:500])
    _, path = fit_streamed(Blocks(x[500:], y[500:]), watched={"held": held}, judge="held", **settings)
    _, way = fit_network(x[500:], y[500:], watched={"held": (x[:500], y[:500])}, judge="held", **settings)
    assert path.best_step == way.best_step
    np.testing.assert_allclose(path.watched["held"], way.watched["held"], rtol=1e-7)


def test_a_table_that_fits_is_fitted_in_memory(random):
    x, y = table(random, 300)
    settings = {"seed": 0, "hidden_layer_sizes": (3,), "max_iter": 20}
    one, path = fit_streamed(Blocks(x, y), watched={"held": Blocks(x[:50], y[:50])}, **settings)
    other, way = fit_network(x, y, watched={"held": (x[:50], y[:50])}, **settings)
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(path.watched["held"], way.watched["held"])


@pytest.mark.parametrize("descent", ["mini-batch", Adam(), GradientDescent(batch_size=32)])
def test_mini_batches_are_refused(descent, random, streams):
    source = Blocks(*table(random, 2000))
    with pytest.raises(SettingsError, match="mini-batches take rows in random order"):
        fit_streamed(source, descent=descent)
    assert source.asked == 1  # not read again and again before


def rmse(fitted, random):
    x, _ = table(random, 2000)
    return float(np.sqrt(np.mean((fitted.predict(x) - truth(x)) ** 2)))


def test_the_default_goes_on_over_all_rows_from_a_fit_to_some(random, streams, monkeypatch):
    x, y = table(random, 20_000, noise=0.5)
    seen = []
    of_sample = streamed.fit_network

    def spied(*given, **named):
        seen.append(of_sample(*given, **named))
        return seen[-1]

    monkeypatch.setattr(streamed, "fit_network", spied)
    source = Blocks(x, y)
    fitted, path = fit_streamed(source, seed=0, effort="quick")
    ((first, _),) = seen
    assert rmse(fitted, random) < 0.7 * rmse(first, random)
    assert path.n_rows > 15_000
    said = r"It went on from a fit to \d{3} rows. On \d{3} rows held out inside the RMSE is .* less than before."
    assert re.search(said, path.stop_message)
    assert source.asked < 60
    others, held = rows_of_fit(Streamed(Blocks(x, y)), Settings())
    assert len(others) + len(held) == len(x)
    assert path.n_rows == len(others)
    own = fitted.own_scaling
    known = intervals_of_fit(fitted, path, others.scaled(own), Settings(seed=0), unseen=held.scaled(own))
    x, y = table(random, 3000, noise=0.5)
    inside = known.interval(x, 0.9)[:, 0]
    assert np.mean((inside[:, :1] <= y) & (y <= inside[:, 1:])) == pytest.approx(0.9, abs=0.03)


def test_wide_networks_go_on_where_there_is_work_for_it(random, streams, monkeypatch):
    monkeypatch.setattr(streamed, "_PRODUCTS", 0.0)
    monkeypatch.setattr(streamed, "WORK", 1e9)
    x, y = table(random, 12_000)
    fitted, path = fit_streamed(Blocks(x, y), seed=0, hidden_layer_sizes=(8,), max_iter=30)
    assert isinstance(path.descent, LBFGS)
    assert rmse(fitted, random) < 0.2
    monkeypatch.setattr(streamed, "WORK", 1.0)
    _, path = fit_streamed(Blocks(x, y), seed=0, hidden_layer_sizes=(8,), max_iter=30)
    assert path.n_rows < 2000
    assert f"It has seen {path.n_rows:,.0f} rows of 12,000." in path.stop_message


def test_who_asks_it_to_stop_keeps_what_was_found(random, streams):
    x, y = table(random, 12_000)
    phases = []

    def stop_in(phase):
        def told(now, standing):
            phases.append(now.phase)
            assert standing().predict(x[:3]).shape == (3, 1)
            return now.phase == phase

        return told

    fitted, path = fit_streamed(Blocks(x, y), seed=0, effort="quick", progress=stop_in("all rows"))
    assert "all rows" in phases
    assert rmse(fitted, random) < 0.3
    fitted, path = fit_streamed(Blocks(x, y), seed=0, effort="quick", progress=lambda *_: True)
    assert path.stop == Stop.ASKED
    assert "of 12,000." in path.stop_message


def test_it_ends_when_its_time_is_over(random, streams):
    x, y = table(random, 12_000)
    fitted, path = fit_streamed(Blocks(x, y), seed=0, max_seconds=1e-3)
    assert path.stop == Stop.TIME
    assert np.isfinite(fitted.predict(x)).all()


def test_rows_that_come_a_hundred_times_are_fitted_as_those_that_differ(random, streams):
    x, y = table(random, 400)
    fitted, _ = fit_streamed(Blocks(np.tile(x, (20, 1)), np.tile(y, (20, 1))), seed=0, effort="quick")
    assert rmse(fitted, random) < 0.3
    other, held = rows_of_fit(Streamed(Blocks(np.tile(x, (20, 1)), np.tile(y, (20, 1)))), Settings())
    assert len(held) % 20 == len(other) % 20 == 0
    assert 20 * 20 < len(held) < 20 * 60


def test_a_fit_that_was_stopped_goes_on_from_its_checkpoint_to_the_same_bits(random, streams, tmp_path):
    x, y = table(random, 6000)
    settings = {
        "seed": 0,
        "effort": "quick",
        "hidden_layer_sizes": (4,),
        "alpha": "evidence",
        "descent": LevenbergMarquardt(),
    }
    whole, _ = fit_streamed(Blocks(x, y), **settings)
    _, path = fit_streamed(
        Blocks(x, y), checkpoint=tmp_path / "kept", progress=lambda now, _: now.steps > 3, **settings
    )
    assert path.stop == Stop.ASKED
    with pytest.raises(CheckpointError):
        fit_streamed(Blocks(x + 1, y), checkpoint=tmp_path / "kept", **settings)
    again, path = fit_streamed(Blocks(x, y, size=500), checkpoint=tmp_path / "kept", **settings)
    assert path.stop not in (Stop.ASKED, Stop.INTERRUPTED)
    np.testing.assert_array_equal(again.weights, whole.weights)
