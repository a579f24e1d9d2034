"""The default fit: widths and ridge regression, combined by what they say of rows left out. Steps are few, to be quick."""

from dataclasses import replace

import numpy as np
import pytest

from fallline import NetworkRegressor
from fallline.descent import Stop
from fallline.fit import walks, widths
from fallline.fit.network_fit import fit_network
from fallline.fit.ridge import fit_ridge
from fallline.landscape.verdict import verdict_of
from fallline.model.activations import ACTIVATIONS

QUICK = {"seed": 0, "max_iter": 20}


def lines(random, n=80):
    x = random.normal(size=(n, 3))
    return x, x @ [[1.0], [2.0], [3.0]] + 2 * random.normal(size=(n, 1))


def waves(random, n=70, noise=0.0):
    x = random.uniform(-2, 2, size=(n, 2))
    return x, np.sin(2 * x[:, :1]) * x[:, 1:] + noise * random.normal(size=(n, 1))


def many(random, n=60, columns=50):
    """Rows of many columns, of which two say something: a line and a curve."""
    x = random.normal(size=(n, columns))
    return x, x[:, :1] + x[:, 1:2] ** 2 + 0.1 * random.normal(size=(n, 1))


def bent_share(fitted):
    return sum(part.share for part in fitted.parts if part.starts.network.hidden)


def explained(y, predicted):
    return 1 - ((y - predicted) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum()


def by_hand(fitted, x):
    """The prediction of the parts: each the mean of what enters the outputs in its starts, by its share."""
    entering = 0.0
    for (network, starts, _), share in ((vars(part.starts).values(), part.share) for part in fitted.parts):
        plain = replace(network, output_activation="identity")
        seen = fitted.own_scaling.x(x) if network.hidden else fitted.scaling.x(x)
        entering = entering + share * np.mean([plain.predict(start.weights, seen) for start in starts], axis=0)
    return fitted.scaling.unscale_y(ACTIVATIONS[fitted.network.output_activation].value(entering, np))


# What goes into the fit


def test_lines_in_noise_are_left_to_ridge_regression(random):
    linear, further_off = [], []
    for _ in range(4):
        (x, y), (new, truth) = lines(random), lines(random, 4000)
        fitted, _ = fit_network(x, y, **QUICK)
        ridge = fit_ridge(fitted.scaling.x(x), y).predict(fitted.scaling.x(new))
        linear.append(1 - bent_share(fitted))
        further_off.append(np.sqrt(((fitted.predict(new) - truth) ** 2).mean() / ((ridge - truth) ** 2).mean()))
    assert np.mean(linear) > 0.4
    assert np.mean(further_off) < 1.02


def test_a_surface_without_noise_is_left_to_networks(random):
    (x, y), (new, truth) = waves(random), waves(random, 400)
    fitted, _ = fit_network(x, y, **QUICK)
    assert bent_share(fitted) > 0.98
    assert explained(truth, fitted.predict(new)) > 0.95


CASES = {
    "lines": (lines, {}),
    "waves in noise": (lambda random: waves(random, noise=0.5), {}),
    "no scaling": (lambda random: waves(random, noise=0.5), {"scale": False}),
    "two targets": (lambda random: (waves(random)[0], random.normal(size=(70, 2))), {}),
    "many columns": (many, {}),
    "more columns than rows": (lambda random: lines_of(random, 15, 30), {}),
    "as many columns as scores take, and fewer rows than scores": (lambda random: many(random, 17, 60), {}),
    "another activation": (lambda random: waves(random, noise=0.3), {"activation": "relu"}),
    "logistic outputs": (
        lambda random: (waves(random)[0], random.uniform(size=(70, 2))),
        {"output_activation": "logistic"},
    ),
    "no biases": (lambda random: waves(random, noise=0.5), {"bias": False}),
    "one start": (lambda random: waves(random, noise=0.5), {"n_starts": 1}),
    "three starts": (lambda random: waves(random, noise=0.5), {"n_starts": 3}),
    **{f"{n} rows": (lambda random, n=n: waves(random, n, 0.1), {}) for n in (10, 12, 15)},
}


def lines_of(random, n, columns):
    x = random.normal(size=(n, columns))
    return x, x[:, :1] + 0.3 * random.normal(size=(n, 1))


@pytest.mark.parametrize(("rows", "settings"), CASES.values(), ids=CASES)
def test_the_network_is_the_sum_of_its_parts_by_their_shares(rows, settings, random):
    x, y = rows(random)
    fitted, path = fit_network(x, y, **QUICK | settings)
    new = random.normal(size=(9, x.shape[1]))
    assert sum(part.share for part in fitted.parts) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(fitted.predict(new), by_hand(fitted, new), rtol=1e-9, atol=1e-9)
    assert fitted.left_out.shape == y.shape
    assert np.isfinite(fitted.left_out).all()
    shown = fitted.starts[fitted.starts.shown]
    np.testing.assert_array_equal(path.best_weights, shown.weights)
    np.testing.assert_array_equal(path.best_weights, fitted.alone().weights)
    shares = [part.share for part in fitted.parts if part.starts.network.hidden]
    assert shares == sorted(shares, reverse=True)
    asked = settings.get("n_starts")
    assert asked is None or all(len(part.starts) <= asked for part in fitted.parts)
    if "bias" in settings:
        np.testing.assert_array_equal(fitted.predict(np.zeros((1, 2))), [[0.0]])
    verdict_of(path, fitted.rows(x, y))  # path and rows are of one network


def test_the_folded_network_of_many_columns_predicts_by_hand(random):
    x, y = many(random)
    fit = NetworkRegressor(random_state=0, max_iter=1000, tol=1e-2, n_starts=1).fit(x, y[:, 0])
    assert fit._fitted.scores.shape == (50, 16)
    hidden = x @ fit.coefs_[0] + fit.intercepts_[0]
    bent = hidden.shape[1] - fit.network_.linear_units
    hidden[:, :bent] = np.tanh(hidden[:, :bent])
    np.testing.assert_allclose(fit.predict(x), (hidden @ fit.coefs_[1] + fit.intercepts_[1])[:, 0], rtol=1e-9)
    assert fit.coefs_[0].shape[0] == 50
    assert fit.path_.input_names[:2] == ("score 1", "score 2")


def test_without_the_average_it_is_a_single_network(random):
    x, y = waves(random, noise=0.5)
    fitted, _ = fit_network(x, y, average=False, **QUICK)
    assert [(len(starts), share) for starts, share in fitted.parts] == [(1, 1.0)]
    np.testing.assert_array_equal(fitted.predict(x), fitted.alone().predict(x))
    assert fitted.network.hidden[0] in widths.WIDTHS


def test_where_no_width_has_a_share_ridge_regression_is_shown_with_the_names_of_the_columns(random, monkeypatch):
    monkeypatch.setattr(widths._Run, "candidates", lambda self: [])
    x, y = many(random)
    names = [f"c{k}" for k in range(50)]
    fitted, path = fit_network(x, y, input_names=names, **QUICK)
    scaled = fitted.scaling.x(x)
    np.testing.assert_allclose(fitted.predict(x), fit_ridge(scaled, y).predict(scaled), rtol=1e-5, atol=1e-5)
    assert not fitted.network.hidden
    assert path.input_names == tuple(names)
    assert verdict_of(path, fitted.rows(x, y)).is_minimum


@pytest.mark.parametrize("columns", [3, 50])
def test_constant_targets_are_predicted(columns, random):
    x = random.normal(size=(30, columns))
    fitted, _ = fit_network(x, np.full((30, 1), 7.0), **QUICK)
    np.testing.assert_allclose(fitted.predict(x), 7.0)


def test_too_few_rows_for_scores_are_fitted_as_they_are(random):
    x, y = many(random, 8)
    fitted, _ = fit_network(x, y, n_starts=1, **QUICK)
    assert fitted.scores is None
    assert fitted.left_out is None
    assert np.isfinite(fitted.predict(x)).all()


# Folds


@pytest.fixture
def folds_by_x(monkeypatch):
    """Rows divided by their first input alone, so that other targets leave the folds as they are; what entered the outputs."""
    monkeypatch.setattr(widths, "content_keys", lambda x, y, seed: np.argsort(np.argsort(x[:, 0] * 7919 % 1)) / len(x))
    monkeypatch.setattr(widths, "WIDTHS", (3,))
    monkeypatch.setattr(widths, "_COLLAPSED", -np.inf)
    monkeypatch.setattr(widths, "_TRIES", 1)  # which weights a fold tries anew is chosen by what the others reach
    seen, shares = [], widths.shares_of

    def noted(entering, *others):
        seen.append(entering)
        return shares(entering, *others)

    monkeypatch.setattr(widths, "shares_of", noted)
    return seen


@pytest.mark.parametrize("columns", [2, 45])
def test_a_row_has_no_part_in_its_own_left_out_prediction(columns, folds_by_x, random):
    x = random.normal(size=(40, columns))
    y = np.sin(2 * x[:, :1]) + 0.1 * random.normal(size=(40, 1))
    keys = widths.content_keys(x, y, 0)
    out = (keys * 40).astype(int) * 10 // 40 == 4  # of ten folds
    assert out.sum() == 4
    entered = []
    for by in (0.0, 5.0):
        fit_network(x, y + by * out[:, None], scale=False, **QUICK)
        entered.append(folds_by_x[-1])
    assert entered[0].shape == (40, 1, 2)  # one width and ridge regression
    np.testing.assert_array_equal(entered[0][out], entered[1][out])
    assert (abs(entered[0] - entered[1])[~out].max(axis=0) > 1e-3).all()


@pytest.mark.parametrize("columns", [20, 50])
def test_equal_rows_are_left_out_together(columns, random):
    """Each row has a column of its own, and four twins: who has seen one predicts it, who has not knows nothing of it."""
    x, y = np.tile(np.eye(columns), (5, 1)), np.tile(random.normal(size=(columns, 1)), (5, 1))
    fitted, _ = fit_network(x, y, **QUICK)
    assert explained(y, fitted.left_out) < 0.05
    assert fit_ridge(x, y).predict(x) == pytest.approx(y, abs=0.1)  # a column each is enough to know it


def test_rows_without_weight_are_as_if_they_were_not_there(random):
    x, y = waves(random, noise=0.3)
    s = np.r_[np.ones(40), np.zeros(30)]
    with_, _ = fit_network(x, y, sample_weight=s, scale=False, **QUICK)
    without, _ = fit_network(x[:40], y[:40], scale=False, **QUICK)
    np.testing.assert_allclose(with_.predict(x), without.predict(x), atol=1e-6)
    np.testing.assert_allclose(with_.left_out[:40], without.left_out, atol=1e-6)


def test_row_weights_are_repetitions(random):
    x, y = waves(random, 50, noise=0.3)
    s = random.integers(1, 4, 50)
    weighted, _ = fit_network(x, y, sample_weight=s.astype(float), scale=False, **QUICK)
    repeated, _ = fit_network(np.repeat(x, s, axis=0), np.repeat(y, s, axis=0), scale=False, **QUICK)
    assert [part.share for part in weighted.parts] == pytest.approx([part.share for part in repeated.parts], abs=1e-4)
    np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), atol=1e-4)
    np.testing.assert_allclose(np.repeat(weighted.left_out, s, axis=0), repeated.left_out, atol=1e-4)


def test_the_number_of_threads_changes_no_bit(random, monkeypatch):
    monkeypatch.setattr(walks, "_QUICK", 0.0)  # the walks of these few rows, too, go to threads
    x, y = waves(random, noise=0.3)
    one, two = (fit_network(x, y, n_jobs=n_jobs, **QUICK)[0] for n_jobs in (1, 2))
    assert one.weights.tobytes() == two.weights.tobytes()
    assert one.left_out.tobytes() == two.left_out.tobytes()
    assert one.passes == two.passes


def test_threads_have_all_widths_before_the_first_is_waited_for(random, monkeypatch):
    monkeypatch.setattr(widths, "_PROBED_FROM", 0.0)
    given, waited, task, results = [], [], widths._Run.task, widths._Run.results
    monkeypatch.setattr(
        widths._Run,
        "task",
        lambda self, network, *a, **k: given.append(network.hidden[0]) or task(self, network, *a, **k),
    )
    monkeypatch.setattr(widths._Run, "results", lambda self, tasks: waited.append(list(given)) or results(self, tasks))
    fit_network(*waves(random, 200, noise=0.3), **QUICK)
    # Of the first every fold, of the others two that say whether they are worth it.
    assert waited[0] == [2] * 10 + [width for width in widths.WIDTHS[1:] for _ in range(2)]


def test_only_the_walk_shown_goes_further_than_two_hundred_steps(random):
    fitted, path = fit_network(*waves(random, noise=0.02), seed=0, tol=1e-7)
    steps = [start.steps for part in fitted.parts for start in part.starts]
    assert path.n_iter == steps[0] > 200
    assert 100 < max(steps[1:]) <= 200


def test_a_width_that_two_folds_give_no_share_is_left_out_with_all_wider_ones(random, monkeypatch):
    monkeypatch.setattr(widths, "_PROBED_FROM", 0.0)
    tried, dropped, whole, drop = [], [], widths._Trial.candidate, widths._Trial.drop

    def noted(self, others):
        tried.append((self.network.hidden[0], found := whole(self, others)))
        return found

    def all_over(self):
        drop(self)
        dropped.extend(task.over for task in self.given)

    monkeypatch.setattr(widths._Trial, "candidate", noted)
    monkeypatch.setattr(widths._Trial, "drop", all_over)
    x, y = lines(random, 300)
    fitted, _ = fit_network(x, y, **QUICK)
    assert tried[-1][1] is None
    assert len(dropped) >= 2 * (len(widths.WIDTHS) - len(tried))
    assert all(dropped)
    assert [width for width, _ in tried] == list(widths.WIDTHS[: len(tried)])
    assert all(part.starts.network.hidden < (tried[-1][0],) for part in fitted.parts)


# Where small weights see nothing


def test_a_curve_that_goes_up_and_down_many_times_is_not_taken_for_its_mean():
    x = np.linspace(-20, 20, 400)[:, None]
    fitted, _ = fit_network(x, np.sin(x), seed=0, max_iter=60)
    assert explained(np.sin(x), fitted.predict(x)) > 0.9
    assert explained(np.sin(x), fitted.left_out) > 0.5


@pytest.mark.parametrize("times", [1, 10])
def test_exclusive_or_is_told_apart(times):
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
    fitted, _ = fit_network(np.tile(x, (times, 1)), np.tile(y, (times, 1)), seed=0)
    np.testing.assert_allclose(fitted.predict(x), y, atol=0.1)


def test_twenty_columns_and_forty_rows_are_not_learnt_by_heart(random):
    x, new = random.normal(size=(40, 20)), random.normal(size=(500, 20))
    fit = NetworkRegressor(random_state=0, max_iter=1000, tol=1e-2).fit(x, x[:, 0] + random.normal(size=40))
    assert fit.score(x, x[:, 0]) < 0.999
    truth = new[:, 0] + random.normal(size=500)
    predicted, interval = fit.predict(new, return_interval=0.95)
    assert explained(truth, predicted) > 0
    assert 0.88 < ((interval[:, 0] < truth) & (truth < interval[:, 1])).mean() < 0.995


# Going on, and being cut short


def test_going_on_without_a_step_changes_nothing_and_keeps_the_shares():
    for x, y in (lines(np.random.default_rng(1)), many(np.random.default_rng(2))):
        before, _ = fit_network(x, y, **QUICK)
        assert before.is_mixture
        after, _ = fit_network(x, y, before=before, seed=0, max_iter=0)
        assert [part.share for part in after.parts] == pytest.approx([part.share for part in before.parts])
        assert [len(part.starts) for part in after.parts] == [len(part.starts) for part in before.parts]
        np.testing.assert_allclose(after.predict(x), before.predict(x), atol=1e-9)


@pytest.mark.parametrize("settings", [{}, {"average": False}, {"hidden_layer_sizes": (10,), "n_starts": 3}])
def test_going_on_goes_further_down_with_every_start(settings, random):
    x, y = waves(random)
    before, _ = fit_network(x, y, seed=0, max_iter=8, **settings)
    after, _ = fit_network(x, y, before=before, seed=0, max_iter=20, **settings)
    assert ((after.predict(x) - y) ** 2).sum() < ((before.predict(x) - y) ** 2).sum()
    for was, is_ in zip(before.parts, after.parts, strict=True):
        assert all(b.error < a.error for a, b in zip(was.starts, is_.starts, strict=True))


def test_stopped_in_its_first_fold_it_is_ridge_regression_and_says_so(random):
    x, y = lines(random)
    fitted, path = fit_network(x, y, progress=lambda now, standing: True, **QUICK)
    scaled = fitted.scaling.x(x)
    np.testing.assert_allclose(fitted.predict(x), fit_ridge(scaled, y).predict(scaled), rtol=1e-4, atol=1e-4)
    assert path.stop == Stop.ASKED
    assert path.stop_message.startswith("Stopped as asked: the fit is that of the starts that had arrived. ")


@pytest.mark.parametrize("when", ["10 units, without a fold", "second phase"])
def test_stopped_later_it_is_that_of_what_had_arrived_and_says_so(when, random):
    x, y = waves(random)

    def progress(now, standing):
        standing().predict(x)
        return now.phase == when or (when == "second phase" and "fold" not in now.phase)

    fitted, path = fit_network(x, y, progress=progress, n_jobs=1, **QUICK)
    assert path.stop == Stop.ASKED
    assert path.stop_message.startswith("Stopped as asked: the fit is that of the starts that had arrived. ")
    assert explained(y, fitted.predict(x)) > 0.5
    assert all(part.starts.network.hidden in ((), (2,), (5,)) for part in fitted.parts) or when == "second phase"
    np.testing.assert_array_equal(path.best_weights, fitted.alone().weights)


def test_without_time_it_is_ridge_regression_and_says_so(random):
    x, y = lines(random)
    fitted, path = fit_network(x, y, max_seconds=1e-9, **QUICK)
    scaled = fitted.scaling.x(x)
    np.testing.assert_allclose(fitted.predict(x), fit_ridge(scaled, y).predict(scaled), rtol=1e-4, atol=1e-4)
    assert path.stop == Stop.TIME


def test_a_time_that_is_over_among_the_folds_is_told(random):
    x, y = waves(random)
    fitted, path = fit_network(x, y, seed=0, max_seconds=0.3, tol=0)
    assert path.stop == Stop.TIME
    assert path.stop_message.startswith(
        "The time (max_seconds) was over: the fit is that of the starts that had arrived."
    )
    assert np.isfinite(fitted.predict(x)).all()


def test_a_time_that_is_over_among_the_last_walks_leaves_those_of_the_folds(random, monkeypatch):
    over = []
    monkeypatch.setattr(walks.Fit, "late", lambda self: bool(over))
    x, y = waves(random)
    # The walk under way goes on to its end; those after it do not begin.
    progress = lambda now, standing: over.append(1) if "fold" not in now.phase else None  # noqa: E731
    fitted, path = fit_network(x, y, progress=progress, n_jobs=1, **QUICK)
    assert path.stop == Stop.TIME
    assert explained(y, fitted.predict(x)) > 0.9


def test_no_fold_stays_at_the_mean_where_others_find_a_curve(random):
    """Every other fold begins from a strong penalty, from which a walk may see nothing of the curve."""
    for _ in range(3):
        (x, y), (new, truth) = waves(random, 120, noise=0.3), waves(random, 1000, noise=0.3)
        fitted, _ = fit_network(x, y, **QUICK)
        left_out, unseen = (
            np.sqrt(((fitted.left_out - y) ** 2).mean()),
            np.sqrt(((fitted.predict(new) - truth) ** 2).mean()),
        )
        assert left_out < 1.35 * unseen


def test_tries_cut_short_are_not_taken_for_those_of_other_folds(random, monkeypatch):
    results, tried, walk = widths._Run.results, widths._Trial.candidate, walks.Fit.walk
    fold_of, cut, found = {}, [], []

    def walked(self, *args, number, **others):
        path = walk(self, *args, number=number, **others)
        fold_of[id(path)] = number - 1
        return path

    def first_is_cut(self, tasks):
        paths = results(self, tasks)
        if 1 < len(paths) < 10:
            cut.append(replace(paths[0], stop=Stop.TIME))
            return [cut[-1], *paths[1:]]
        return paths

    def noted(self, others):
        found.append(tried(self, others))
        return found[-1]

    monkeypatch.setattr(walks.Fit, "walk", walked)
    monkeypatch.setattr(widths._Run, "results", first_is_cut)
    monkeypatch.setattr(widths._Trial, "candidate", noted)
    monkeypatch.setattr(widths, "_NARROW", 40)
    monkeypatch.setattr(widths, "LOWER", 0.0)
    fit_network(*waves(random, noise=0.3), n_jobs=1, **QUICK)
    assert cut
    for candidate in found:
        assert [fold_of[id(path)] for path in candidate.paths] == list(range(10))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_targets_that_are_not_finite_get_a_sentence(bad, random):
    x, y = lines(random)
    y[7] = bad
    with pytest.raises(ValueError, match=r"Input y contains (infinity|NaN)"):
        NetworkRegressor().fit(x, y[:, 0])
