import dataclasses

import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.choose import choose
from fallline.descent.gradient import GradientDescent
from fallline.exceptions import FalllineError, SettingsError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk import epochs
from fallline.walk.epochs import order_of
from fallline.walk.loop import descend, one_epoch

NETWORK = Network((2, 3, 1))
LINE = Network((2, 1))


@pytest.fixture
def table(random):
    x = random.normal(size=(70, 2))
    return InMemory(x, np.sin(2 * x[:, :1]) + x[:, 1:])


def gradient_by_hand(weights, x, y):
    """∂E/∂w of the 2-3-1 tanh network, summed over the rows with their counts left out: one row each."""
    first, second = NETWORK.layers(weights)
    hidden = np.tanh(x @ first.coef + first.intercept)
    residual = hidden @ second.coef + second.intercept - y
    back = residual @ second.coef.T * (1 - hidden**2)
    rows = [
        [np.outer(a, b).ravel(), b, np.outer(h, r).ravel(), r]
        for a, b, h, r in zip(x, back, hidden, residual, strict=True)
    ]
    return np.array([np.concatenate(parts) for parts in rows])


def walk_by_hand(weights, rows, epochs_, batch, rate, momentum, nesterov, alpha, seed):
    step, path = np.zeros_like(weights), []
    counts = np.ones(len(rows.x)) if rows.sample_weight is None else rows.sample_weight
    for epoch in range(epochs_):
        order = order_of(len(rows.x), seed, epoch)
        for at in range(0, len(order), batch):
            part = order[at : at + batch]
            s = counts[part]
            gradient = s @ gradient_by_hand(weights, rows.x[part], rows.y[part]) / s.sum()
            gradient = gradient + alpha * NETWORK.penalised() * weights / counts.sum()
            step = momentum * step - rate * gradient
            weights = weights + (momentum * step - rate * gradient if nesterov else step)
            path.append(weights)
    return np.array(path)


@pytest.mark.parametrize("n", [1, 2, 70, 1000])
def test_an_epoch_takes_every_row_once_in_an_order_that_its_number_and_the_seed_make(n):
    order = order_of(n, 5, 3)
    assert sorted(order) == list(range(n))
    np.testing.assert_array_equal(order, order_of(n, 5, 3))
    others = [order_of(1000, 5, 4), order_of(1000, 6, 3)]
    assert [other.tolist() == order_of(1000, 5, 3).tolist() for other in others] == [False, False]


@pytest.mark.parametrize(
    ("settings", "alpha", "weighted"),
    [
        ({}, 0.0, False),
        ({"momentum": 0.9}, 0.0, False),
        ({"momentum": 0.9, "nesterov": True}, 0.0, False),
        ({"momentum": 0.8}, 2.0, True),
    ],
    ids=["plain", "momentum", "nesterov", "weight decay and sample weights"],
)
def test_the_steps_are_those_of_a_loop_in_numpy(table, random, settings, alpha, weighted):
    rows = dataclasses.replace(table, sample_weight=random.uniform(0, 3, 70) if weighted else None)
    start = NETWORK.initial(1)
    descent = GradientDescent(0.1, batch_size=32, **settings)  # 32, 32 and 6 rows
    path = descend(NETWORK, rows, descent, weights=start, seed=4, max_iter=3, alpha=alpha)
    settings = {"momentum": 0.0, "nesterov": False} | settings
    expected = walk_by_hand(start, rows, 3, 32, 0.1, **settings, alpha=alpha, seed=4)
    np.testing.assert_array_equal(path.weight_steps, np.arange(10))
    np.testing.assert_allclose(path.weights[1:], expected, rtol=1e-10, atol=1e-12)
    assert path.every_step


def test_a_point_is_the_end_of_an_epoch_with_the_exact_error_over_all_rows(table):
    path = descend(NETWORK, table, GradientDescent(0.1, 0.9, batch_size=32), seed=0, max_iter=4, alpha=1.0)
    assert path.steps.tolist() == [0, 3, 6, 9, 12]
    assert path.epochs.tolist() == [0, 1, 2, 3, 4]
    residual = np.array([NETWORK.predict(w, table.x) - table.y for w in path.weights[path.steps]])
    np.testing.assert_allclose(path.error, 0.5 * (residual**2).sum(axis=(1, 2)), rtol=1e-12)
    decay = 0.5 * (path.weights[path.steps] ** 2) @ NETWORK.penalised()
    np.testing.assert_allclose(path.penalised_error, path.error + decay, rtol=1e-12)
    assert path.passes.tolist() == [1, 3, 5, 7, 9]  # an epoch is a pass, and the error of a point is one
    assert (path.n_passes, path.n_epochs, path.n_iter, path.stop) == (9, 4, 4, Stop.MAX_ITER)
    assert "max_iter = 4 epochs (12 steps)" in path.stop_message
    assert path.best_step == path.steps[path.penalised_error.argmin()]


def test_the_gradient_kept_is_that_of_the_next_batch_for_as_many_rows_as_there_are(table):
    path = descend(NETWORK, table, GradientDescent(0.1, batch_size=32), seed=0, max_iter=2)
    by_steps = -np.diff(path.weights, axis=0) / 0.1 * 70
    np.testing.assert_allclose(path.gradient[:-1], by_steps, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(path.gradient_norm, np.linalg.norm(path.gradient[path.steps], axis=1), rtol=1e-12)


@pytest.mark.parametrize("size", [70, 5000])
def test_a_batch_of_all_rows_is_a_full_batch(table, size):
    full = descend(NETWORK, table, GradientDescent(0.1, 0.9), seed=0, max_iter=20)
    batch = descend(NETWORK, table, GradientDescent(0.1, 0.9, batch_size=size), seed=0, max_iter=20)
    np.testing.assert_allclose(batch.weights, full.weights, rtol=1e-10)
    np.testing.assert_allclose(batch.error, full.error, rtol=1e-10)


def test_float32_rows_take_the_same_steps_to_single_precision(table):
    single = dataclasses.replace(table, dtype=np.float32)
    one, other = (
        descend(NETWORK, rows, GradientDescent(0.1, batch_size=32), seed=0, max_iter=5) for rows in (table, single)
    )
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("decay", "factor"),
    [
        ("none", lambda at: 1.0 + 0 * at),
        ("inverse", lambda at: 1 / (1 + at)),
        ("cosine", lambda at: 0.5 * (1 + np.cos(np.pi * at / 4))),
        (2, lambda at: 0.5 * (1 + np.cos(np.pi * np.minimum(at / 2, 1)))),
    ],
)
def test_a_rate_decays_step_by_step(decay, factor):
    x = np.ones((64, 2))
    rows = InMemory(x, np.zeros((64, 1)))  # rows all alike: every batch has the gradient of all rows
    path = descend(LINE, rows, GradientDescent(0.1, batch_size=16, decay=decay), weights=[3.0, 1.0, 2.0], max_iter=4)
    gradient = path.weights[:-1].sum(axis=1)
    np.testing.assert_allclose(
        -np.diff(path.weights, axis=0)[:, 0],
        0.1 * factor(np.arange(path.n_steps) / 4) * gradient,
        rtol=1e-9,
        atol=1e-12,
    )


def test_a_decay_over_some_epochs_ends_the_walk_where_the_rate_is_zero(table):
    path = descend(NETWORK, table, Adam(decay=3), seed=0, max_iter=50, tol=0.9, n_iter_no_change=1)
    assert (path.n_epochs, path.stop) == (3, Stop.DECAYED)
    assert "after 3 epochs" in path.stop_message
    short = descend(NETWORK, table, Adam(decay=3), seed=0, max_iter=2)
    assert (short.n_epochs, short.stop) == (2, Stop.MAX_ITER)


def test_tol_counts_epochs_without_news(table):
    path = descend(
        NETWORK, table, GradientDescent(0.1, batch_size=32), seed=0, max_iter=5000, tol=0.01, n_iter_no_change=4
    )
    assert path.stop == Stop.NO_CHANGE
    assert path.n_epochs < 5000
    assert "over 4 epochs" in path.stop_message


def test_the_judge_chooses_the_weights_of_its_lowest_error(random):
    x = random.normal(size=(90, 3))
    y = x[:, :1] + random.normal(size=(90, 1))
    rows, kept_back = InMemory(x[:30], y[:30]), InMemory(x[30:], y[30:])
    network = Network((3, 10, 1))
    path = descend(
        network, rows, Adam(0.02, 8, "none"), seed=0, max_iter=500, watched={"validation": kept_back},
        judge="validation", n_iter_no_change=6,
    )  # fmt: skip
    lowest = path.watched["validation"].argmin()
    assert path.stop == Stop.VALIDATION
    assert path.epochs[-1] == path.epochs[lowest] + 6
    assert path.best_step == path.steps[lowest]
    by_hand = 0.5 * ((network.predict(path.best_weights, kept_back.x) - kept_back.y) ** 2).sum()
    np.testing.assert_allclose(path.watched["validation"][lowest], by_hand, rtol=1e-10)
    np.testing.assert_array_equal(path.final_weights, path.weights[path.weight_steps == path.steps[-1]][0])


@pytest.mark.parametrize("rate", [5.0, 1e200], ids=["growing", "infinite on the way"])
def test_a_rate_that_is_too_large_is_noticed_within_the_epoch_and_the_lowest_weights_kept(random, rate):
    x = random.normal(size=(4000, 2))
    rows = InMemory(x, x @ [[1.0], [2.0]])
    path = descend(LINE, rows, GradientDescent(rate, batch_size=10), seed=0, max_iter=30)
    assert path.stop == Stop.DIVERGED
    assert np.isfinite(path.weights).all()
    assert np.isfinite(path.error).all()
    np.testing.assert_array_equal(path.best_weights, LINE.initial(0))
    limit = (
        2 / np.linalg.eigvalsh(np.column_stack([x, np.ones(4000)]).T @ np.column_stack([x, np.ones(4000)]) / 4000)[-1]
    )
    assert f"learning rate {rate:g} is too large" in path.stop_message
    assert f"largest stable full-batch rate there is about {limit:.3g}" in path.stop_message
    assert f"Take a rate below {0.5 * limit:.2g}" in path.stop_message


def test_the_automatic_rate_is_a_share_of_the_stability_limit_and_starts_slowly(random):
    x = random.normal(size=(400, 2)) * [2.0, 0.5]
    path = descend(LINE, InMemory(x, x @ [[1.0], [2.0]]), GradientDescent(batch_size=20), seed=0, max_iter=60)
    highest = np.linalg.eigvalsh(np.column_stack([x, np.ones(400)]).T @ np.column_stack([x, np.ones(400)]) / 400)[-1]
    np.testing.assert_allclose(path.shown["learning_rate"], 0.5 * 2 / highest, rtol=0.1)  # of a sample
    assert path.error[-1] < 1e-6 * path.error[0]
    assert (
        path.n_passes <= 121 + 0.1 * 60 + 12 * 512 / 400 + 1
    )  # a tenth of an epoch for each, twelve readings at first


def test_the_automatic_rate_recovers_where_it_was_too_large(random, monkeypatch):
    monkeypatch.setattr(epochs, "_SHARE_PLAIN", 8.0)
    x = random.normal(size=(400, 2))
    path = descend(LINE, InMemory(x, x @ [[1.0], [2.0]]), GradientDescent(batch_size=20), seed=0, max_iter=60)
    assert path.stop == Stop.MAX_ITER
    assert path.error.min() < 1e-3 * path.error[0]
    assert np.isfinite(path.weights).all()
    assert (np.diff(path.steps) > 0).all()
    assert (np.diff(path.weight_steps) > 0).all()


def test_an_automatic_rate_that_is_lost_in_the_last_epoch_ends_at_its_lowest_point(random, monkeypatch):
    monkeypatch.setattr(epochs, "_SHARE_PLAIN", 1e3)
    x = random.normal(size=(400, 2))
    path = descend(LINE, InMemory(x, x @ [[1.0], [2.0]]), GradientDescent(batch_size=20), seed=0, max_iter=1)
    assert (path.stop, path.n_epochs) == (Stop.MAX_ITER, 1)
    np.testing.assert_array_equal(path.final_weights, LINE.initial(0))


def test_a_lost_walk_of_adam_is_told_nothing_of_the_rates_of_gradient_descent(table):
    path = descend(NETWORK, table, Adam(1e200, 8, "none"), seed=0, max_iter=20)
    assert path.stop == Stop.DIVERGED
    assert "learning rate 1e+200 is too large" in path.stop_message
    assert "Take a smaller rate, and standardise the inputs" in path.stop_message
    assert "stable" not in path.stop_message


def test_the_inputs_have_their_names_after_mini_batches(table):
    path = descend(LINE, table, Adam(batch_size=16), seed=0, max_iter=2, input_names=["width", "depth"])
    assert path.weight_names == ("width->y1", "depth->y1", "bias->y1")
    assert list(path.to_dict())[-3:] == ["width->y1", "depth->y1", "bias->y1"]
    part, _ = one_epoch(LINE, table, Adam(batch_size=16), LINE.initial(0), seed=0, input_names=["a", "b"])
    assert part.weight_names == ("a->y1", "b->y1", "bias->y1")


def test_the_column_that_makes_mini_batches_diverge_is_named(random):
    x = random.normal(size=(200, 4)) * [1.0, 1.0, 500.0, 1.0]
    rows = InMemory(x, x @ [[1.0], [2.0], [0.01], [3.0]])
    path = descend(
        Network((4, 1)), rows, GradientDescent(0.1, batch_size=20), seed=0, input_names=["a", "b", "pressure", "d"]
    )  # fmt: skip
    assert path.stop == Stop.DIVERGED
    assert "The input pressure makes the curvature so large (100% of its steepest direction)" in path.stop_message
    assert "Standardise it. Take a rate below" in path.stop_message


def test_a_larger_network_keeps_the_points_thinned(random, monkeypatch):
    monkeypatch.setattr("fallline.walk.recorder.THINNED_BYTES", 1 << 20)
    network = Network((40, 40, 1))
    x, y = random.normal(size=(40, 40)), random.normal(size=(40, 1))
    path = descend(network, InMemory(x, y), Adam(0.001, 8, "none"), seed=0, max_iter=101)
    assert not path.every_step
    assert path.weights.nbytes <= 1 << 20
    assert (path.weight_steps[0], path.weight_steps[-1]) == (0, 505)
    by_hand = 0.5 * ((network.predict(path.final_weights, x) - y) ** 2).sum()
    np.testing.assert_allclose(path.error[-1], by_hand, rtol=1e-10)


def test_long_epochs_have_a_point_after_every_fourth(table, monkeypatch):
    monkeypatch.setattr(epochs, "_LONG_EPOCH", 10)
    path = descend(NETWORK, table, GradientDescent(0.1, batch_size=32), seed=0, max_iter=6)
    assert path.epochs.tolist() == [0, 4, 6]
    assert path.passes.tolist() == [1, 6, 9]
    residual = np.array([NETWORK.predict(w, table.x) - table.y for w in path.weights[path.steps]])
    np.testing.assert_allclose(path.error, 0.5 * (residual**2).sum(axis=(1, 2)), rtol=1e-12)


@pytest.mark.parametrize("every", [1000, 1], ids=["every step kept", "points alone"])
def test_an_epoch_laid_out_window_by_window_is_the_same_epoch(table, random, monkeypatch, every):
    rows = dataclasses.replace(table, sample_weight=random.uniform(0, 3, 70))
    monkeypatch.setattr(epochs, "EVERY_STEP_UP_TO", every)
    descent = GradientDescent(0.1, 0.8, batch_size=8, decay="cosine")
    whole = descend(NETWORK, rows, descent, seed=4, max_iter=5, alpha=1.0)
    monkeypatch.setattr("fallline.rows.memory._WINDOW_BYTES", 600)  # two batches of 8 rows, 4 numbers each
    cut = descend(NETWORK, rows, descent, seed=4, max_iter=5, alpha=1.0)
    assert whole.steps.tolist() == cut.steps.tolist() == [0, 9, 18, 27, 36, 45]
    np.testing.assert_array_equal(cut.weight_steps, whole.weight_steps)
    np.testing.assert_array_equal(cut.weights, whole.weights)
    np.testing.assert_array_equal(cut.gradient, whole.gradient)


def test_a_rate_that_is_too_large_is_noticed_at_the_batch_where_it_shows(table):
    path = descend(LINE, table, GradientDescent(1e60, batch_size=8), seed=0, max_iter=5)
    assert path.stop == Stop.DIVERGED
    assert path.steps.tolist() == [0]
    np.testing.assert_array_equal(path.best_weights, path.weights[0])
    assert " step 1:" in path.stop_message  # 1e60 in the weights, 1e120 in the error of the second batch
    assert path.n_passes == 2


@pytest.mark.parametrize("in_c", [False, True], ids=["batch by batch", "many at once"])
def test_ctrl_c_keeps_the_walk_up_to_the_last_point(in_c, table, monkeypatch):
    owner, name = (InMemory, "epoch") if in_c else (GradientDescent, "move")
    verb, calls = getattr(owner, name), []

    def interrupted(self, *args):
        calls.append(self)
        # Three batches an epoch: in the middle of the fifth. Many at once are one, then up to two more, or all by the twin.
        if len(calls) == (10 if in_c else 14):
            raise KeyboardInterrupt
        return verb(self, *args)

    if not in_c:
        monkeypatch.setattr(InMemory, "epoch", lambda *args: None)
    whole = descend(NETWORK, table, GradientDescent(0.1, batch_size=32), seed=0, max_iter=12)
    monkeypatch.setattr(owner, name, interrupted)
    path = descend(NETWORK, table, GradientDescent(0.1, batch_size=32), seed=0, max_iter=50)
    assert path.stop == Stop.INTERRUPTED
    assert path.epochs.tolist() == list(range(len(path.epochs)))
    assert 0 < path.n_epochs < 12
    assert path.best_step == path.steps[path.error.argmin()]
    kept = len(path.weights)
    np.testing.assert_array_equal(path.weight_steps, whole.weight_steps[:kept])
    np.testing.assert_array_equal(path.weights, whole.weights[:kept])


def test_progress_is_told_after_every_epoch_if_asked_and_can_end_the_walk(table):
    seen = []

    def watch(progress):
        seen.append((progress.epochs, progress.steps, progress.error))
        return progress.epochs == 3

    path = descend(
        NETWORK, table, GradientDescent(0.1, batch_size=32), seed=0, max_iter=9, progress=watch, every_step=True
    )
    assert seen == list(zip(path.epochs.tolist(), path.steps.tolist(), path.error.tolist(), strict=True))
    assert (path.stop, path.n_epochs) == (Stop.ASKED, 3)


def test_one_epoch_after_the_other_is_the_walk_of_both(table):
    descent = Adam(batch_size=16, decay="inverse")
    whole = descend(NETWORK, table, descent, weights=NETWORK.initial(0), seed=7, max_iter=2)
    first, standing = one_epoch(NETWORK, table, descent, NETWORK.initial(0), seed=7)
    second, _ = one_epoch(NETWORK, table, descent, first.final_weights, seed=99, before=standing)
    np.testing.assert_allclose(second.final_weights, whole.final_weights, rtol=1e-12)
    assert second.steps.tolist() == [5, 10]


def test_no_epoch_at_all_still_says_the_error_at_the_start(table):
    path = descend(NETWORK, table, Adam(), weights=np.zeros(NETWORK.n_weights), max_iter=0)
    np.testing.assert_allclose(path.error, [0.5 * (table.y**2).sum()], rtol=1e-12)


def test_a_start_without_a_finite_error_is_refused():
    rows = InMemory(np.full((3, 2), 1e200), np.zeros((3, 1)))
    with pytest.raises(FalllineError, match="not a finite number: start from smaller weights"):
        descend(LINE, rows, Adam(), weights=[1e200, 0.0, 0.0])


@pytest.mark.parametrize(
    ("descent", "message"),
    [
        (GradientDescent(0.1, batch_size=0), "batch_size=0 is not possible.*such as 256"),
        (GradientDescent(0.1, batch_size=2.5), "batch_size=2.5"),
        (GradientDescent(0.1, batch_size=True), "batch_size=True"),
        (GradientDescent(0.1, batch_size=32, decay="exponential"), "decay='exponential'.*'inverse' or 'cosine' or"),
        (GradientDescent(0.1, batch_size=32, decay=0), "decay=0"),
        (GradientDescent(0.1, decay="cosine"), "counts epochs of mini-batches: set batch_size"),
        (Adam(learning_rate=0.0), "learning_rate=0.0"),
        (Adam(beta_1=1.0), "beta_1=1.0"),
        (Adam(batch_size=None), "decay=50 counts epochs of mini-batches"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(table, descent, message):
    with pytest.raises(SettingsError, match=message):
        descend(NETWORK, table, descent)


def test_the_descent_by_mini_batches_has_a_name():
    assert choose("mini-batch", NETWORK, 100)[0] == Adam()
