"""What C gives is what its twin in NumPy gives, to rounding: over random shapes, rows and settings."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fallline import Adam, GradientDescent, InMemory, Network, Rprop, descend, descend_from
from fallline.descent import Stop
from fallline.error.sums import Block, Request, finished, sums_of_block
from fallline.model.activations import ACTIVATIONS
from fallline.native import kernels
from fallline.native.library import status
from fallline.walk.loop import one_epoch
from fallline.walk.recorder import Recorder
from fallline.walk.stopping import Stopping

pytestmark = pytest.mark.skipif(status().level is None, reason=status().sentence)

PRECISION = {np.float64: 1e-12, np.float32: 3e-5}


def random_case(seed):
    """A network of any depth and activation, rows for it of either type and order, row weights or none, and weights."""
    random = np.random.default_rng(seed)
    sizes = tuple(int(size) for size in random.integers(1, 9, random.integers(2, 6)))
    if seed % 10 == 0:  # a layer far wider than the next
        sizes = (int(random.integers(30, 90)), *sizes[1:])
    hidden, output = random.choice(list(ACTIVATIONS), 2)
    network = Network(sizes, str(hidden), str(output), bias=bool(random.integers(2)))
    n, dtype = int(random.integers(1, 700)), [np.float64, np.float32][seed % 3 == 0]
    x, y = (random.normal(size=(n, width)).astype(dtype) for width in (sizes[0], sizes[-1]))
    if seed % 2:
        x = np.asfortranarray(x)
    s = random.integers(0, 3, n).astype(dtype) if seed % 4 == 0 else None
    return network, Block(x, y, s), network.initial(seed)


def close(found, expected, precision):
    scale = np.abs(expected).max() + 1e-30
    np.testing.assert_allclose(np.asarray(found) / scale, np.asarray(expected) / scale, rtol=0, atol=precision)


@pytest.mark.parametrize("seed", range(120))
def test_sums_are_those_of_the_twin(seed):
    network, block, weights = random_case(seed)
    precision = PRECISION[block.x.dtype.type]
    for kind in ("error", "gradient", "gauss_newton"):
        request = Request(kind, weights)
        expected = finished(network, sums_of_block(network, request, Block(block.x, block.y, block.s)))
        error, gradient, square = kernels.sums(network, request, block.x, block.y)(block)
        close(error, expected.error, precision)
        assert (gradient is None) == (kind == "error")
        assert (square is None) == (kind != "gauss_newton")
        if gradient is not None:
            close(gradient, expected.gradient, precision)
        if square is not None:
            close(square, expected.gauss_newton, precision)
            np.testing.assert_array_equal(square, square.T)


@pytest.mark.parametrize("seed", range(40))
def test_errors_on_a_plane_are_those_of_the_twin(seed):
    network, block, weights = random_case(seed)
    random = np.random.default_rng(seed)
    corners = np.stack([weights, *random.normal(size=(2, network.n_weights))])
    request = Request("plane", corners, random.normal(size=(7, 2)))
    (errors,) = kernels.sums(network, request, block.x, block.y)(block)
    close(errors, sums_of_block(network, request, block).error, PRECISION[block.x.dtype.type])


def misaligned(array):
    """The same numbers, one byte beyond where a number may lie."""
    held = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    held[...] = array
    return held


def of_records(array):
    """The same numbers as fields of records of twelve bytes and more."""
    held = np.zeros(len(array), [("numbers", array.dtype, array.shape[1:]), ("other", np.int32)])
    held["numbers"] = array
    return held["numbers"]


AS_IT_LIES = {
    "every second": lambda array: np.repeat(array, 2, axis=0)[::2],
    "backwards": lambda array: array[::-1].copy()[::-1],
    "the same row again": lambda array: np.broadcast_to(array[:1], array.shape),
    "column by column": np.asfortranarray,
    "misaligned": misaligned,
    "of records": of_records,
    "read-only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
}


@pytest.mark.parametrize("how", AS_IT_LIES)
@pytest.mark.parametrize("sizes", [(3, 4, 2), (20, 1)])
def test_rows_are_read_as_they_lie_in_memory(how, sizes):
    random = np.random.default_rng(9)
    x, y, s = (random.uniform(0.1, 1.0, shape) for shape in ((300, sizes[0]), (300, sizes[-1]), (300,)))
    x, y, s = (AS_IT_LIES[how](array) for array in (x, y, s))
    network = Network(sizes, output_activation="logistic")
    request = Request("gradient", network.initial(0))
    expected = sums_of_block(network, request, Block(*(np.array(array) for array in (x, y, s))))
    sums = InMemory(x, y, s).total(request, network)
    close(sums.error, expected.error, 1e-12)
    close(sums.gradient, expected.gradient, 1e-12)


@pytest.mark.parametrize("inputs", [16, 31, 32, 150])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_network_without_hidden_layers_is_summed_where_its_rows_lie(inputs, outputs, dtype):
    random = np.random.default_rng(inputs)
    wide = random.normal(size=(2000, inputs + 5)).astype(dtype)
    x, y = wide[:, 2 : inputs + 2], random.normal(size=(2000, outputs)).astype(dtype)  # a part of wider rows
    network = Network((inputs, outputs), output_activation="logistic")
    request, block = Request("gradient", network.initial(0)), Block(x, y)
    expected = sums_of_block(network, request, Block(x, y))
    error, gradient, _ = kernels.sums(network, request, x, y)(block)
    close(error, expected.error, PRECISION[dtype])
    close(gradient, expected.gradient, PRECISION[dtype])


EXACT = {"tanh": math.tanh, "logistic": lambda z: 1.0 / (1.0 + math.exp(-z)) if z > -700 else 0.0}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tanh_and_the_logistic_function_are_right_to_a_few_units_in_the_last_place(name, dtype):
    """Through E of one row and a network that is the function: ½ f(z)² with y = 0, and f by its root."""
    network = Network((1, 1), output_activation=name, bias=False)
    z = np.concatenate([np.geomspace(1e-8, 800, 4001), np.linspace(-40, 40, 4001), -np.geomspace(1e-8, 600, 1001)])
    least = math.sqrt(np.finfo(dtype).tiny) * 1e3  # below, its square is no number of full precision
    for value in z.astype(dtype):
        block = Block(np.array([[value]]), np.zeros((1, 1), dtype))
        error, _, _ = kernels.sums(network, Request("error", np.ones(1)), block.x, block.y)(block)
        there = abs(EXACT[name](float(value)))
        if there > least:
            unit = np.spacing(dtype(there if name == "tanh" else max(there, 0.5)))  # the twin rounds as beside ½
            assert abs(math.sqrt(2.0 * error) - there) <= 4 * unit


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_a_weight_that_is_no_number_or_far_too_large_gives_an_error_that_says_so(name):
    network = Network((2, 3, 1), name)
    block = Block(np.ones((5, 2)), np.zeros((5, 1)))
    for at in (0, 9):
        weights = np.ones(network.n_weights)
        weights[at] = np.nan
        request = Request("gradient", weights)
        expected = sums_of_block(network, request, block)
        error, _, _ = kernels.sums(network, request, block.x, block.y)(block)
        assert math.isfinite(error) == math.isfinite(expected.error)  # a rectifier of NaN is 0 in both
        weights[at] = 1e300
        request = Request("gradient", weights)
        expected = sums_of_block(network, request, block)
        error, _, _ = kernels.sums(network, request, block.x, block.y)(block)
        assert math.isfinite(error) == math.isfinite(expected.error)


def without_c(monkeypatch, call):
    """What a call gives by the twins alone."""
    with monkeypatch.context() as patched:
        patched.setattr(kernels, "_function", lambda name, dtype: None)
        return call()


DESCENTS = {
    "plain": GradientDescent(0.3),
    "momentum": GradientDescent(0.1, momentum=0.9),
    "Nesterov": GradientDescent(0.1, momentum=0.9, nesterov=True),
    "too fast": GradientDescent(80.0),
    "too fast with momentum": GradientDescent(30.0, momentum=0.9),
    "Rprop+": Rprop("rprop+"),
    "iRprop+": Rprop("irprop+"),
    "iRprop-": Rprop("irprop-"),
    "Rprop from far": Rprop(first_step=50.0),
}


@pytest.mark.parametrize("name", DESCENTS)
@pytest.mark.parametrize("settings", [{}, {"alpha": 0.1, "tol": 1e-4, "n_iter_no_change": 3}, {"alpha": 10.0}], ids=str)
def test_a_walk_of_many_steps_at_once_is_the_walk_step_by_step(name, settings, monkeypatch):
    random = np.random.default_rng(3)
    x = random.normal(size=(150, 2))
    y = np.tanh(x @ [[1.0], [-2.0]]) + 0.1 * random.normal(size=(150, 1))
    network, s = Network((2, 3, 1)), random.integers(1, 3, 150)

    def walk():
        return descend(network, InMemory(x, y, s), DESCENTS[name], seed=1, max_iter=300, **settings)

    path, twin = walk(), without_c(monkeypatch, walk)
    assert (path.stop, path.stop_message) == (twin.stop, twin.stop_message) or name.startswith("too fast")
    assert path.stop == twin.stop
    assert (path.n_passes, path.best_step) == (twin.n_passes, twin.best_step)
    for column in ("steps", "passes", "weight_steps"):
        np.testing.assert_array_equal(getattr(path, column), getattr(twin, column))
    for column in ("error", "penalised_error", "gradient_norm", "weights", "gradient", "best_weights"):
        np.testing.assert_allclose(getattr(path, column), getattr(twin, column), rtol=1e-6, atol=1e-9)
    for shown, values in twin.shown.items():
        np.testing.assert_allclose(path.shown[shown], values, rtol=1e-9)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize(
    "verb", [Recorder.note_all, Stopping.tell_all, Recorder.end_within], ids=lambda verb: verb.__name__
)
def test_ctrl_c_at_the_end_of_many_steps_keeps_a_path_that_has_its_best_point(verb, where, monkeypatch):
    calls = []

    def interrupted(self, *args):
        calls.append(verb)
        if len(calls) == 3 and where == "before":
            raise KeyboardInterrupt
        found = verb(self, *args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return found

    owner = Stopping if verb is Stopping.tell_all else Recorder
    monkeypatch.setattr(owner, verb.__name__, interrupted)
    x = np.linspace(-1, 1, 50)[:, None]
    path = descend(Network((1, 2, 1)), (x, np.sin(2 * x)), GradientDescent(0.1), seed=0, max_iter=50_000)
    assert path.stop == Stop.INTERRUPTED
    assert 1 < len(path.steps) < 50_000
    assert path.at_best(path.penalised_error) == path.penalised_error.min()
    np.testing.assert_array_equal(path.steps, np.arange(len(path.steps)))
    np.testing.assert_array_equal(path.weight_steps, path.steps)
    assert len(path.weights) == len(path.error) == len(path.gradient) == path.n_passes


@pytest.mark.parametrize(
    ("hidden", "weights"), [("gaussian", [30.0, 1.0]), ("logistic", [-1000.0, 1.0]), ("silu", [-1000.0, 1.0])]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f8"])
def test_a_saturated_unit_has_no_slope_as_in_the_twin(hidden, weights, dtype, monkeypatch):
    def walk():
        rows = InMemory([[1.0], [2.0]], [[1.0], [1.0]], dtype=dtype)
        return descend(Network((1, 1, 1), hidden, bias=False), rows, Rprop(), weights=weights, max_iter=50)

    path, twin = walk(), without_c(monkeypatch, walk)
    assert (path.stop, path.n_steps) == (twin.stop, twin.n_steps)


def test_odd_numbers_of_steps_are_the_same_in_c_and_in_the_twin(monkeypatch):
    x = np.linspace(-1, 1, 30)[:, None]
    network = Network((1, 2, 1))
    starts = np.concatenate([np.random.default_rng(0).normal(size=(3, 7)), np.full((1, 7), 1e200)])

    def run(**how):
        return descend_from(network, (x, x**2), GradientDescent(0.3), starts=starts, tol=1e-3, **how)

    for how in (
        {"max_iter": 20.0},
        {"max_iter": 20, "n_iter_no_change": math.inf},
        {"max_iter": 20, "n_iter_no_change": 2**63},
    ):
        found, twin = run(**how), without_c(monkeypatch, lambda how=how: run(**how))
        np.testing.assert_array_equal(found.stop, twin.stop)
        np.testing.assert_array_equal(found.steps, twin.steps)


def test_a_walk_to_rest_ends_where_the_gradient_is_zero():
    x = np.array([[1.0], [-1.0]])
    path = descend(Network((1, 1), output_activation="logistic", bias=False), (x, 0 * x + 0.5), GradientDescent(1.0),
                   weights=[3.0], max_iter=20_000)  # fmt: skip
    assert path.stop.name in ("FLAT", "MAX_ITER")
    assert abs(path.best_weights[0]) < 1e-12


@pytest.mark.parametrize(
    "descent", [GradientDescent(0.5), GradientDescent(0.2, 0.9), GradientDescent(0.2, 0.9, nesterov=True)]
)
@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_many_starts_end_where_the_twin_ends(descent, tol, monkeypatch):
    random = np.random.default_rng(5)
    x = random.normal(size=(60, 2))
    network = Network((2, 2, 1), output_activation="tanh")
    y = np.sin(x[:, :1])
    starts = np.concatenate([random.normal(size=(40, network.n_weights)), np.full((1, network.n_weights), 1e200)])

    def run():
        return descend_from(network, (x, y), descent, starts=starts, max_iter=70, tol=tol, alpha=0.01)

    found, twin = run(), without_c(monkeypatch, run)
    for column in ("steps", "passes", "stop"):
        np.testing.assert_array_equal(getattr(found, column), getattr(twin, column))
    for column in ("weights", "error", "penalised_error"):
        np.testing.assert_allclose(getattr(found, column), getattr(twin, column), rtol=1e-9, atol=1e-12)


BY_BATCHES = {
    "plain": GradientDescent(0.05, batch_size=16),
    "momentum": GradientDescent(0.02, momentum=0.9, batch_size=16, decay="inverse"),
    "Nesterov": GradientDescent(0.02, momentum=0.9, nesterov=True, batch_size=50, decay="cosine"),
    "automatic": GradientDescent(batch_size=16),
    "too fast": GradientDescent(1e4, batch_size=16),
    "Adam": Adam(batch_size=16),
}


@pytest.mark.parametrize("name", BY_BATCHES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_epochs_are_those_of_the_twin(name, dtype, monkeypatch):
    random = np.random.default_rng(7)
    x = random.normal(size=(210, 3)).astype(dtype)
    y, s = np.sin(x[:, :1]), random.integers(0, 3, 210).astype(dtype)
    network = Network((3, 5, 1))

    def walk():
        return descend(network, InMemory(x, y, s, dtype), BY_BATCHES[name], seed=2, max_iter=4, alpha=0.1)

    path, twin = walk(), without_c(monkeypatch, walk)
    assert (path.stop, path.n_passes) == (twin.stop, twin.n_passes)
    np.testing.assert_array_equal(path.weight_steps, twin.weight_steps)
    rtol, atol = (1e-7, 1e-10) if dtype == np.float64 else (2e-2, 2e-3)
    for column in ("error", "weights", "best_weights"):
        np.testing.assert_allclose(getattr(path, column), getattr(twin, column), rtol=rtol, atol=atol)


def test_an_epoch_goes_on_from_one_in_another_precision(monkeypatch):
    x = np.random.default_rng(0).normal(size=(100, 2))
    network, descent = Network((2, 3, 1)), GradientDescent(0.05, momentum=0.5, batch_size=20)
    y, start = np.sin(x[:, :1]), network.initial(0)

    def twice():
        _, standing = one_epoch(network, InMemory(x, y, dtype=np.float32), descent, start, seed=1)
        return one_epoch(network, InMemory(x, y), descent, start, seed=1, before=standing)[0]

    np.testing.assert_allclose(twice().final_weights, without_c(monkeypatch, twice).final_weights, rtol=1e-5)


def test_results_are_the_same_bits_from_run_to_run_and_in_any_thread():
    network, block, weights = random_case(1)
    request = Request("gauss_newton", weights)
    of_block = kernels.sums(network, request, block.x, block.y)
    first = of_block(block)
    with ThreadPoolExecutor(4) as pool:
        for error, gradient, square in pool.map(lambda _: of_block(block), range(40)):
            assert error == first[0]
            np.testing.assert_array_equal(gradient, first[1])
            np.testing.assert_array_equal(square, first[2])


def test_rows_that_do_not_fit_the_network_are_left_to_the_twin_which_says_so():
    network = Network((2, 3, 1))
    request = Request("gradient", network.initial(0))
    assert kernels.sums(network, request, np.ones((4, 3)), np.ones((4, 1))) is None
    assert kernels.sums(network, request, np.ones((4, 2)), np.ones((4, 2))) is None
    assert kernels.sums(network, Request("gradient", np.ones(3)), np.ones((4, 2)), np.ones((4, 1))) is None
    assert kernels.sums(network, request, np.ones((4, 2), np.float16), np.ones((4, 1), np.float16)) is None
    deep = Network((1,) * 20)
    assert kernels.sums(deep, Request("error", deep.initial(0)), np.ones((4, 1)), np.ones((4, 1))) is None
