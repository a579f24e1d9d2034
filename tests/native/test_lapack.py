import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fallline.native import lapack
from fallline.native.lapack import diagonals, solve_by_root, solved


@pytest.fixture(params=["C, where there is a library", "SciPy"], autouse=True)
def way(request, monkeypatch):
    if request.param == "SciPy":
        monkeypatch.setattr(lapack, "function", lambda *args: None)


@pytest.fixture(params=[1, 30, 150, 301])
def given(request, random):
    """A matrix, a scale and what is added to its diagonal, and D square D + diag(more)."""
    p = request.param
    a, scale, more = random.normal(size=(p + 20, p)), random.uniform(0.1, 3.0, p), random.uniform(0.1, 1.0, p)
    square = a.T @ a
    return square, scale, more, square * np.outer(scale, scale) + np.diag(more)


def test_the_root_squared_is_the_matrix_and_solves_equations_as_numpy_does(given, random):
    square, scale, more, whole = given
    slope = random.normal(size=len(scale))
    before = square.copy(), slope.copy()
    root, move = solved(square, scale, more, slope)
    upper = np.triu(root)
    np.testing.assert_allclose(upper.T @ upper, whole, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(move, -np.linalg.solve(whole, slope), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(solve_by_root(root, slope), -move, rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(square, before[0])  # what is given is left as it was
    np.testing.assert_array_equal(slope, before[1])


def test_the_diagonals_are_those_of_the_root_and_of_the_inverse(given):
    square, scale, more, whole = given
    diagonal, variance = diagonals(square, scale, more)
    np.testing.assert_allclose(diagonal, np.diagonal(np.linalg.cholesky(whole)), rtol=1e-10)
    np.testing.assert_allclose(variance, np.diagonal(np.linalg.inv(whole)), rtol=1e-8)


def test_what_is_not_positive_definite_has_no_solution():
    square, ones = np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2)
    assert np.isnan(solved(square, ones, 0.0 * ones, ones)[1]).all()
    assert diagonals(square, ones, 0.0 * ones) is None


def test_other_threads_go_on_while_a_matrix_is_factorised(random, way):
    if lapack.function("damped", np.float64) is None:
        return  # SciPy keeps Python's lock
    a = random.normal(size=(1500, 1500))
    square, ticks, done = a @ a.T + 1500 * np.eye(1500), [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    solved(square, np.ones(1500), np.ones(1500), np.ones(1500))
    ended = time.perf_counter()
    done.set()
    thread.join()
    within = [at for at in ticks if began < at < ended]
    assert len(within) > 100


def test_threads_that_come_first_at_the_same_moment_solve_alike(random):
    a = random.normal(size=(40, 20))
    square, ones = a.T @ a, np.ones(20)
    expected = solved(square, ones, ones, ones)[1]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(200):
                lapack._lapack.cache_clear()
                both = threading.Barrier(8)
                found = pool.map(lambda _, gate=both: (gate.wait(), solved(square, ones, ones, ones)[1])[1], range(8))
                for each in found:
                    np.testing.assert_array_equal(each, expected)
    finally:
        sys.setswitchinterval(interval)
