"""The network and what it is compared with, once and fold by fold, against closed forms and scikit-learn."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from trees import SETTINGS, tree_table

from fallline.cli import influence, sentences
from fallline.cli.fits import fit_boosting
from fallline.cli.kept import about, report_of
from fallline.cli.rows import prepare, prepare_folds
from fallline.cli.table_fit import fit_table
from fallline.exceptions import SettingsError, TableError
from fallline.report import render_report
from fallline.table.read import Table

LINEAR = {"hidden_layer_sizes": (), "alpha": 0.0, "n_starts": 1}


def line_table(rows=30, **other):
    """Three rows in a hundred have no target: the others keep their numbers."""
    random = np.random.default_rng(2)
    x = random.normal(size=(rows, 2))
    y = x @ [2.0, -1.0] + random.normal(size=rows)
    y[4::33] = np.nan
    kind = np.resize(np.array(["a", "b"], object), rows)
    return Table("line.csv", {"u": x[:, 0], "v": x[:, 1], "kind": kind, "y": y, **other}, {})


def folded(table, folds, seed=0, **settings):
    whole, parts = prepare_folds(table, ["y"], folds, seed=seed)
    return fit_table(whole, folds=parts, **(LINEAR | settings))


def design_of(prepared):
    return np.column_stack([np.ones(len(prepared.x)), prepared.x]), prepared.y[:, 0]


def test_left_out_one_by_one_each_row_is_off_by_its_press_residual():
    fit = folded(line_table(), 29)
    a, y = design_of(fit.prepared)
    residual = y - a @ np.linalg.lstsq(a, y, rcond=None)[0]
    leverage = np.einsum("ij,ji->i", a, np.linalg.pinv(a))
    rows = fit.rowsets[-1]
    assert (rows.name, rows.rows, fit.folds) == ("out-of-fold", 29, 29)
    np.testing.assert_allclose(rows.actual[:, 0] - rows.predicted[:, 0], residual / (1 - leverage), rtol=1e-6)
    np.testing.assert_array_equal(rows.numbers, np.delete(np.arange(1, 31), 4))


def test_each_fold_is_predicted_by_the_rows_of_the_others():
    fit = folded(line_table(60), 3, seed=5)
    a, y = design_of(fit.prepared)
    expected = np.empty(len(y))
    for part in np.array_split(np.random.default_rng(5).permutation(58), 3):
        rest = np.setdiff1d(np.arange(58), part)
        expected[part] = a[part] @ np.linalg.lstsq(a[rest], y[rest], rcond=None)[0]
    np.testing.assert_allclose(fit.rowsets[-1].predicted[:, 0], expected, rtol=1e-6)
    whole = a @ np.linalg.lstsq(a, y, rcond=None)[0]
    np.testing.assert_allclose(fit.fitted.predict(fit.prepared.x)[:, 0], whole, rtol=1e-6)


def test_the_intervals_of_rows_out_of_fold_are_those_of_fits_that_have_not_seen_them():
    rows = folded(line_table(400), 4).rowsets[-1]
    inside = np.mean((rows.low <= rows.actual) & (rows.actual <= rows.high))
    assert inside == pytest.approx(0.95, abs=0.03)
    np.testing.assert_allclose((rows.low + rows.high) / 2, rows.predicted, rtol=1e-9)
    assert rows.ridge.shape == rows.predicted.shape


def test_columns_are_judged_anew_in_every_fold_and_shuffled_in_its_own_encoding():
    """A category that one row alone has is another column in the fold that leaves this row out."""
    kinds = np.resize(np.array(["a", "b", "c"], object), 60)
    table = line_table(60, kind=kinds, rare=np.where(np.arange(60) < 2, "x", "y").astype(object))
    fit = folded(table, 30)
    found = fit.influence.importance
    assert found.names == ("u", "v", "kind", "rare")
    assert found.rows == 58
    assert found.mean[0, 0] > found.mean[1, 0] > found.mean[2:, 0].max()
    assert np.isfinite(fit.rowsets[-1].predicted).all()


def test_shuffled_out_of_fold_is_shuffled_among_all_rows():
    """Of a line the error of a shuffled row is known: its own residual and the slope of its fold's fit."""
    fit = folded(line_table(40), 2)
    a, y = design_of(fit.prepared)
    slopes, at = np.empty(len(y)), fit.prepared.columns.places["u"][0]
    for part in np.array_split(np.random.default_rng(0).permutation(len(y)), 2):
        rest = np.setdiff1d(np.arange(len(y)), part)
        slopes[part] = np.linalg.lstsq(a[rest], y[rest], rcond=None)[0][1 + at]
    residual = y - fit.rowsets[-1].predicted[:, 0]
    random, u = np.random.default_rng(0), fit.prepared.x[:, at]
    orders = [random.permutation(len(y)) for _ in range(5)]
    shuffled = [residual - slopes * (u[order] - u) for order in orders]
    rises = [np.sqrt(np.mean(each**2)) - np.sqrt(np.mean(residual**2)) for each in shuffled]
    np.testing.assert_allclose(fit.influence.importance.rises[:, 0, 0], rises, rtol=1e-5)


def test_the_same_folds_come_from_the_same_seed():
    first, second, other = (prepare_folds(line_table(), ["y"], 5, seed=seed)[1][0]() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.held_numbers, second.held_numbers)
    assert set(first.held_numbers) != set(other.held_numbers)
    assert not set(first.held_numbers) & set(first.numbers)


@pytest.mark.parametrize(
    ("rows", "folds", "said"),
    [
        (20, 21, "line.csv has 19 rows with a target, too few for 21 folds, .* give at most 19 folds"),
        (4, 2, "give 3 folds"),
        (3, 2, "2 rows with a target, too few for 2 folds, .* give more rows"),
    ],
)
def test_too_few_rows_for_so_many_folds_get_a_sentence(rows, folds, said):
    table = line_table(33)
    table = Table("line.csv", {name: values[4 : 4 + rows] for name, values in table.columns.items()}, {})
    with pytest.raises(TableError, match=said):
        prepare_folds(table, ["y"], folds)


def test_fewer_than_two_folds_get_a_sentence():
    with pytest.raises(SettingsError, match="at least 2 are needed"):
        prepare_folds(line_table(), ["y"], 1)


def test_folds_that_are_not_finished_leave_the_fit_and_say_so():
    def interrupted():
        raise KeyboardInterrupt

    whole, parts = prepare_folds(line_table(), ["y"], 3)
    fit = fit_table(whole, folds=(parts[0], interrupted), **LINEAR)
    assert [rows.name for rows in fit.rowsets] == ["training"]
    assert sentences.fitted_on(fit).startswith("Fitted on all 29 rows of line.csv; no rows were held out")
    assert sentences.fitted_on(fit).endswith(" The folds were not finished.")
    assert sentences.comparisons(fit) == ("",)
    assert fit.left_out == ("folds", "importances", "curves", "verdict")  # what would still have come


def test_boosting_is_that_of_scikit_learn_with_its_defaults_on_the_same_rows(fit):
    compared = fit_table(prepare(tree_table(), ["height"]), compare=True, seed=0, **SETTINGS)
    theirs = HistGradientBoostingRegressor(random_state=0).fit(compared.prepared.x, compared.prepared.y[:, 0])
    held = compared.rowsets[-1]
    np.testing.assert_array_equal(held.boosting[:, 0], theirs.predict(compared.prepared.held_x))
    np.testing.assert_array_equal(held.predicted, fit.rowsets[-1].predicted)  # the network is the same with it
    figures = about(compared, "", 0)["figures"]["held-out"][0]
    assert figures["boosting"]["r2"] == pytest.approx(theirs.score(compared.prepared.held_x, held.actual[:, 0]))
    assert "boosting" not in about(fit, "", 0)["figures"]["held-out"][0]


def test_ctrl_c_during_boosting_keeps_the_network(fit, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fallline.cli.fits.fit_boosting", interrupted)
    kept = fit_table(prepare(tree_table(), ["height"]), compare=True, **SETTINGS)
    np.testing.assert_array_equal(kept.fitted.weights, fit.fitted.weights)
    assert [rows.boosting for rows in kept.rowsets] == [None, None]


def test_boosting_of_two_targets_is_one_for_each():
    x = np.random.default_rng(0).normal(size=(80, 2))
    both = fit_boosting(x, x[:, :2], 0)(x)
    assert both.shape == (80, 2)
    assert np.corrcoef(both.T, x.T)[:2, 2:].diagonal().min() > 0.9


def test_a_fit_says_what_it_does_next_in_order():
    whole, parts = prepare_folds(line_table(), ["y"], 2)
    said = []
    fit_table(whole, folds=parts, arrived=said.append, **LINEAR)
    assert said == [
        "finding out how far predictions may be off",
        "fitting what it is compared with",
        "fitting fold 1 of 2",
        "fitting fold 2 of 2",
        "finding out which columns matter",
        "finding out at what kind of point it stopped",
    ]


def test_of_a_long_or_wide_table_a_few_rows_stand_for_all(fit, monkeypatch):
    monkeypatch.setattr(influence, "_MOST_WORK", 1.0)
    monkeypatch.setattr(influence, "_FEWEST", 7)
    few = fit_table(fit.prepared, **SETTINGS).influence
    assert few.importance.rows == 7
    assert few.of == "7 of the 12 held-out rows"


def test_columns_are_judged_by_held_out_rows_and_else_by_training_rows(fit):
    assert fit.influence.of == "the 12 held-out rows"
    without = fit_table(prepare(tree_table(), ["height"], holdout=0), **SETTINGS)
    assert without.influence.of == "the 60 training rows"
    single = fit_table(prepare(tree_table(), ["height"], holdout=0.01), **SETTINGS)
    assert (single.rowsets[-1].rows, single.influence.of) == (1, "the 59 training rows")


def test_a_table_with_one_input_has_its_curve_with_the_band_of_the_intervals():
    table = tree_table()
    table = Table("trees.csv", {name: table.columns[name] for name in ("age", "height")}, {})
    fit = fit_table(prepare(table, ["height"]), **SETTINGS)
    [curve] = report_of(fit, "").curves
    assert fit.influence is None
    np.testing.assert_array_equal(curve.x, fit.prepared.x[:, 0])
    np.testing.assert_allclose(curve.prediction, fit.fitted.predict(curve.grid[:, None])[:, 0])
    np.testing.assert_allclose(
        np.column_stack([curve.low, curve.high]), fit.intervals.interval(curve.grid[:, None])[:, 0]
    )
    assert (curve.feature, curve.target, curve.coverage) == ("age", "height", 0.95)


def test_a_curve_over_an_input_with_gaps_shows_the_rows_that_have_it():
    age = tree_table().columns["age"].copy()
    age[::4] = np.nan
    table = Table("trees.csv", {"age": age, "height": tree_table().columns["height"]}, {})
    fit = fit_table(prepare(table, ["height"]), **SETTINGS)
    [curve] = fit.curves
    assert len(curve.x) == (~np.isnan(age[fit.prepared.numbers - 1])).sum()
    assert (curve.grid[0], curve.grid[-1]) == (curve.x.min(), curve.x.max())


def test_without_intervals_the_curve_has_no_band():
    table = Table("t.csv", {name: tree_table().columns[name] for name in ("age", "height")}, {})
    [curve] = fit_table(prepare(table, ["height"]), intervals=False, **SETTINGS).curves
    assert curve.low is None


def classes_table():
    return line_table(60, y=np.resize(np.array(["oak", "ash", "elm"], object), 60))


def test_folds_and_boosting_are_for_numbers_and_say_so_of_classes():
    with pytest.raises(SettingsError, match=r"`y` is told by classes, .* hold out rows instead, as --holdout"):
        prepare_folds(classes_table(), ["y"], 3)
    with pytest.raises(SettingsError, match=r"`y` is told by classes, .* --compare is for numbers: leave it out"):
        fit_table(prepare(classes_table(), ["y"]), compare=True, **LINEAR)


def test_of_classes_nothing_is_said_of_columns_or_other_fits():
    fit = fit_table(prepare(classes_table(), ["y"]), **LINEAR | {"alpha": 0.1})
    assert (fit.influence, fit.curves, sentences.comparisons(fit), sentences.matters(fit)) == (None, (), ("",), "")
    assert "furthest off" not in render_report(report_of(fit, ""))
