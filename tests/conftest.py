"""Strictness for every test: no dtype or rank is promoted in silence."""

import unittest

import jax
import numpy as np
import pytest

from fallline.kernel import make_room

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def room():
    """Thousands of tests compile more programs than a process can hold."""
    make_room()


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def passes():
    """Whether a check of scikit-learn passes. One may be skipped, by its own word: array API support is not claimed."""

    def run(check, estimator):
        try:
            check(estimator)
        except unittest.SkipTest:
            return getattr(check, "func", check).__name__ == "check_array_api_input"
        return True

    return run
