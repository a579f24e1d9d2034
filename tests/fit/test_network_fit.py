import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.gradient import GradientDescent
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.exceptions import SettingsError, TableError
from fallline.fit.division import divide
from fallline.fit.fitted import FittedNetwork
from fallline.fit.network_fit import fit_network
from fallline.fit.settings import Settings, hidden_sizes, starts_asked
from fallline.model.network import Network
from fallline.table.scaling import Scaling


def test_a_division_is_a_partition_in_the_shares_asked_for(random):
    parts = divide(200, 0.15, 0.15, random)
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [140, 30, 30]
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(200))
    assert (np.diff(parts.train) > 0).all()


@pytest.mark.parametrize("shares", [(1.0, 0.0), (-0.1, 0.0), (0.6, 0.5), (0.5, 0.5)])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares, random):
    with pytest.raises(SettingsError, match="leave rows to train on"):
        divide(100, *shares, random)


def test_too_few_rows_to_divide_are_refused(random):
    with pytest.raises(TableError, match="2 rows are too few to divide in three"):
        divide(2, 0.15, 0.15, random)


@pytest.mark.parametrize(
    ("given", "expected"), [(20, (20,)), ((), ()), ([3, 4], (3, 4)), (np.array([5]), (5,)), (np.int64(7), (7,))]
)
def test_hidden_sizes_are_read_in_every_usual_form(given, expected):
    assert hidden_sizes(given) == expected


@pytest.mark.parametrize("given", ["20", (2.5,), (0,), (-3,), None, True, ("a",)])
def test_other_hidden_sizes_are_refused(given):
    with pytest.raises(SettingsError, match=r"such as \(20,\), \(\) for none, or 'auto'"):
        hidden_sizes(given)


def test_a_fit_does_not_depend_on_the_units_of_the_table(random):
    x = random.normal(size=(80, 2))
    y = np.tanh(x[:, :1]) + 0.1 * random.normal(size=(80, 1))
    units, settings = (np.array([1e4, 1e-3]), {"hidden_layer_sizes": (4,), "seed": 0, "alpha": 0.1, "max_iter": 40})
    plain, _ = fit_network(x, y, **settings)
    other, _ = fit_network(x * units + 7 * units, 50 * y - 3, **settings)
    np.testing.assert_allclose(other.predict(x * units + 7 * units), 50 * plain.predict(x) - 3, rtol=1e-6, atol=1e-6)


def test_folded_layers_predict_in_the_users_units_by_hand(random):
    x, y = 100 + 9 * random.normal(size=(50, 3)), 1e6 * random.normal(size=(50, 2))
    fitted, _ = fit_network(
        x, y, hidden_layer_sizes=(4, 3), activation="softplus", alpha=1.0, seed=0, max_iter=5, n_starts=2
    )
    (w1, b1), (w2, b2), (w3, b3) = fitted.layers
    hidden = np.log1p(np.exp(np.log1p(np.exp(x @ w1 + b1)) @ w2 + b2))
    np.testing.assert_allclose(hidden @ w3 + b3, fitted.predict(x), rtol=1e-9)


def test_predictions_in_blocks_are_the_predictions(random):
    network = Network((2, 3, 1))
    fitted = FittedNetwork(network, network.initial(0), Scaling.identity(2, 1))
    x = random.normal(size=(70_000, 2))
    np.testing.assert_allclose(fitted.predict(x), network.predict(fitted.weights, x), rtol=1e-12)
    assert fitted.predict(x[:0]).shape == (0, 1)


def test_no_bias_is_fitted_without_centring(random):
    x = 5 + random.normal(size=(60, 2))
    fitted, _ = fit_network(x, x @ [[2.0], [1.0]], hidden_layer_sizes=(), bias=False, alpha=0.0, seed=0)
    np.testing.assert_allclose(fitted.layers[0].coef, [[2.0], [1.0]], rtol=1e-6)
    assert fitted.layers[0].intercept is None


@pytest.mark.parametrize(
    "settings",
    [
        {"descent": GradientDescent()},
        {"judge": "validation", "watched": {"validation": (np.ones((3, 1)), np.ones((3, 1)))}},
    ],
    ids=["by the gradient", "with a judge"],
)
def test_the_decay_is_light_where_none_is_found(settings, random):
    x = random.normal(size=(40, 1))
    _, path = fit_network(x, x**2, hidden_layer_sizes=(2,), max_iter=3, seed=0, **settings)
    assert path.alpha == 0.1


def test_by_default_the_evidence_finds_the_decay(random):
    x = random.normal(size=(60, 2))
    _, path = fit_network(x, x[:, :1] + random.normal(size=(60, 1)), hidden_layer_sizes=(3,), seed=0)
    assert path.alpha == "evidence"
    assert len(np.unique(path.strength)) == 2  # one for all but the bias of the output, which is free


def test_noise_leaves_few_weights_determined(random):
    x = random.normal(size=(300, 6))
    curve, noise = np.sin(2 * x[:, :1]), random.normal(size=(300, 1))
    quiet, loud = (
        fit_network(x, curve + share * noise, hidden_layer_sizes=(8,), seed=0, n_starts=3)[1] for share in (0.01, 4.0)
    )
    assert quiet.shown["effective_weights"][-1] > 5 * loud.shown["effective_weights"][-1]
    assert loud.strength[0] > 30 * quiet.strength[0]


def test_several_starts_predict_their_mean(random):
    x = random.normal(size=(50, 2))
    y = np.column_stack([np.sin(x[:, 0]), x[:, 1] ** 2])
    fitted, path = fit_network(x, y, hidden_layer_sizes=(4,), seed=0, n_starts=3, alpha=0.1, max_iter=15)
    starts, scaling = fitted.starts, fitted.scaling
    each = [scaling.unscale_y(starts.network.predict(start.weights, scaling.x(x))) for start in starts]
    np.testing.assert_allclose(fitted.predict(x), np.mean(each, axis=0), atol=1e-12)
    assert fitted.network.sizes == (2, 12, 2)
    np.testing.assert_array_equal(path.best_weights, starts[starts.shown].weights)


def test_the_first_of_several_starts_is_the_single_one(random):
    x = random.normal(size=(50, 2))
    single, several = (
        fit_network(x, x[:, :1] ** 2, hidden_layer_sizes=(3,), seed=5, n_starts=count, alpha=0.1, max_iter=8)[0]
        for count in (1, 3)
    )
    np.testing.assert_array_equal(several.starts[0].weights, single.weights)
    assert len(np.unique([start.error for start in several.starts])) == 3


def test_a_start_that_took_the_curve_for_noise_is_left_out(random):
    x = random.uniform(-2, 2, size=(100, 2))
    quadrants = np.sign(x[:, :1] * x[:, 1:]) + 0.05 * random.normal(size=(100, 1))
    fitted, path = fit_network(x, quadrants, hidden_layer_sizes=(6,), seed=0, n_starts=6)
    evidence = [start.log_evidence for start in fitted.starts]
    assert len(evidence) == 3  # those that began under a light penalty: small weights make no quadrants
    assert max(evidence) - min(evidence) < 25
    assert path.at_best(path.shown["log_evidence"]) == max(evidence)
    assert min(start.effective_weights for start in fitted.starts) > 15


def test_where_no_evidence_is_found_the_network_has_twenty_units(random):
    x = random.normal(size=(40, 2))
    fitted, _ = fit_network(x, x[:, :1], alpha=0.1, max_iter=2, seed=0, n_starts=1)
    assert fitted.network.hidden == (20,)


def test_without_the_average_the_start_shown_is_the_network(random):
    x = random.normal(size=(50, 2))
    fitted, path = fit_network(
        x, x[:, :1] ** 2, hidden_layer_sizes=(3,), seed=5, n_starts=3, alpha=0.1, average=False, max_iter=30
    )
    np.testing.assert_array_equal(fitted.weights, path.best_weights)
    lowest = min(start.penalised_error for start in fitted.starts)
    assert path.at_best(path.penalised_error) == lowest


def test_a_start_cut_short_does_not_disturb_those_that_arrived(random):
    x = random.normal(size=(50, 2))
    settings = Settings((3,), seed=5, alpha=0.1, tol=0.0, max_iter=99)
    cut, path = fit_network(
        x, x[:, :1] ** 2, settings, n_starts=4, progress=lambda now, _: now.start == 3, every_step=True
    )
    whole, _ = fit_network(x, x[:, :1] ** 2, settings, n_starts=2)
    np.testing.assert_array_equal(cut.weights, whole.weights)
    assert path.stop == Stop.ASKED
    assert path.stop_message.startswith("Stopped as asked: the fit is that of the 2 of 4 starts that had arrived. ")


def test_whoever_asks_to_stop_as_a_start_arrives_is_heard(random):
    x = random.normal(size=(50, 2))
    settings = Settings((3,), seed=5, alpha=0.1, n_jobs=1)
    cut, path = fit_network(
        x, x[:, :1] ** 2, settings, n_starts=4,
        progress=lambda now, _: now.start == 3 and now.stop != Stop.GOING_ON,
    )  # fmt: skip
    whole, _ = fit_network(x, x[:, :1] ** 2, settings, n_starts=3)
    np.testing.assert_array_equal(cut.weights, whole.weights)
    assert path.stop == Stop.ASKED
    assert path.stop_message.startswith("Stopped as asked: the fit is that of the 3 of 4 starts that had arrived. ")


@pytest.mark.parametrize("n_jobs", [1, 2, 4])
def test_every_start_is_told_of_in_its_turn(n_jobs, random):
    x, told = random.normal(size=(50, 2)), []
    fit_network(
        x, x[:, :1] ** 2, hidden_layer_sizes=(3,), seed=5, alpha=0.1, n_starts=5, max_iter=9, n_jobs=n_jobs,
        progress=lambda now, _: told.append((now.start, now.stop != Stop.GOING_ON)),
    )  # fmt: skip
    starts = [start for start, _ in told]
    assert starts == sorted(starts)
    assert {start for start, ended in told if ended} == {1, 2, 3, 4, 5}


def test_what_is_told_on_the_way_is_the_mean_so_far(random):
    x = random.normal(size=(50, 2))
    told = []
    fit_network(
        x, x[:, :1] ** 2, hidden_layer_sizes=(3,), seed=5, alpha=0.1, n_starts=2, max_iter=9,
        progress=lambda now, standing: told.append((now.start, now.n_starts, standing().network.hidden)),
    )  # fmt: skip
    assert {(1, 2, (3,)), (2, 2, (6,))} == set(told)


def test_going_on_goes_on_from_every_start(random):
    x = random.normal(size=(60, 2))
    y = np.sin(2 * x[:, :1])
    settings = {"hidden_layer_sizes": (3,), "alpha": 0.01, "tol": 0.0, "seed": 1}
    before, _ = fit_network(x, y, n_starts=3, max_iter=10, **settings)
    after, _ = fit_network(x, y, before=before, max_iter=40, **settings)
    falls = [a.penalised_error < b.penalised_error for a, b in zip(after.starts, before.starts, strict=True)]
    assert falls == [True] * 3
    assert after.members == 3


@pytest.mark.parametrize(
    ("rows", "hidden", "descent", "expected"),
    [
        (1000, (20,), LevenbergMarquardt(), 10),
        (8000, (20,), LevenbergMarquardt(), 5),
        (100_000, (20,), LevenbergMarquardt(), 1),
        (1000, (), LevenbergMarquardt(), 1),
        (1000, (20,), GradientDescent(), 1),
    ],
)
def test_starts_are_as_many_as_are_quick(rows, hidden, descent, expected):
    assert starts_asked(Settings(), Network((8, *hidden, 1)), descent, rows) == expected
    quick = Settings(effort="quick")
    assert starts_asked(quick, Network((8, *hidden, 1)), descent, rows) == min(expected, 3)


@pytest.mark.parametrize("given", [0, -1, 2.5, "many", None, True])
def test_other_numbers_of_starts_are_refused(given):
    with pytest.raises(SettingsError, match="a whole number from 1 up, or 'auto'"):
        starts_asked(Settings(n_starts=given), Network((1, 1)), LevenbergMarquardt(), 10)


def test_going_on_with_another_network_is_refused(random):
    x = random.normal(size=(30, 2))
    before, _ = fit_network(x, x[:, :1], hidden_layer_sizes=(3,), alpha=0.1, max_iter=3, seed=0)
    with pytest.raises(SettingsError, match="set warm_start=False"):
        fit_network(x, x[:, :1], hidden_layer_sizes=(4,), before=before)


def test_every_class_is_divided_in_the_shares_asked_for(random):
    classes = random.permutation(np.repeat([0, 1, 2], [100, 60, 40]))
    parts = divide(200, 0.2, 0.1, random, classes)
    counts = [np.bincount(classes[part]) for part in (parts.train, parts.validation, parts.test)]
    np.testing.assert_array_equal(counts, [[70, 42, 28], [20, 12, 8], [10, 6, 4]])
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(200))


def test_the_only_row_of_a_class_trains(random):
    classes = np.array([1, *[0] * 30, 3, *[2] * 8])
    parts = [divide(40, 0.3, 0.3, random, classes) for _ in range(20)]
    assert {set(classes[each.train]) == {0, 1, 2, 3} for each in parts} == {True}


def test_rows_of_a_class_are_divided_at_random(random):
    classes = np.repeat([0, 1], 50)
    often = sum(np.isin(np.arange(100), divide(100, 0.2, 0.0, random, classes).validation) for _ in range(500))
    assert abs(often / 500 - 0.2).max() < 0.08  # of 100 rows, a share of 0.2 with a standard error of 0.018


def test_a_quick_fit_has_three_networks_in_all_and_none_of_forty_units(random):
    x = random.normal(size=(150, 2))
    y = np.sin(2 * x[:, :1]) + 0.1 * random.normal(size=(150, 1))
    usual, quick = (fit_network(x, y, effort=effort, seed=0, max_iter=60)[0] for effort in ("usual", "quick"))
    assert all(part.starts.network.hidden < (40,) and len(part.starts) <= 3 for part in quick.parts)
    assert quick.passes < 0.5 * usual.passes


def test_another_effort_is_refused():
    with pytest.raises(SettingsError, match="effort='fast' is not possible: choose 'usual' or 'quick'"):
        fit_network(np.eye(3), np.eye(3)[:, :1], effort="fast")
