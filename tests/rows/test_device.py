"""Rows on a device against the same rows in memory: the same sums and the same words, and only sums travel."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import array_api_strict
import numpy as np
import pytest

from fallline import (
    LBFGS,
    Adam,
    Curve,
    GradientDescent,
    LevenbergMarquardt,
    Rprop,
    descend,
    descend_from,
    error_surface,
    find_minima,
    verdict_of,
)
from fallline.arrays import namespace
from fallline.error.sums import Request
from fallline.exceptions import SettingsError
from fallline.model.network import Network
from fallline.rows import device as device_module
from fallline.rows.device import OnDevice
from fallline.rows.memory import InMemory
from fallline.rows.moments import moments_of

NETWORKS = [
    Network((3, 2)),
    Network((3, 1), output_activation="logistic", bias=False),
    Network((3, 4, 2)),
    Network((1, 1, 1), "gaussian"),
    Network((3, 5, 4, 2), "logistic", "tanh"),
    Network((3, 2, 3, 2, 1), "softplus", "sine"),
    Network((3, 4, 3), "silu", "softsign", bias=False),
    Network((3, 4, 1), "elu"),
    Network((2, 3, 2), "relu", "leaky_relu"),
    Network((40, 2, 1)),  # too wide for pairs: JᵀJ by J
]
NETWORK = Network((3, 4, 2))
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["each row once", "rows counted"])


def table(network=NETWORK, rows=157, weighted=True, dtype=np.float64):
    """x, y and row weights that no network fits."""
    random = np.random.default_rng(7)
    x, y = random.normal(size=(rows, network.inputs)), random.normal(size=(rows, network.outputs))
    s = random.uniform(size=rows).astype(dtype) if weighted else None
    return x.astype(dtype), y.astype(dtype), s


def both(device, *arrays):
    """The same rows in memory and on the device."""
    there = [None if each is None else device.put(each) for each in arrays]
    return InMemory(*arrays), InMemory(*there)


def all_sums(rows, network):
    """Whatever rows can be asked for, at weights and in directions of no meaning."""
    w, other, first, second = 0.5 * np.random.default_rng(1).normal(size=(4, network.n_weights))
    asked = {
        "error": Request("error", w),
        "gradient": Request("gradient", w),
        "gradients": Request("gradient", np.stack([w, other, first])),
        "gauss_newton": Request("gauss_newton", w),
        "triangle": Request("triangle", w),
        "curvature": Request("curvature", w, other),
        "bend": Request("bend", w, other),
        "hessian": Request("hessian", w),
        "hessian along": Request("hessian", w, np.stack([first, second])),
        "plane": Request("plane", np.stack([w, first, second]), np.array([[0.0, 0.0], [0.3, 0.0], [0.3, -0.2]])),
    }
    found = {}
    for name, request in asked.items():
        sums = rows.total(request, network)
        square = None if sums.triangle is None else sums.triangle.T @ sums.triangle
        found |= {(name, part): each for part, each in sums._replace(triangle=square)._asdict().items()}
    return {key: each for key, each in found.items() if each is not None}


def assert_same(found, expected, rtol=1e-10):
    assert found.keys() == expected.keys()
    for key, want in expected.items():
        assert type(found[key]) is type(want), key
        size = max(np.abs(want).max(), 1.0)
        np.testing.assert_allclose(found[key], want, rtol=rtol, atol=rtol * size, err_msg=key)


@WEIGHTED
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_every_sum_is_that_of_the_rows_in_memory(network, weighted, device):
    here, there = both(device, *table(network, weighted=weighted))
    assert_same(all_sums(there, network), all_sums(here, network))


def test_sums_are_the_same_in_whatever_blocks(device, monkeypatch):
    here, there = both(device, *table())
    monkeypatch.setattr(device_module, "_BLOCK_BYTES", 20_000)
    assert device_module.block_rows(NETWORK, Request("gauss_newton", np.zeros(26)), 8) < 50
    assert_same(all_sums(there, NETWORK), all_sums(here, NETWORK))


@pytest.mark.parametrize("size", [1, 1000], ids=["one number", "many"])
def test_a_block_is_never_empty_and_no_larger_than_its_bytes(size, monkeypatch):
    monkeypatch.setattr(device_module, "_BLOCK_BYTES", size)
    wide, weights = Network((9, 30, 30, 2)), np.zeros((5, 1292))
    asked = [Request("error", weights[0]), Request("gradient", weights), Request("hessian", weights[0], weights)]
    assert [device_module.block_rows(wide, request, 8) for request in asked] == [max(size // (8 * 6 * 62), 1), 1, 1]


def test_blocks_of_float32_are_added_up_in_float64(device, monkeypatch):
    x, y, s = table(rows=5000, dtype=np.float32)
    there = InMemory(device.put(x), device.put(y), device.put(s))
    assert there.dtype == np.float32
    monkeypatch.setattr(device_module, "_BLOCK_BYTES", 40_000)
    wide = InMemory(*(each.astype(np.float64) for each in (x, y, s)))
    assert_same(all_sums(there, NETWORK), all_sums(wide, NETWORK), rtol=1e-4)


def test_the_error_of_many_float32_rows_loses_no_digits(device):
    y = np.full((2_000_000, 1), 0.1, np.float32)
    there = InMemory(device.put(np.zeros((2_000_000, 1), np.float32)), device.put(y))
    error = there.total(Request("error", np.zeros(2)), Network((1, 1))).error
    assert error == pytest.approx(1e6 * float(np.float32(y[0, 0] ** 2)), rel=1e-12)


def test_a_device_without_float64_keeps_float32():
    place = array_api_strict.Device("no_float64")
    x, y, s = table(rows=300)
    x, y, s = (each.astype(np.float32) for each in (x, y, s))
    there = InMemory(*(array_api_strict.asarray(each, device=place) for each in (x, y)), s, np.float64)
    assert there.dtype == there.wide().dtype == np.float32
    assert_same(all_sums(there, NETWORK), all_sums(InMemory(x, y, s, np.float64), NETWORK), rtol=1e-4)


def test_arrays_on_a_device_stay_the_arrays_they_are(device):
    x, y, _ = table()
    put, targets = device.put(x), device.put(y)
    there = InMemory(put, targets)
    assert isinstance(there, OnDevice)
    assert there.x is put or namespace(put).all(there.x == put)
    assert there.x.device == put.device


def test_what_numpy_can_read_is_summed_in_memory_without_a_copy():
    x, y, _ = table()
    strict = array_api_strict.asarray(x)
    rows = InMemory(strict, y)
    assert type(rows) is InMemory
    assert np.shares_memory(rows.x, np.asarray(strict))


@pytest.mark.gpu
def test_tensors_of_pytorch_in_memory_are_summed_by_numpy_without_a_copy():
    torch = pytest.importorskip("torch")
    x, y = torch.randn(50, 3), torch.randn(50, 2)
    rows = InMemory(x, y)
    assert type(rows) is InMemory
    assert rows.dtype == np.float32
    assert np.shares_memory(rows.x, x.numpy())
    predicted = NETWORK.predict(NETWORK.initial(0), x)
    np.testing.assert_allclose(predicted.numpy(), NETWORK.predict(NETWORK.initial(0), x.numpy()), rtol=1e-4)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["x", "y", "row weights"])
def test_one_array_on_a_device_takes_the_others_there(which, device):
    arrays = list(table())
    here = InMemory(*arrays)
    arrays[which] = device.put(arrays[which])
    assert_same(all_sums(InMemory(*arrays), NETWORK), all_sums(here, NETWORK))


def test_whole_numbers_are_taken_as_float64(device):
    x, y = np.arange(12).reshape(6, 2), np.arange(6)[:, None]
    here, there = both(device, x, y)
    assert there.dtype == np.float64
    assert_same(all_sums(there, Network((2, 2, 1))), all_sums(here, Network((2, 2, 1))))


ONES = np.ones((10, 1))
NAN_IN_ROW_3, INFINITY_IN_ROW_9 = (
    np.where(np.arange(10) == row, bad, 1.0)[:, None] for row, bad in ((3, np.nan), (9, -np.inf))
)


@pytest.mark.parametrize(
    ("x", "y", "s"),
    [
        pytest.param(np.ones(10), ONES, None, id="x has one dimension"),
        pytest.param(ONES, np.ones(10), None, id="y has one dimension"),
        pytest.param(ONES, np.ones((9, 1)), None, id="fewer targets"),
        pytest.param(np.ones((0, 1)), np.ones((0, 1)), None, id="no rows"),
        pytest.param(NAN_IN_ROW_3, ONES, None, id="NaN in x"),
        pytest.param(ONES, INFINITY_IN_ROW_9, None, id="infinity in y"),
        pytest.param(ONES, ONES, np.ones(9), id="fewer row weights"),
        pytest.param(ONES, ONES, NAN_IN_ROW_3[:, 0], id="NaN in row weights"),
        pytest.param(ONES, ONES, -np.ones(10), id="negative row weights"),
        pytest.param(ONES, ONES, np.zeros(10), id="no row counts"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_same_words(x, y, s, device):
    with pytest.raises(ValueError, match=r".") as here:
        InMemory(x, y, s)
    with pytest.raises(type(here.value)) as there:
        InMemory(device.put(x), device.put(y), None if s is None else device.put(s))
    assert str(there.value) == str(here.value)


def test_other_columns_than_the_model_takes_are_refused_in_the_same_words(device):
    here, there = both(device, *table())
    with pytest.raises(ValueError, match="3 inputs and 2 targets") as told:
        descend(Network((4, 1)), here)
    with pytest.raises(type(told.value)) as other:
        descend(Network((4, 1)), there)
    assert str(other.value) == str(told.value)


def test_large_numbers_are_no_infinities(device):
    x = np.full((100, 1), 3e38, np.float32)  # their sum overflows
    there = InMemory(device.put(x), device.put(x))
    assert len(there) == 100


def test_a_curve_is_refused_and_told_what_to_do(device):
    x = np.linspace(0, 1, 20)[:, None]
    _, there = both(device, x, np.exp(x))
    with pytest.raises(SettingsError, match="pass x and y as NumPy arrays"):
        descend(Curve("a*exp(b*x)"), there, weights=[1.0, 0.5])


def test_rows_are_not_told_apart_one_by_one(device):
    with pytest.raises(SettingsError, match="pass x and y as NumPy arrays"):
        both(device, *table())[1].content_keys(0)


@WEIGHTED
def test_numbers_that_rows_are_judged_by_are_those_in_memory(weighted, device):
    here, there = both(device, *table(weighted=weighted))
    for name in ("count", "error_of_mean", "error_of_zero", "input_sizes"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-13)
    np.testing.assert_array_equal(device.home(there.counts), here.counts)
    assert len(there) == len(here)


def test_error_of_mean_and_of_zero_are_what_they_say(device):
    y = np.array([[1.0], [3.0]])
    there = InMemory(device.put(np.zeros((2, 1))), device.put(y), device.put(np.array([1.0, 3.0])))
    assert there.error_of_mean == pytest.approx(1.5)  # mean 2.5: ½ (1.5² + 3 · 0.5²)
    assert there.error_of_zero == pytest.approx(14.0)  # ½ (1 + 3 · 9)


@WEIGHTED
@pytest.mark.parametrize("which", [np.array([5, 2, 2, 100]), np.arange(157) % 3 == 0], ids=["numbers", "where True"])
def test_some_of_the_rows_are_those_rows(which, weighted, device):
    here, there = both(device, *table(weighted=weighted))
    some, others = here.taking(which), there.taking(which)
    np.testing.assert_array_equal(device.home(others.x), some.x)
    np.testing.assert_array_equal(device.home(others.y), some.y)
    np.testing.assert_array_equal(device.home(others.counts), some.counts)


def test_rows_counted_more_often_count_more_often(device):
    here, there = both(device, *table())
    factor = np.linspace(0, 2, 157)
    assert_same(all_sums(there.weighted(factor), NETWORK), all_sums(here.weighted(factor), NETWORK))


@WEIGHTED
@pytest.mark.parametrize("size", [20, 157, 1000])
def test_batches_are_the_rows_asked_for_in_that_order(size, weighted, device, monkeypatch):
    here, there = both(device, *table(weighted=weighted))
    monkeypatch.setattr(device_module, "_WINDOW_BYTES", 5000)
    order = np.random.default_rng(0).permutation(157)
    for ours, theirs in zip(there.batches(order, size), here.batches(order, size), strict=True):
        np.testing.assert_array_equal(device.home(ours.x), theirs.x)
        np.testing.assert_array_equal(device.home(ours.y), theirs.y)
        assert ours.count == pytest.approx(theirs.count, rel=1e-13)


def test_each_gives_a_number_for_every_row_where_it_lies(device, monkeypatch):
    here, there = both(device, *table())
    monkeypatch.setattr(device_module, "_BLOCK_BYTES", 4096)
    w = NETWORK.initial(0)
    one = there.each(lambda block: NETWORK.predict(w, block.x))
    pair = there.each(lambda block: (block.y, block.x))
    np.testing.assert_allclose(device.home(one), NETWORK.predict(w, here.x), rtol=1e-12)
    np.testing.assert_array_equal(device.home(pair[1]), here.x)
    assert device.brought == []


def test_predictions_are_of_the_kind_of_their_rows(device):
    x, w = table()[0], NETWORK.initial(0)
    for dtype in (np.float64, np.float32):
        there = device.put(x.astype(dtype))
        predicted = NETWORK.predict(w, there)
        assert (type(predicted), predicted.dtype, predicted.device) == (type(there), there.dtype, there.device)
        np.testing.assert_allclose(device.home(predicted), NETWORK.predict(w, x), rtol=1e-4, atol=1e-5)
    whole = device.home(NETWORK.predict(w, device.put(np.arange(6).reshape(2, 3))))
    np.testing.assert_allclose(whole, NETWORK.predict(w, np.arange(6.0).reshape(2, 3)), rtol=1e-12)


def test_a_triangle_of_what_is_not_finite_is_not_a_number(device):
    _, there = both(device, *table())
    assert np.isnan(there.total(Request("triangle", np.full(26, np.inf)), NETWORK).triangle).all()


DESCENTS = [
    GradientDescent(0.1),
    GradientDescent("auto"),
    GradientDescent(0.05, momentum=0.9, nesterov=True),
    GradientDescent(0.1, momentum=0.5, batch_size=20),
    Adam(batch_size=32),
    Rprop(),
    LBFGS(),
    LevenbergMarquardt(),
    LevenbergMarquardt(factor="qr", acceleration=True),
]
NAMES = ["plain", "automatic", "Nesterov", "mini-batches", "Adam", "Rprop", "L-BFGS", "damped", "damped, by QR"]


@WEIGHTED
@pytest.mark.parametrize("descent", DESCENTS, ids=NAMES)
def test_a_descent_takes_the_same_way(descent, weighted, device):
    here, there = both(device, *table(weighted=weighted))
    mine, other = (descend(NETWORK, rows, descent, seed=0, max_iter=12) for rows in (there, here))
    np.testing.assert_allclose(mine.weights, other.weights, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(mine.error, other.error, rtol=1e-9)
    assert mine.stop_message == other.stop_message


def test_bayesian_regularisation_and_a_judge_take_the_same_way(device):
    here, there = both(device, *table())
    mine, other = (
        descend(NETWORK, rows, seed=0, max_iter=12, alpha="evidence", watched={"all": rows}, judge="all")
        for rows in (there, here)
    )
    np.testing.assert_allclose(mine.weights, other.weights, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(mine.watched["all"], other.watched["all"], rtol=1e-9)


def test_arrays_may_be_given_as_they_are(device):
    x, y, _ = table()
    mine, other = (descend(NETWORK, rows, seed=0, max_iter=5) for rows in ((device.put(x), device.put(y)), (x, y)))
    np.testing.assert_allclose(mine.weights, other.weights, rtol=1e-8, atol=1e-10)


def test_a_descent_that_diverges_says_why_in_the_same_words(device):
    here, there = both(device, *table())
    mine, other = (descend(NETWORK, rows, GradientDescent(1e3), seed=0, max_iter=50) for rows in (there, here))
    assert "learning rate 1000 is too large" in mine.stop_message
    assert mine.stop_message == other.stop_message


@pytest.mark.parametrize("descent", [GradientDescent(0.1), LevenbergMarquardt()], ids=["stacked", "each by itself"])
def test_many_starts_end_where_they_end_in_memory(descent, device):
    here, there = both(device, *table())
    starts = np.stack([NETWORK.initial(i) for i in range(6)])
    mine, other = (descend_from(NETWORK, rows, descent, starts=starts, max_iter=6) for rows in (there, here))
    np.testing.assert_allclose(mine.weights, other.weights, rtol=1e-7, atol=1e-9)


@WEIGHTED
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_moments_are_those_in_memory(bias, weighted, device):
    x, y, s = table(rows=3000, weighted=weighted)
    x = x * [1.0, 100.0, 0.01] + [0.0, 1e5, -3.0]
    network = Network((3, 2), bias=bias)
    here, there = (moments_of(network, rows, refined=True) for rows in both(device, x, y, s))
    for name in ("rows", "x_mean", "y_mean", "square", "best", "least"):
        want = np.asarray(getattr(here, name))
        np.testing.assert_allclose(getattr(there, name), want, rtol=1e-9, atol=1e-11 * np.abs(want).max(), err_msg=name)


def test_a_linear_network_goes_to_its_exact_minimum(device):
    x, y, _ = table()
    network, there = Network((3, 2)), InMemory(device.put(x), device.put(y))
    path = descend(network, there, GradientDescent(), seed=0, max_iter=np.inf)
    coef = np.linalg.lstsq(np.column_stack([x, np.ones(157)]), y, rcond=None)[0]
    np.testing.assert_allclose(path.final_weights.reshape(4, 2), coef, rtol=1e-10)


def test_verdict_surface_and_minima_are_those_in_memory(device):
    x, y, s = table()
    here, there = both(device, x, np.tanh(x[:, :2]) + 0.1 * y, s)
    path = descend(NETWORK, here, seed=0, max_iter=200, tol=1e-9)
    verdicts = [verdict_of(path, rows) for rows in (there, here)]
    assert verdicts[0].kind == verdicts[1].kind
    surfaces = [error_surface(path, rows, points=5).error for rows in (there, here)]
    np.testing.assert_allclose(*surfaces, rtol=1e-5)
    minima = [find_minima(NETWORK, rows, starts=2, max_iter=60).minima for rows in (there, here)]
    np.testing.assert_allclose(*([each.error for each in found] for found in minima), rtol=1e-6)


def everything(rows):
    """All that can be asked of rows, all descents, and the landscape."""
    all_sums(rows, NETWORK)
    paths = [descend(NETWORK, rows, descent, seed=0, max_iter=2) for descent in DESCENTS]
    descend(Network((3, 2)), rows, GradientDescent(), max_iter=5)
    descend_from(NETWORK, rows, starts=paths[0].weights, max_iter=2)
    verdict_of(paths[-1], rows)
    find_minima(NETWORK, rows, starts=2, max_iter=20)
    error_surface(paths[-1], rows, points=5)


def test_nothing_of_the_size_of_the_rows_leaves_the_device(device):
    x, y, s = table(rows=4000)
    everything(InMemory(device.put(x), device.put(np.tanh(x[:, :2]) + 0.1 * y), device.put(s)))
    assert len(device.brought) > 100
    assert max(device.brought) < 1000


def test_rows_can_be_copied_and_pickled_and_are_summed_again():
    rows = InMemory(*table())
    want = all_sums(rows, NETWORK)
    assert_same(all_sums(copy.deepcopy(rows), NETWORK), want, rtol=0)
    assert_same(all_sums(pickle.loads(pickle.dumps(rows)), NETWORK), want, rtol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["CuPy", "PyTorch"])
def test_all_of_this_holds_on_a_gpu(library):
    found = pytest.importorskip(library.lower().removeprefix("py"), exc_type=ImportError)
    if not found.cuda.is_available():
        pytest.skip(f"{library} finds no GPU")
    files = [
        Path(__file__),
        Path(__file__).parents[1] / "test_arrays.py",
        Path(__file__).parents[1] / "estimators" / "test_device_fit.py",
    ]
    call = [sys.executable, "-m", "pytest", "-q", "-m", "not gpu", f"--device={library}", *map(str, files)]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.gpu
def test_the_benchmark_runs_and_its_results_agree():
    torch = pytest.importorskip("torch")
    script = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    place = "cuda" if torch.cuda.is_available() else "cpu"
    call = [sys.executable, "-W", "error", str(script), "2000", "500", place]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.count("× PyTorch") >= 4
