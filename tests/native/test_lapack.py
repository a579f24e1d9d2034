import threading
import time

import numpy as np
import pytest

from fallline.native.lapack import cholesky, inverse_of_root, solve_by_root


@pytest.fixture
def square(random):
    a = random.normal(size=(50, 30))
    return a.T @ a


def test_the_root_squared_is_the_matrix(square):
    root = np.triu(cholesky(square.copy()))
    np.testing.assert_allclose(root.T @ root, square, rtol=1e-12, atol=1e-12)


def test_the_root_solves_equations_and_gives_the_inverse_as_numpy_does(square, random):
    right, root = random.normal(size=30), cholesky(square.copy())
    np.testing.assert_allclose(solve_by_root(root, right), np.linalg.solve(square, right), rtol=1e-9)
    inverse = inverse_of_root(root)
    np.testing.assert_allclose(inverse @ inverse.T, np.linalg.inv(square), rtol=1e-8, atol=1e-12)


def test_what_is_not_positive_definite_has_no_root():
    assert cholesky(np.array([[1.0, 2.0], [2.0, 1.0]])) is None


def test_a_right_side_is_left_as_it_was(square):
    right = np.ones(30)
    solve_by_root(cholesky(square), right)
    np.testing.assert_array_equal(right, np.ones(30))


def test_other_threads_go_on_while_a_matrix_is_factorised(random):
    a = random.normal(size=(1500, 1500))
    square, ticks, done = a @ a.T + 1500 * np.eye(1500), [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    cholesky(square)
    ended = time.perf_counter()
    done.set()
    thread.join()
    within = [at for at in ticks if began < at < ended]
    assert len(within) > 100
