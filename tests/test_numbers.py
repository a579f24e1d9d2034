"""Numbers of any size, columns of any kind: every fit ends with finite weights and a stop reason, or in fallline's own words."""

import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallline import InMemory, Network, NetworkClassifier, NetworkRegressor, descend
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.rprop import Rprop
from fallline.exceptions import FalllineError, SettingsError, TableError

SECONDS = 10  # in which a small walk ends, however slow the machine


def table_of(rows, kinds, scales, target, scale, seed):
    """Inputs (rows, len(kinds)) and a target (rows,) of these kinds, each column times a power of ten."""
    random = np.random.default_rng(seed)
    columns = [random.normal(size=rows)]
    for kind in kinds:
        new = {
            "normal": random.normal(size=rows), "constant": np.full(rows, 3.0), "duplicated": columns[-1],
            "collinear": np.sum(columns, axis=0), "whole": random.integers(0, 3, rows).astype(float), "zero": np.zeros(rows),
        }[kind]  # fmt: skip
        columns.append(new)
    x = np.column_stack(columns[1:]) * 10.0 ** np.array(scales[: len(kinds)])
    y = {"normal": random.normal(size=rows), "constant": np.full(rows, 2.0), "line": columns[1] + 0.1 * columns[0]}[
        target
    ]
    return x, y * 10.0**scale


KINDS = st.lists(
    st.sampled_from(["normal", "constant", "duplicated", "collinear", "whole", "zero"]), min_size=1, max_size=6
)
POWERS = st.lists(st.integers(-300, 300) | st.just(0), min_size=6, max_size=6)
TABLES = st.builds(
    table_of, st.integers(1, 24), KINDS, POWERS, st.sampled_from(["normal", "constant", "line"]),
    st.integers(-300, 300) | st.just(0), st.integers(0, 9),
)  # fmt: skip
WEIGHTS = st.sampled_from(["none", "some zero", "one row", "all zero", "tiny", "huge"])


def weights_of(kind, rows):
    return {
        "none": None, "some zero": np.arange(rows) % 2.0, "one row": (np.arange(rows) == 0) * 1.0, "all zero": np.zeros(rows),
        "tiny": np.full(rows, 1e-300), "huge": np.full(rows, 1e300),
    }[kind]  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [{"hidden_layer_sizes": 2, "n_starts": 1}, {"hidden_layer_sizes": ()}, {}],
    ids=["a network", "linear", "the default"],
)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(table=TABLES, weights=WEIGHTS)
def test_a_fit_ends_with_finite_weights_or_in_a_sentence(more, table, weights):
    x, y = table
    model = NetworkRegressor(max_iter=10, random_state=0, n_jobs=1, **more)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model.fit(x, y, sample_weight=weights_of(weights, len(x)))
        except ValueError as problem:
            ours = isinstance(problem, FalllineError) and str(problem).endswith(".")
            assert ours or "must contain at least one non-zero number" in str(problem)  # scikit-learn's words  # noqa: PT017
            return
        assert np.isfinite(np.concatenate([coef.ravel() for coef in model.coefs_])).all()
        assert np.isfinite(model.predict(x)).all()
    assert model.stop_reason_


DESCENTS = [
    GradientDescent(0.1), GradientDescent("auto"), GradientDescent("auto", momentum="auto"), LBFGS(), Rprop(),
    LevenbergMarquardt(),
]  # fmt: skip


@pytest.mark.parametrize("alpha", [0.0, "evidence"])
@pytest.mark.parametrize("descent", DESCENTS, ids=lambda each: repr(each)[:50])
def test_a_walk_on_numbers_of_any_size_ends(descent, alpha, random):
    x, y = random.normal(size=(40, 2)), random.normal(size=(40, 1))
    extreme = {
        "inputs": (1e300 * x, y), "targets": (x, 1e300 * y), "both": (1e199 * x, 1e199 * y), "small": (1e-300 * x, y),
        "weights near 0": (x, y, np.full(40, 1e-300)), "weights without end": (x, y, np.full(40, 1e300)),
    }  # fmt: skip
    for name, rows in extreme.items():
        began = time.monotonic()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                path = descend(Network((2, 3, 1)), InMemory(*rows), descent, seed=1, max_iter=100, alpha=alpha)
            except FalllineError:
                continue
        assert np.isfinite(path.best_weights).all(), name
        assert path.stop is not None, name
        assert time.monotonic() - began < SECONDS, name


@pytest.mark.parametrize("alpha", [None, "much", True, [None], 1j, float("nan"), -1])
@pytest.mark.parametrize("kind", [NetworkRegressor, NetworkClassifier])
def test_a_weight_decay_that_is_none_gets_a_sentence(kind, alpha, random):
    x = random.normal(size=(20, 2))
    with pytest.raises(SettingsError, match="weight decay is a number from 0 up"):
        kind(hidden_layer_sizes=2, n_starts=1, alpha=alpha).fit(x, x[:, 0] > 0)


@pytest.mark.parametrize("more", [{"hidden_layer_sizes": 2, "n_starts": 1}, {"hidden_layer_sizes": ()}, {}])
@pytest.mark.parametrize(("of_x", "of_y", "word"), [(1e199, 1, "inputs"), (1, 1e199, "targets")])
def test_numbers_whose_squares_cannot_be_summed_get_a_sentence(more, of_x, of_y, word, random):
    x = random.normal(size=(30, 2))
    with pytest.raises(TableError, match=f"The {word} hold numbers so large .* Divide them by a power of ten"):
        NetworkRegressor(**more).fit(of_x * x, of_y * x[:, 0])


def test_a_target_without_spread_is_predicted_as_it_is(random):
    x = random.normal(size=(40, 2))
    np.testing.assert_allclose(NetworkRegressor().fit(x, np.full(40, 7.0)).predict(x), 7.0, rtol=1e-9)


def test_many_fits_at_once_are_those_one_after_the_other_and_blas_has_its_threads_back(random):
    from threadpoolctl import threadpool_info

    x = random.normal(size=(40, 2))

    def fit(seed):
        model = NetworkRegressor(hidden_layer_sizes=3, n_starts=2, max_iter=20, random_state=seed)
        return model.fit(x, np.sin(x[:, 0])).predict(x).tobytes()

    def threads():
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    found = {}
    together = [threading.Thread(target=lambda seed=seed: found.update({seed: fit(seed)})) for seed in range(8)]
    with warnings.catch_warnings():  # outside of the threads: it is the process's
        warnings.simplefilter("ignore")
        alone, before = [fit(seed) for seed in range(8)], threads()
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
    assert [found[seed] for seed in range(8)] == alone
    assert threads() == before


FORKED = """
import warnings
import numpy as np
from fallline import NetworkRegressor
warnings.simplefilter("ignore")
x = np.random.default_rng(0).normal(size=(40, 2))
def fit(seed):
    model = NetworkRegressor(hidden_layer_sizes=3, n_starts=2, max_iter=20, random_state=seed)
    return model.fit(x, np.sin(x[:, 0])).predict(x)
from joblib import Parallel, delayed
alone = [fit(seed) for seed in range(4)]
for backend in ("multiprocessing", "threading"):
    found = Parallel(2, backend=backend)(delayed(fit)(seed) for seed in range(4))
    print(np.array_equal(found, alone))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_fits_in_forks_after_a_fit_end_and_are_the_same():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\nTrue\n", done.stderr
