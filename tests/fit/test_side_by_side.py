"""Starts and widths of a fit walk side by side in threads: the same bits as one after the other, wherever the fit is called."""

import _thread
import dataclasses
import itertools
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import optax
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.fit.network_fit import fit_network
from fallline.fit.ridge import fit_ridge
from fallline.fit.settings import Settings
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.threads import stopping
from fallline.walk.loop import descend

X = np.random.default_rng(7).normal(size=(90, 2))
Y = np.sin(2 * X[:, :1]) + X[:, 1:] + 0.1 * np.random.default_rng(8).normal(size=(90, 1))

KINDS = {
    "width and decay by evidence": Settings(seed=0, n_starts=3, max_iter=60),
    "ten starts": Settings((3,), seed=1, n_starts=10, max_iter=40),
    "one start": Settings((4,), seed=1, n_starts=1, max_iter=40),
    "l-bfgs": Settings((4,), seed=1, n_starts=3, descent=LBFGS(), max_iter=40),
    "mini-batches": Settings((4,), seed=1, n_starts=3, descent=Adam(batch_size=16), max_iter=10),
    "an Optax transformation": Settings((4,), seed=1, n_starts=3, descent=optax.adam(0.01), max_iter=10),
}


def bits(fit):
    """All numbers of a fit, by name."""
    fitted, path = fit
    names = ("steps", "passes", "error", "penalised_error", "gradient_norm", "weights", "gradient", "best_weights")
    return (
        {"weights": fitted.weights}
        | {f"starts {name}": array for name, array in fitted.starts.to_arrays().items()}
        | {f"path {name}": getattr(path, name) for name in (*names, "strength")}
        | {"shown": fitted.starts.shown, "words": path.stop_message}
    )


def assert_same_bits(one, other):
    found, expected = bits(one), bits(other)
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_the_number_of_threads_changes_no_bit(settings):
    one, two, four = (fit_network(X, Y, settings, n_jobs=n_jobs) for n_jobs in (1, 2, 4))
    assert_same_bits(two, one)
    assert_same_bits(four, one)


def test_fits_in_two_threads_at_once_are_those_of_each_alone():
    settings = [KINDS["ten starts"], KINDS["width and decay by evidence"], KINDS["mini-batches"]] * 2
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda each: fit_network(X, Y, each), settings))
    for found, each in zip(together, settings, strict=True):
        assert_same_bits(found, fit_network(X, Y, each, n_jobs=1))


def test_fits_under_joblib_are_those_of_each_alone():
    settings = [KINDS["ten starts"], KINDS["width and decay by evidence"]]
    together = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(fit_network)(X, Y, each) for each in settings)
    for found, each in zip(together, settings, strict=True):
        assert_same_bits(found, fit_network(X, Y, each))


AFTER_A_FORK = """
import multiprocessing
import numpy as np
from fallline.fit.network_fit import fit_network

x = np.random.default_rng(7).normal(size=(90, 2))
y = np.sin(2 * x[:, :1]) + x[:, 1:]

def fit():
    fitted, path = fit_network(x, y, hidden_layer_sizes=(4,), seed=1, n_starts=4, max_iter=30, n_jobs=2)
    return fitted.weights.tobytes() + fitted.starts.weights.tobytes() + path.weights.tobytes()

def report(pipe):
    pipe.send_bytes(fit())

before = fit()  # threads and BLAS of the parent have been at work
fork = multiprocessing.get_context("fork")
here, there = zip(*(fork.Pipe() for _ in range(2)))
children = [fork.Process(target=report, args=(pipe,)) for pipe in there]
[child.start() for child in children]
found = [pipe.recv_bytes() for pipe in here]
[child.join() for child in children]
assert found == [before, before]
assert fit() == before
"""


def test_after_a_fork_a_fit_is_the_same():
    subprocess.run([sys.executable, "-W", "ignore", "-c", AFTER_A_FORK], check=True, timeout=120)


SLOW = Settings((3,), seed=5, alpha=0.1, n_starts=5, tol=0.0, max_iter=99)


@pytest.fixture
def slow_from_the_third(monkeypatch):
    """The first two starts of ``SLOW`` arrive at once, the others go on for minutes."""
    network = Network((2, 3, 1))
    quick = [network.initial(seed).tobytes() for seed in (5, [5, 1])]

    def walk(model, rows, descent, *, weights, max_iter, **how):
        if weights.tobytes() not in quick:
            descent, max_iter = GradientDescent(1e-6), 10**8
        return descend(model, rows, descent, weights=weights, max_iter=max_iter, **how)

    monkeypatch.setattr("fallline.fit.walks.descend", walk)


def threads_of_fits():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fallline_")]


@pytest.fixture(scope="module")
def two_starts():
    return fit_network(X, Y, dataclasses.replace(SLOW, n_starts=2), n_jobs=1)


def ctrl_c():
    """A function whose first call has Ctrl-C come in a moment."""
    numbers = itertools.count()  # each is given once, whichever threads come at once

    def call():
        if next(numbers) == 0:
            threading.Timer(0.05, _thread.interrupt_main).start()

    return call


CUT = {
    "Ctrl-C": (ctrl_c, Stop.INTERRUPTED, "Interrupted"),
    "asked": (lambda: lambda: True, Stop.ASKED, "Stopped as asked"),
}


@pytest.mark.usefixtures("slow_from_the_third")
@pytest.mark.parametrize("n_jobs", [1, 2, 4])
@pytest.mark.parametrize(("way", "stop", "words"), CUT.values(), ids=CUT)
def test_a_fit_cut_short_ends_all_threads_and_keeps_what_arrived(way, stop, words, n_jobs, two_starts):
    told, cut = [], way()

    def callback(now, _):
        told.append(now.start)
        return now.start == 3 and cut()

    fitted, path = fit_network(X, Y, SLOW, n_jobs=n_jobs, progress=callback)
    assert threads_of_fits() == []
    np.testing.assert_array_equal(fitted.starts.weights, two_starts[0].starts.weights)
    np.testing.assert_array_equal(fitted.weights, two_starts[0].weights)
    assert path.stop == stop
    assert path.stop_message.startswith(f"{words}: the fit is that of the 2 of 5 starts that had arrived. ")
    assert told == sorted(told)


@pytest.mark.usefixtures("slow_from_the_third")
@pytest.mark.parametrize("n_jobs", [1, 2, 4])
def test_a_fit_whose_time_is_over_keeps_the_starts_that_arrived(n_jobs, two_starts):
    fitted, path = fit_network(X, Y, SLOW, n_jobs=n_jobs, max_seconds=1)
    assert threads_of_fits() == []
    np.testing.assert_array_equal(fitted.weights, two_starts[0].weights)
    assert path.stop == Stop.TIME
    assert path.stop_message.startswith(
        "The time (max_seconds) was over: the fit is that of the 2 of 5 starts that had"
    )


@pytest.mark.parametrize("settings", [each for each in KINDS.values() if not each.finds_width])
def test_a_fit_without_time_for_a_step_has_the_weights_of_the_first_start(settings):
    fitted, path = fit_network(X, Y, settings, max_seconds=1e-9)
    network = fitted.starts.network
    assert (path.stop, path.n_steps, len(fitted.starts)) == (Stop.TIME, 0, 1)
    np.testing.assert_allclose(fitted.weights, network.initial(settings.seed), rtol=1e-6)


def test_a_default_fit_without_time_for_a_step_is_ridge_regression():
    fitted, path = fit_network(X, Y, KINDS["width and decay by evidence"], max_seconds=1e-9)
    expected = fit_ridge(fitted.scaling.x(X), Y).predict(fitted.scaling.x(X))
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-6)
    assert path.stop == Stop.TIME
    assert path.stop_message.startswith("The time (max_seconds) was over: ")


@pytest.mark.usefixtures("slow_from_the_third")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_of_a_single_start_cut_short_the_walk_so_far_is_the_fit(n_jobs):
    cut = ctrl_c()
    fitted, path = fit_network(X, Y, SLOW, n_starts=1, seed=6, n_jobs=n_jobs, progress=lambda *_: cut())
    assert path.stop == Stop.INTERRUPTED
    assert path.stop_message.startswith("Interrupted at step")
    assert path.n_steps > 0
    np.testing.assert_array_equal(fitted.weights, path.best_weights)
    assert threads_of_fits() == []


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_before_anything_is_known_is_passed_on(n_jobs, monkeypatch):
    cut = ctrl_c()

    def never(*_):
        cut()
        while n_jobs == 1 or not stopping():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(InMemory, "total", never)
    with pytest.raises(KeyboardInterrupt):
        fit_network(X, Y, SLOW, n_jobs=n_jobs)
    assert threads_of_fits() == []


@pytest.mark.usefixtures("slow_from_the_third")
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("kind", [OSError, TimeoutError, IndexError])
def test_what_a_callback_raises_comes_out_and_no_thread_goes_on(kind, n_jobs):
    def refuse(now, _):
        if now.start == 3:
            raise kind("in a callback")

    with pytest.raises(kind, match="in a callback"):
        fit_network(X, Y, SLOW, n_jobs=n_jobs, progress=refuse)
    assert threads_of_fits() == []


@pytest.mark.parametrize("n_jobs", [1, 2, 4])
@pytest.mark.parametrize("every_step", [False, True])
def test_callbacks_come_from_the_thread_that_called(every_step, n_jobs):
    seen = []
    fit_network(
        X, Y, KINDS["ten starts"], n_jobs=n_jobs, max_iter=3, every_step=every_step,
        progress=lambda now, there: seen.append((threading.get_ident(), now.start, there().members)),
    )  # fmt: skip
    assert {ident for ident, _, _ in seen} == {threading.get_ident()}
    assert [members for _, _, members in seen] == [start for _, start, _ in seen]  # each start and those before it


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_blas_threads_of_the_user_are_put_back(n_jobs):
    during = set()
    fit_network(X, Y, KINDS["one start"])  # loads every BLAS there will be
    with threadpool_limits(3, user_api="blas"):
        fit_network(
            X, Y, KINDS["ten starts"], n_jobs=n_jobs, max_iter=2 if n_jobs == 1 else 40, every_step=n_jobs == 1,
            progress=lambda *_: during.update(blas_threads()),
        )  # fmt: skip
        assert blas_threads() == {3}
    assert 1 in during


def test_an_error_in_one_start_is_raised_and_ends_the_others(monkeypatch):
    def walk(model, rows, descent, *, weights, **how):
        if weights.tobytes() == model.initial([5, 1]).tobytes():
            raise FloatingPointError("in the second start")
        return descend(model, rows, GradientDescent(1e-6), weights=weights, **how | {"max_iter": 2000})

    monkeypatch.setattr("fallline.fit.walks.descend", walk)
    with pytest.raises(FloatingPointError, match="in the second start"):
        fit_network(X, Y, SLOW, n_jobs=2)
    assert threads_of_fits() == []
