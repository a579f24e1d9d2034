import jax
import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.choose import choose
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS, TruncatedGaussNewton
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.rprop import Rprop
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

NEURON = Network((2, 1), output_activation="logistic", bias=False)


@pytest.fixture
def table(random):
    x = random.normal(size=(60, 2))
    return InMemory(x, 1 / (1 + np.exp(-x @ [[2.0], [-1.0]])))


@pytest.fixture
def compilations():
    """The names of the programs compiled since the fixture was set up."""
    names: list[str] = []

    def listen(event, duration, **kwargs):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(kwargs.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def test_weights_error_and_gradient_are_kept_at_every_step(table):
    path = descend(NEURON, table, GradientDescent(0.5), weights=[-0.5, -5.0], max_iter=300)
    np.testing.assert_array_equal(path.steps, np.arange(301))
    assert path.every_step
    predicted = 1 / (1 + np.exp(-np.einsum("bi,ti->tb", table.x, path.weights)))
    residual = predicted - table.y[:, 0]
    np.testing.assert_allclose(path.error, 0.5 * (residual**2).sum(1), rtol=1e-10)
    gradient = (residual * predicted * (1 - predicted)) @ table.x
    np.testing.assert_allclose(path.gradient, gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(path.gradient_norm, np.linalg.norm(gradient, axis=1), rtol=1e-9)
    np.testing.assert_allclose(
        np.diff(path.weights, axis=0), -0.5 / 60 * gradient[:-1], rtol=1e-9, atol=1e-12
    )


def test_max_iter_counts_steps_and_the_start_costs_a_pass(table):
    path = descend(NEURON, table, GradientDescent(0.5), seed=0, max_iter=7)
    assert (path.n_steps, path.n_passes, path.stop) == (7, 8, Stop.MAX_ITER)
    assert path.passes.tolist() == list(range(1, 9))


def test_no_step_at_all_still_says_the_error_at_the_start(table):
    path = descend(NEURON, table, GradientDescent(0.5), weights=[0.0, 0.0], max_iter=0)
    np.testing.assert_allclose(path.error, [0.5 * ((0.5 - table.y) ** 2).sum()], rtol=1e-12)


def test_levenberg_marquardt_counts_a_rejected_trial_as_a_pass_and_not_a_step(random):
    x = random.normal(size=(50, 2))
    path = descend(
        Network((2, 5, 1)),
        InMemory(x, np.sin(3 * x[:, :1])),
        LevenbergMarquardt(damping=1e-10),
        seed=1,
        max_iter=60,
    )
    assert path.n_passes > path.n_steps + 1
    assert (np.diff(path.steps) == 1).all()


def test_tol_ends_a_walk_that_no_longer_gains(table):
    path = descend(
        NEURON, table, GradientDescent(1.0), weights=[2.0, 1.0], max_iter=10**6, tol=1e-3, n_iter_no_change=5
    )
    assert path.stop == Stop.NO_CHANGE
    at = path.error
    assert at[-6] * (1 - 1e-3) <= at[-1]
    assert at[-7] * (1 - 1e-3) > at[-1]
    assert "tol = 0.001" in path.stop_message


def test_the_judge_chooses_the_weights_of_its_lowest_error(random):
    x = random.normal(size=(90, 3))
    y = x[:, :1] + random.normal(size=(90, 1))
    rows, kept_back = InMemory(x[:30], y[:30]), InMemory(x[30:], y[30:])
    network = Network((3, 10, 1))
    path = descend(
        network,
        rows,
        LevenbergMarquardt(),
        seed=0,
        watched={"validation": kept_back},
        judge="validation",
        n_iter_no_change=6,
    )
    lowest = path.watched["validation"].argmin()
    assert path.stop == Stop.VALIDATION
    assert path.best_step == path.steps[lowest] == path.steps[-1] - 6
    np.testing.assert_array_equal(path.best_weights, path.weights[lowest])
    by_hand = 0.5 * ((network.predict(path.best_weights, kept_back.x) - kept_back.y) ** 2).sum()
    np.testing.assert_allclose(path.watched["validation"][lowest], by_hand, rtol=1e-10)
    assert path.watched_rows == {"validation": 60}


def test_a_thinned_path_keeps_first_and_last_and_says_so(random):
    network = Network((40, 40, 1))
    x, y = random.normal(size=(20, 40)), random.normal(size=(20, 1))
    path = descend(network, InMemory(x, y), GradientDescent(0.001), seed=0, max_iter=5000)
    assert path.weights.nbytes + path.gradient.nbytes <= 66 << 20
    assert path.weight_steps[0] == 0
    assert path.weight_steps[-1] == path.steps[-1] == 5000
    assert len(path.error) == 5001
    assert not path.every_step
    assert f"Weights kept at {len(path.weight_steps)} of 5001 points" in str(path)
    np.testing.assert_array_equal(path.weights[0], network.initial(0))
    by_hand = 0.5 * ((network.predict(path.final_weights, x) - y) ** 2).sum()
    np.testing.assert_allclose(path.error[-1], by_hand, rtol=1e-8)


def test_a_second_fit_of_the_same_shape_compiles_nothing(random, compilations):
    x, y = random.normal(size=(1000, 3)), random.normal(size=(1000, 1))
    network = Network((3, 4, 1), "softsign")
    descend(network, InMemory(x, y), LevenbergMarquardt(), seed=0, max_iter=20, alpha=0.1)
    assert compilations
    compilations.clear()
    descend(
        network,
        InMemory(x[:900], -y[:900]),
        LevenbergMarquardt(damping=1.0),
        seed=1,
        max_iter=33,
        alpha=0.2,
        tol=1e-3,
    )
    assert compilations == []


def test_another_rate_compiles_nothing(table, compilations):
    descend(NEURON, table, GradientDescent(0.5, 0.1), seed=0, max_iter=5)
    compilations.clear()
    descend(NEURON, table, GradientDescent(0.25, 0.9), seed=0, max_iter=500)
    assert compilations == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LBFGS(), LBFGS(sufficient_decrease=1e-3, slope_ratio=0.5)),
        (TruncatedGaussNewton(), TruncatedGaussNewton(damping=1.0, most_products=3)),
        (Rprop(), Rprop("irprop+", 1.1, 0.4, 0.01, 1e-6, 1.0)),
    ],
    ids=["l-bfgs", "gauss-newton", "rprop"],
)
def test_another_setting_compiles_nothing(table, compilations, one, other):
    descend(NEURON, table, one, seed=0, max_iter=5)
    compilations.clear()
    descend(NEURON, table, other, seed=1, max_iter=50, alpha=0.1)
    assert compilations == []


def test_ctrl_c_keeps_the_walk_so_far(table):
    def interrupt(progress):
        if progress.steps >= 20:
            raise KeyboardInterrupt

    path = descend(
        NEURON, table, GradientDescent(0.5), weights=[-0.5, -5.0], max_iter=10**6, progress=interrupt
    )
    assert path.stop == Stop.INTERRUPTED
    assert 20 <= path.n_steps < 10**6
    assert path.error[-1] == path.error.min()
    np.testing.assert_array_equal(path.best_weights, path.weights[-1])
    assert "Interrupted at step" in path.stop_message


def test_ctrl_c_before_the_first_pass_is_passed_on(table, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("fallline.walk.loop.chunk", interrupt)
    with pytest.raises(KeyboardInterrupt):
        descend(NEURON, table, GradientDescent(0.5), seed=0)


def test_progress_is_told_every_step_if_asked_and_can_end_the_walk(table):
    seen = []

    def watch(progress):
        seen.append((progress.steps, progress.error))
        return progress.steps == 5

    path = descend(NEURON, table, GradientDescent(0.5), seed=0, max_iter=50, progress=watch, every_step=True)
    assert [steps for steps, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert [error for _, error in seen] == path.error.tolist()
    assert path.stop == Stop.ASKED


def test_using_it_changes_nothing_global(table):
    before = (jax.config.jax_enable_x64, np.random.get_state()[1].copy())  # noqa: NPY002
    descend(NEURON, table, seed=0, max_iter=3)
    assert jax.config.jax_enable_x64 == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_float32_rows_walk_the_same_way_to_single_precision(table):
    single = InMemory(table.x, table.y, dtype=np.float32)
    one, other = (
        descend(NEURON, rows, GradientDescent(0.5), seed=0, max_iter=50) for rows in (table, single)
    )
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weights": np.ones(3)}, ShapeError, r"pass shape \(2,\)"),
        ({"weights": [np.nan, 0]}, TableError, "start from finite weights"),
        ({"max_iter": -1}, SettingsError, "max_iter=-1"),
        ({"max_iter": 2.5}, SettingsError, "max_iter=2.5"),
        ({"tol": -1.0}, SettingsError, "tol=-1.0"),
        ({"alpha": -1.0}, SettingsError, "alpha=-1.0"),
        ({"alpha": float("nan")}, SettingsError, "alpha=nan"),
        ({"judge": "validation"}, SettingsError, "there are none"),
        ({"descent": "newton"}, SettingsError, "levenberg-marquardt, l-bfgs, gauss-newton, rprop, gradient"),
        ({"descent": "lbfgs"}, SettingsError, "did you mean 'l-bfgs'"),
        ({"descent": "levenberg"}, SettingsError, "did you mean 'levenberg-marquardt'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(table, arguments, error, message):
    with pytest.raises(error, match=message):
        descend(NEURON, table, **arguments)


def test_a_start_without_a_finite_error_is_refused():
    rows = InMemory(np.full((3, 1), 1e200), np.zeros((3, 1)))
    with pytest.raises(FalllineError, match="not a finite number: start from smaller weights"):
        descend(Network((1, 1)), rows, LevenbergMarquardt(), weights=[1e200, 0.0])


def test_auto_takes_levenberg_marquardt_for_small_networks_and_says_why():
    small, why = choose("auto", Network((8, 20, 1)), 1000)
    assert small == LevenbergMarquardt()
    assert "small (201 weights for 1000 rows)" in why


def test_auto_takes_l_bfgs_where_the_normal_equations_would_be_too_large_and_says_the_numbers():
    large, why = choose("auto", Network((100, 200, 1)), 1000)
    assert large == LBFGS()
    assert "JᵀJ would take 3.33 GB and 4.2e+11 products a pass (20401 weights, 1000 rows)" in why
    assert "the last 20 steps and their gradients take 6.53 MB" in why


def test_auto_takes_mini_batches_where_there_are_many_rows_and_says_why():
    many, why = choose("auto", Network((8, 20, 1)), 10**6)
    assert many == Adam()
    assert "mini-batches by Adam" in why
    assert "(201 weights, 1000000 rows)" in why


def test_auto_walks_on_the_moments_where_the_network_is_linear():
    linear, why = choose("auto", Network((300, 1)), 10**6)
    assert linear == GradientDescent(momentum="auto")
    assert "because the network is linear" in why


@pytest.mark.parametrize(
    ("name", "descent"),
    [("l-bfgs", LBFGS()), ("gauss-newton", TruncatedGaussNewton()), ("rprop", Rprop())],
)
def test_a_descent_is_found_by_its_name(name, descent):
    assert choose(name, Network((8, 20, 1)), 1000) == (descent, f"{name} was asked for.")
