import dataclasses
import itertools
import threading
import types

import numpy as np
import optax
import pytest

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.choose import choose
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.rprop import Rprop
from fallline.descent.transformation import Transformation
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.model.curve import Curve
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

NEURON = Network((2, 1), output_activation="logistic", bias=False)


@pytest.fixture
def table(random):
    x = random.normal(size=(60, 2))
    return InMemory(x, 1 / (1 + np.exp(-x @ [[2.0], [-1.0]])))


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
    np.testing.assert_allclose(np.diff(path.weights, axis=0), -0.5 / 60 * gradient[:-1], rtol=1e-9, atol=1e-12)


LINE = Network((2, 1))
WATCHED = {"some": InMemory(np.eye(2), np.ones((2, 1)))}
ENDLESS = {
    "a step at a time": (NEURON, GradientDescent(1e-3), {"watched": WATCHED}),
    "many steps at once": (NEURON, GradientDescent(1e-3), {}),
    "on moments": (LINE, GradientDescent(1e-9), {"tol": 1e-300}),
    "mini-batches": (NEURON, Adam(1e-6, batch_size=8, decay="none"), {}),
    "within an epoch": (NEURON, Adam(1e-6, batch_size=1, decay="none"), {}),
    "within an epoch, in Python": (Network((2, 2, 2, 1)), Adam(1e-6, batch_size=1, decay="none"), {}),
}


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by 10 ms whenever it is read."""
    readings = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda: next(readings) / 100)
    for module in ("loop", "epochs", "stopping"):
        monkeypatch.setattr(f"fallline.walk.{module}.time", clock)
    return clock


@pytest.mark.parametrize(("model", "descent", "how"), ENDLESS.values(), ids=ENDLESS)
def test_a_walk_ends_when_its_time_is_over_and_keeps_the_lowest_point(model, descent, how, table, clock):
    path = descend(model, table, descent, seed=0, max_iter=10**8, max_seconds=0.15, **how)
    assert path.stop == Stop.TIME
    assert path.stop_message.startswith(f"Stopped at step {path.n_steps}: the time (max_seconds) was over.")
    assert 0.15 <= clock.perf_counter() < 0.25
    assert path.n_steps > 0
    assert path.at_best(path.error) == path.error.min() < path.error[0]
    np.testing.assert_array_equal(path.steps, np.unique(path.steps))


@pytest.mark.parametrize("descent", [GradientDescent(0.1), LevenbergMarquardt(), Adam(0.1)])
def test_without_time_for_a_step_the_weights_are_those_of_the_start(descent, table):
    path = descend(NEURON, table, descent, weights=[-0.5, -5.0], max_seconds=1e-9)
    assert path.stop == Stop.TIME
    assert path.stop_message.startswith("The time (max_seconds) was over before the first step")
    np.testing.assert_array_equal(path.best_weights, [-0.5, -5.0])
    assert path.n_passes == 1


def test_time_that_is_not_over_changes_nothing(table):
    given, free = (descend(NEURON, table, Adam(), seed=0, max_iter=20, max_seconds=seconds) for seconds in (1e6, None))
    np.testing.assert_array_equal(given.weights, free.weights)
    assert given.stop_message == free.stop_message


@pytest.mark.parametrize("seconds", [0, -1, np.nan, "30", True, [30]])
def test_other_times_are_refused(seconds, table):
    with pytest.raises(SettingsError, match=r"max_seconds=.* is not possible: give a positive number of seconds"):
        descend(NEURON, table, max_seconds=seconds)


OTHER_WALKS = {
    "mini-batches": {"batch_size": 90},
    "moments": {"STEPS_ONE_BY_ONE": 20_000},
    "closed form": {"STEPS_ONE_BY_ONE": 20},
}


@pytest.mark.parametrize("other", OTHER_WALKS.values(), ids=OTHER_WALKS)
@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)], ids=["plain", "heavy ball", "Nesterov"]
)
def test_mini_batches_moments_and_the_closed_form_walk_as_full_passes_do(
    momentum, nesterov, other, random, monkeypatch
):
    x = random.normal(size=(90, 2)) + 1.0
    rows = InMemory(x, x @ [[2.0], [-1.0]] + random.normal(size=(90, 1)), random.uniform(0.5, 2, 90))
    how = {
        "weights": [3.0, 1.0, -2.0],
        "max_iter": 40,
        "alpha": 0.5,
        "watched": {"held back": InMemory(x[:30], x[:30, :1])},
    }
    monkeypatch.setattr("fallline.walk.loop.STEPS_ONE_BY_ONE", other.get("STEPS_ONE_BY_ONE"))
    descent = GradientDescent(0.1, momentum, nesterov, batch_size=other.get("batch_size"))
    found = descend(LINE, rows, descent, **how)
    monkeypatch.setattr("fallline.walk.loop.walks_on_moments", lambda *_: False)
    full = descend(LINE, rows, GradientDescent(0.1, momentum, nesterov), **how)
    assert full.n_passes == 41
    assert found.n_passes == (81 if descent.batch_size else 1)
    assert found.steps.tolist() == found.weight_steps.tolist() == list(range(41))
    for name in ("weights", "gradient", "error", "penalised_error", "gradient_norm", "best_weights", "strength"):
        np.testing.assert_allclose(getattr(found, name), getattr(full, name), rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.watched["held back"], full.watched["held back"], rtol=1e-9)
    np.testing.assert_allclose(found.shown["learning_rate"][1:], 0.1)
    assert (found.best_step, found.stop, found.n_steps) == (full.best_step, Stop.MAX_ITER, 40)
    assert (found.n_rows, found.watched_rows) == (full.n_rows, {"held back": 30})


def where_it_rests(error, tol, patience):
    """The first point at which E has fallen by no more than tol since ``patience`` points before."""
    reference, news_at, at = np.inf, 0, -1
    while at - news_at < patience:
        at += 1
        if reference - error[at] > tol * min(reference, error[at]):
            reference, news_at = error[at], at
    return at


WALKS = {
    "full passes": (NEURON, GradientDescent(0.5)),
    "mini-batches": (NEURON, GradientDescent(0.5, batch_size=30)),
    "moments": (LINE, GradientDescent(0.1)),
}


@pytest.mark.parametrize(
    ("how", "stop"),
    [
        ({"max_iter": 7}, Stop.MAX_ITER),
        ({"progress": lambda now: now.steps >= 4, "every_step": True}, Stop.ASKED),
        ({"max_iter": 9, "watched": {"same": None}, "judge": "same"}, Stop.MAX_ITER),
    ],
    ids=["max_iter", "callback", "judge"],
)
@pytest.mark.parametrize(("model", "descent"), WALKS.values(), ids=WALKS)
def test_every_walk_ends_for_the_same_reasons(model, descent, how, stop, table):
    how = how | {"watched": dict.fromkeys(how.get("watched", ()), table)}
    path = descend(model, table, descent, seed=0, **{"max_iter": 5000} | how)
    assert path.stop == stop
    assert path.best_step == path.steps[path.error.argmin()]


@pytest.mark.parametrize(("model", "descent"), WALKS.values(), ids=WALKS)
def test_every_walk_rests_where_the_rule_says(model, descent, table):
    path = descend(model, table, descent, seed=0, max_iter=5000, tol=0.05, n_iter_no_change=3)
    assert path.stop == Stop.NO_CHANGE
    assert where_it_rests(path.error, 0.05, 3) == len(path.error) - 1


@pytest.mark.parametrize(("model", "descent"), WALKS.values(), ids=WALKS)
def test_every_walk_calls_the_inputs_by_their_names(model, descent, table):
    path = descend(model, table, descent, seed=0, max_iter=2, input_names=["width", "depth"])
    assert path.weight_names[:2] == ("width->y1", "depth->y1")
    assert path.input_names == ("width", "depth")


@pytest.mark.parametrize(("model", "descent"), WALKS.values(), ids=WALKS)
def test_the_callback_of_every_walk_is_called_by_the_thread_that_called(model, descent, table):
    seen = set()
    descend(
        model, table, descent, seed=0, max_iter=5, every_step=True,
        progress=lambda _: seen.add(threading.current_thread()),
    )  # fmt: skip
    assert seen == {threading.current_thread()}


@pytest.mark.parametrize(("model", "descent"), WALKS.values(), ids=WALKS)
def test_what_a_callback_raises_comes_out(model, descent, table):
    def refuse(_):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        descend(model, table, descent, seed=0, max_iter=50, progress=refuse, every_step=True)


def test_a_closed_form_keeps_the_weights_of_every_point_shown_however_many_they_are(random, monkeypatch):
    monkeypatch.setattr("fallline.walk.recorder.EVERY_STEP_UP_TO", 2)
    monkeypatch.setattr("fallline.walk.recorder.THINNED_BYTES", 10_000)
    x = random.normal(size=(80, 2))
    path = descend(LINE, InMemory(x, x[:, :1]), GradientDescent(0.1), seed=0, max_iter=10**6)
    np.testing.assert_array_equal(path.weight_steps, path.steps)
    assert path.steps[-1] == 10**6


@pytest.mark.parametrize("batch", [None, 16], ids=["all rows", "mini-batches"])
@pytest.mark.parametrize(
    "transformation",
    [
        optax.adam(0.05),
        optax.sgd(optax.exponential_decay(0.3, 20, 0.9), momentum=0.9),
        optax.chain(optax.clip_by_global_norm(0.5), optax.rmsprop(0.02)),
    ],
    ids=["Adam", "SGD with a schedule", "a chain"],
)
def test_transformations_of_optax_go_down_any_model(transformation, batch, table, random):
    x = np.linspace(0, 3, 60)[:, None]
    curve, points = Curve("a*exp(-b*x)"), InMemory(x, 2 * np.exp(-0.7 * x))
    descent = Transformation(transformation, batch)
    network = descend(Network((2, 4, 1)), table, descent, seed=0, max_iter=60)
    fitted = descend(curve, points, descent, weights=[1.0, 0.3], seed=0, max_iter=60)
    assert network.stop == fitted.stop == Stop.MAX_ITER
    assert network.error[-1] < 0.2 * network.error[0]
    assert fitted.error[-1] < 0.2 * fitted.error[0]


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
        Network((2, 5, 1)), InMemory(x, np.sin(3 * x[:, :1])), LevenbergMarquardt(damping=1e-10), seed=1, max_iter=60
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


def test_ctrl_c_keeps_the_walk_so_far(table):
    def interrupt(progress):
        if progress.steps >= 20:
            raise KeyboardInterrupt

    path = descend(NEURON, table, GradientDescent(0.5), weights=[-0.5, -5.0], max_iter=10**6, progress=interrupt)
    assert path.stop == Stop.INTERRUPTED
    assert 20 <= path.n_steps < 10**6
    assert path.error[-1] == path.error.min()
    np.testing.assert_array_equal(path.best_weights, path.weights[-1])
    assert "Interrupted at step" in path.stop_message


def test_ctrl_c_before_the_first_pass_is_passed_on(table, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(InMemory, "total", interrupt)
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
    before = (np.geterr(), np.random.get_state()[1].copy())  # noqa: NPY002
    descend(NEURON, table, seed=0, max_iter=3)
    assert np.geterr() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_float32_rows_walk_the_same_way_to_single_precision(table):
    single = InMemory(table.x, table.y, dtype=np.float32)
    one, other = (descend(NEURON, rows, GradientDescent(0.5), seed=0, max_iter=50) for rows in (table, single))
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
        ({"descent": "newton"}, SettingsError, "levenberg-marquardt, l-bfgs, rprop, gradient, mini-batch"),
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
    assert why == "L-BFGS: too many weights for Levenberg–Marquardt here (20,401 weights, 1,000 rows)."


def test_auto_takes_mini_batches_where_there_are_many_rows_and_says_why():
    many, why = choose("auto", Network((8, 20, 1)), 10**6)
    assert many == Adam()
    assert "mini-batches by Adam" in why
    assert "(201 weights, 1,000,000 rows)" in why
    assert "many small steps make faster progress" in why


def test_auto_walks_on_the_moments_where_the_network_is_linear():
    linear, why = choose("auto", Network((300, 1)), 10**6)
    assert linear == GradientDescent(momentum="auto")
    assert "gradient descent, which on a linear network needs one pass over the rows" in why


@pytest.mark.parametrize(
    ("name", "descent"), [("l-bfgs", LBFGS()), ("rprop", Rprop()), ("gradient", GradientDescent())]
)
def test_a_descent_is_found_by_its_name(name, descent):
    assert choose(name, Network((8, 20, 1)), 1000) == (descent, f"{name} was asked for.")


@pytest.mark.parametrize(
    ("descent", "turns"), [(LBFGS(), 20), (Adam(batch_size=16, decay=4), 4)], ids=["steps", "epochs of a decay"]
)
def test_progress_knows_how_far_the_walk_is_and_how_many_rows_it_sums_up(descent, turns, random):
    x = random.normal(size=(200, 2))
    told = []
    descend(Network((2, 4, 1)), (x, x[:, :1] ** 2), descent, seed=0, max_iter=20, progress=told.append, every_step=True)
    shares = [now.share for now in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1], told[-1].max_iter) == (0.0, 1.0, turns)
    last = dataclasses.replace(told[-1], passes=50, seconds=2.0)
    assert last.pace == "50 passes, 5,000 rows a second"
    assert [now.seconds for now in told] == sorted(now.seconds for now in told)
