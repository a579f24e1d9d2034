import dataclasses
import json

import numpy as np
import pytest

from fallline.cli.table_fit import (
    about,
    curve_of,
    find_rows,
    fit_table,
    minima_of,
    prepare,
    read_otherwise,
    report_of,
    surface_of,
    table_of,
)
from fallline.descent.gradient import GradientDescent
from fallline.exceptions import SettingsError, TableError
from fallline.model_file import SavedModel, load_model, save_model
from fallline.table.read import Table

QUICK = {"hidden_layer_sizes": (3,), "max_iter": 20, "alpha": 0.1, "n_starts": 1}


def trees(rows=60, **other):
    random = np.random.default_rng(3)
    age = random.uniform(1, 50, rows)
    columns = {"age": age, "number": np.arange(rows) * 1.5, "height": 20 * np.tanh(age / 20), **other}
    return Table("trees.csv", columns, {"age": "decimal commas"})


@pytest.fixture(scope="module")
def fit():
    return fit_table(prepare(trees(), ["height"]), **QUICK)


def test_every_row_trains_or_is_held_out_and_none_does_both():
    ready = prepare(trees(), ["height"], holdout=0.3)
    both = np.concatenate([ready.x, ready.held_x])
    assert (len(ready.x), len(ready.held_x)) == (42, 18)
    np.testing.assert_array_equal(np.sort(both[:, 1]), np.arange(60) * 1.5)
    np.testing.assert_allclose(
        np.concatenate([ready.y, ready.held_y])[:, 0], 20 * np.tanh(both[:, 0] / 20), rtol=1e-12
    )


def test_the_seed_decides_which_rows_are_held_out():
    first, same, other = (prepare(trees(), ["height"], seed=seed).held_x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_last_holds_out_the_last_fifth_in_the_order_of_the_file():
    ready = prepare(trees(), ["height"], holdout="last")
    np.testing.assert_array_equal(ready.held_x[:, 1], np.arange(48, 60) * 1.5)
    np.testing.assert_array_equal(ready.x[:, 1], np.arange(48) * 1.5)


def test_columns_are_judged_by_the_training_rows_alone():
    wild = np.array([*[1.0, 2.0, 3.0, np.nan] * 12, *[1e9] * 12])
    kind = np.array(["ash", "oak"] * 24 + ["birch"] * 12, dtype=object)
    ready = prepare(trees(wild=wild, kind=kind), ["height"], holdout="last")
    before = prepare(trees(48, wild=wild[:48], kind=kind[:48]), ["height"], holdout=0)
    assert ready.columns == before.columns


def test_rows_without_a_target_take_no_part_and_are_counted():
    height = trees().columns["height"].copy()
    height[[3, 4, 59]] = np.nan
    ready = prepare(trees(height=height), ["height"])
    assert len(ready.x) + len(ready.held_x) == 57
    assert "3 rows without a target took no part" in ready.rows_said


@pytest.mark.parametrize("row", [1, 30, 48, 60])
@pytest.mark.parametrize("column", ["age", "height"])
@pytest.mark.parametrize("holdout", [0.2, "last"])
def test_messages_number_the_rows_as_the_file_does(column, row, holdout):
    values = trees().columns[column].copy()
    values[row - 1] = np.inf
    height = trees().columns["height"] if column == "age" else values
    table = trees(**{column: values, "height": np.where(np.arange(60) == 20, np.nan, height)})
    with pytest.raises(TableError, match=rf"`{column}` is infinite in row {row}\b"):
        prepare(table, ["height"], holdout=holdout)


@pytest.mark.parametrize("holdout", [1.0, -0.1, "first"])
def test_a_division_that_is_not_possible_gets_a_sentence(holdout):
    with pytest.raises(SettingsError, match="give a share from 0 to below 1, 'last', or a table"):
        prepare(trees(), ["height"], holdout=holdout)


def test_too_few_rows_to_hold_some_out_gets_a_sentence():
    with pytest.raises(TableError, match=r"2 rows are too few .*: give more rows, or hold out 0"):
        prepare(trees(2), ["height"])


def test_a_table_without_any_target_value_is_named_by_its_columns():
    with pytest.raises(TableError, match="`height` has no value in any row: choose another column"):
        prepare(trees(height=np.full(60, np.nan)), ["height"])


@pytest.mark.parametrize(
    ("fitted", "given", "told"),
    [
        ("day/month/year dates", "month/day/year dates (no date shows which of the two comes first)", True),
        ("thousands marks (1,234.5)", "decimal commas", True),
        ("decimal commas", "thousands marks (1,234.5)", True),
        ("decimal commas", "thousands marks and decimal commas (1.234,5)", False),
        ("day/month/year dates", "day/month/year dates (no date shows which of the two comes first)", False),
        (None, "decimal commas", False),
        ("decimal commas", None, False),
    ],
)
def test_only_a_column_that_was_read_against_the_fit_is_told(fitted, given, told):
    columns = prepare(trees(), ["height"]).columns
    table = Table("new.csv", trees().columns, {"age": given} if given else {})
    sentences = read_otherwise(columns, {"age": fitted} if fitted else {}, table)
    assert [sentence.partition(" was read with")[0] for sentence in sentences] == ["In new.csv `age`"] * told


@pytest.mark.parametrize("nonsense", [None, 7, [], {"age": 7}])
def test_notes_of_a_forged_file_are_no_trouble(nonsense):
    columns = prepare(trees(), ["height"]).columns
    assert read_otherwise(columns, nonsense, Table("new.csv", {}, {"age": "decimal commas"})) == ()


def test_the_figures_are_those_of_the_fitted_network(fit):
    held = fit.rowsets[1]
    np.testing.assert_array_equal(held.predicted, fit.fitted.predict(fit.prepared.held_x))
    assert [rowset.name for rowset in fit.rowsets] == ["training", "held-out"]
    residual = held.actual - held.predicted
    in_file = about(fit, "fallline fit", 0)["figures"]["held-out"][0]["network"]
    assert in_file["error"] == pytest.approx(0.5 * (residual**2).sum(), rel=1e-12)
    assert held.rows == len(residual) == 12


def test_ridge_stands_on_the_same_columns_and_rows(fit):
    x, y = fit.prepared.x, fit.prepared.y[:, 0]
    design = np.column_stack([np.ones(len(x)), x])
    plain = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    best = ((y - plain) ** 2).sum()  # no linear model has less on the training rows
    assert best <= ((y - fit.rowsets[0].ridge[:, 0]) ** 2).sum() < 1.05 * best


def test_what_a_model_file_says_is_json_and_the_same_each_time(fit):
    again = fit_table(prepare(trees(), ["height"]), **QUICK)
    said = [json.dumps(about(each, "fallline fit", 0), allow_nan=False) for each in (fit, again)]
    assert said[0] == said[1]
    assert json.loads(said[0])["read"] == {"age": "decimal commas"}


def test_the_curve_has_every_step_of_every_set_of_rows(fit):
    curve = curve_of(fit)
    assert set(curve) == {"step", "training", "held-out"}
    assert {len(values) for values in curve.values()} == {fit.path.n_steps + 1}


def test_the_effort_counts_what_the_path_counts(fit):
    assert fit.effort.startswith(f"{fit.path.n_steps} steps, {fit.path.n_passes} passes over the rows in ")
    assert fit.seconds > fit.path.seconds


def test_the_report_carries_effort_and_weight_decay(fit):
    report = report_of(fit, "fallline fit", (("Seed", "0"),))
    assert dict(report.way)["Effort"] == fit.effort
    assert dict(report.way)["Weight decay"] == "alpha = 0.1, in standardised units"
    assert report.intervals.startswith(fit.intervals_said)
    assert dict(report.facts)["Seed"] == "0"


def test_a_descent_says_whether_it_was_asked_for(fit):
    assert fit.descent.startswith("LevenbergMarquardt(). Levenberg–Marquardt, because the network is small")
    asked = fit_table(prepare(trees(), ["height"]), descent=GradientDescent(0.01), **QUICK)
    assert asked.descent == "GradientDescent(learning_rate=0.01), as asked."


@pytest.mark.parametrize("alpha", [{}, {"alpha": "evidence"}], ids=["by default", "as asked"])
def test_a_weight_decay_that_was_found_says_so(alpha):
    found = fit_table(prepare(trees(), ["height"]), hidden_layer_sizes=(3,), max_iter=20, n_starts=1, **alpha)
    assert found.decay.startswith("found by Bayesian regularisation: the rows determine ")


def test_a_network_of_which_the_rows_determine_all_or_little_is_too_small_or_needlessly_large():
    ready = prepare(trees(), ["height"])
    small, large = (fit_table(ready, hidden_layer_sizes=(size,), n_starts=1) for size in (1, 30))
    assert small.decay.endswith("That is nearly all: a larger network may fit better (--hidden 2 or auto)")
    assert "That is few: a smaller network would do (--hidden " in large.decay


def test_a_network_as_wide_as_the_evidence_asks_for_says_so():
    grown = fit_table(prepare(trees(), ["height"]), n_starts=1)
    assert grown.network_said.endswith(", as wide as the evidence asks for")
    assert "That is" not in grown.decay


def test_the_mean_of_several_starts_says_of_how_many_and_where_they_ended():
    several = fit_table(prepare(trees(), ["height"]), **QUICK | {"n_starts": 3})
    single = fit_table(prepare(trees(), ["height"]), **QUICK)
    assert several.starts_said.startswith("The mean of 3 starts, 9 units side by side; they ended ")
    assert single.starts_said == ""
    assert f"3 starts, {sum(start.passes for start in several.fitted.starts)} passes" in several.effort


def test_a_weight_decay_for_too_few_rows_to_see_the_noise_by_is_a_light_one():
    few = fit_table(prepare(trees(9), ["height"], holdout=0), hidden_layer_sizes=(1,), max_iter=5)
    assert few.decay == "alpha = 0.1, in standardised units"


def test_a_descent_that_diverged_ended_badly_and_the_report_says_so(fit):
    bad = fit_table(prepare(trees(), ["height"]), descent=GradientDescent(1e6), **QUICK)
    assert bad.ended_badly
    assert bad.stop_message.endswith("or --learning-rate auto, and standardise the inputs if they are not.")
    assert not fit.ended_badly
    assert report_of(bad, "fallline fit").notes == (bad.stop_message,)
    assert np.isfinite(bad.rowsets[1].predicted).all()


def saved_of(fit, seed=0, **paths):
    return SavedModel(
        fit.fitted, fit.prepared.columns, curve_of(fit), about(fit, "fallline fit", seed, **paths), fit.path
    )


@pytest.fixture(scope="module")
def saved(fit):
    return saved_of(fit)


@pytest.mark.parametrize("holdout", [0.3, "last", 0, trees(10)], ids=["a share", "last", "none", "a table"])
def test_the_rows_of_a_saved_model_are_found_again(holdout, tmp_path):
    height = trees().columns["height"].copy()
    height[[3, 40]] = np.nan
    table = trees(height=height)
    prepared = prepare(table, ["height"], holdout=holdout, seed=5)
    save_model(saved_of(fit_table(prepared, seed=5, **QUICK), seed=5), tmp_path / "model.fallline")
    found = find_rows(load_model(tmp_path / "model.fallline"), table)
    np.testing.assert_array_equal(found.x, prepared.x)
    np.testing.assert_array_equal(found.y, prepared.y)
    own = not isinstance(holdout, Table)  # held-out rows of another table are not in this one
    np.testing.assert_array_equal(found.held_x, prepared.held_x if own else prepared.held_x[:0])
    assert found.otherwise == ""


def test_a_cell_that_has_changed_since_the_fit_is_noticed(saved):
    age = trees().columns["age"].copy()
    age[np.random.default_rng(0).permutation(60)[-1]] += 1e-5  # of a training row
    found = find_rows(saved, trees(age=age))
    assert len(found.x) == 48
    assert found.otherwise.startswith(
        "The rows of trees.csv are not what they were: at the model's weights E is "
    )


def test_of_another_table_all_rows_are_taken_and_that_is_said(saved):
    found = find_rows(saved, trees(50))
    assert (len(found.x), len(found.held_x)) == (50, 0)
    assert found.otherwise == (
        "trees.csv has 50 rows with a target, and the model was fitted on a table of 60 rows with a target: what follows is "
        "of these rows, not of those of the fit."
    )


@pytest.mark.parametrize("nonsense", [None, 7, [], {"rows": "many"}])
def test_a_model_that_does_not_say_its_rows_takes_those_given(nonsense, saved):
    other = dataclasses.replace(saved, about={"source": nonsense})
    assert len(find_rows(other, trees()).x) == 60
    assert "fitted on others" in find_rows(other, trees()).otherwise


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [("height", np.full(60, np.nan), "no row with a value of `height`"), ("age", None, "age")],
)
def test_a_table_without_what_the_model_needs_is_refused(column, values, message, saved):
    table = trees(**{column: values})
    lacking = Table("t.csv", {name: each for name, each in table.columns.items() if each is not None})
    with pytest.raises(TableError, match=message):
        find_rows(saved, lacking)


def test_a_table_without_the_target_is_refused(saved):
    with pytest.raises(TableError, match="has no column `height`"):
        find_rows(saved, Table("t.csv", {"age": np.ones(3), "number": np.ones(3)}))


def test_the_table_is_found_where_it_was_given_or_as_it_lies_from_the_model(fit, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    table, model = tmp_path / "data" / "trees.csv", tmp_path / "models" / "m.fallline"
    saved = saved_of(fit, table=table.relative_to(tmp_path), model=model.relative_to(tmp_path))
    assert saved.about["source"]["from_model"] == "../data/trees.csv"
    table.write_text("")
    assert table_of(saved, model).samefile(table)
    monkeypatch.chdir("models")  # the path that was given leads nowhere from here
    assert table_of(saved, model).samefile(table)
    table.unlink()
    with pytest.raises(TableError, match=r"data/trees.csv is not there: give the table after the model file"):
        table_of(saved, model)


def test_a_surface_goes_through_the_saved_weights_with_the_error_of_the_fit(saved):
    surface = surface_of(
        saved, find_rows(saved, trees()), ("age->h1", "number->h2"), points=5, penalised=False
    )
    at = list(saved.path.steps).index(saved.path.best_step)
    assert surface.tracks[0].plane_error[-1] == pytest.approx(saved.path.error[at], rel=1e-9)
    assert surface.n_rows == 48


def test_a_surface_of_a_path_without_weights_is_drawn_around_the_model(saved):
    path = dataclasses.replace(saved.path, weights=np.zeros((0, 13)), weight_steps=np.zeros(0, int))
    surface = surface_of(dataclasses.replace(saved, path=path), find_rows(saved, trees()), points=5)
    assert (surface.plane.kind, surface.tracks, surface.penalised) == ("random", (), True)


def test_the_model_stands_among_the_minima_with_its_own_figures(saved, fit):
    placed = minima_of(saved, find_rows(saved, trees()), starts=3, max_iter=50)
    residual = (fit.prepared.y - fit.fitted.predict(fit.prepared.x))[:, 0]
    assert placed.rmse[-1] == pytest.approx([np.sqrt(np.mean(residual**2))], rel=1e-12)
    held = (fit.prepared.held_y - fit.fitted.predict(fit.prepared.held_x))[:, 0]
    assert placed.held_rmse[-1] == pytest.approx([np.sqrt(np.mean(held**2))], rel=1e-12)
    at = list(fit.path.steps).index(fit.path.best_step)
    assert placed.model_error == pytest.approx(fit.path.penalised_error[at], rel=1e-9)
    assert (placed.alpha, placed.own_decay, len(placed.rmse)) == (0.1, True, len(placed.found.minima) + 1)


def test_minima_of_a_model_found_by_its_evidence_are_looked_for_under_the_decay_it_found(saved):
    fit = fit_table(prepare(trees(), ["height"]), hidden_layer_sizes=(2,), n_starts=2)
    evidence = dataclasses.replace(
        saved, fitted=fit.fitted, path=fit.path, about={**saved.about, "alpha": "evidence"}
    )
    placed = minima_of(evidence, find_rows(saved, trees()), starts=2, max_iter=50)
    assert (placed.alpha, placed.own_decay) == (None, True)
    at = list(fit.path.steps).index(fit.path.best_step)
    assert placed.model_error == pytest.approx(fit.path.penalised_error[at], rel=1e-9)
    assert not minima_of(evidence, find_rows(saved, trees()), starts=1, max_iter=5, alpha=0.1).own_decay


def test_the_report_has_a_surface_of_the_training_rows(fit):
    surface = report_of(fit, "fallline fit").surface
    assert surface.n_rows == 48
    assert surface.tracks[0].steps[-1] == fit.path.n_steps


@pytest.mark.parametrize(
    "settings",
    [{"max_iter": 0}, {"hidden_layer_sizes": (20_000,), "descent": "gradient"}],
    ids=["no step", "large"],
)
def test_the_report_has_no_surface_where_there_is_none_or_it_would_take_long(settings):
    fit = fit_table(prepare(trees(), ["height"]), **{**QUICK, "max_iter": 1, **settings})
    assert report_of(fit, "fallline fit").surface is None


def test_the_verdict_is_in_the_report_and_in_what_a_model_file_says(fit):
    assert fit.verdict.findings.startswith(("A ", "Still ", "Running "))
    assert ("Verdict", fit.verdict_said) in report_of(fit, "fallline fit").way
    assert about(fit, "fallline fit", 0)["verdict"] == fit.verdict_said


def test_two_steps_of_a_fit_are_still_descending():
    short = fit_table(prepare(trees(), ["height"]), **(QUICK | {"max_iter": 2}))
    assert short.verdict.kind == "still descending"
    assert short.verdict_said.endswith("Go on with more steps.")


def test_settings_in_a_verdict_are_spelled_as_on_the_command_line(fit):
    runs = dataclasses.replace(fit.verdict, kind="running away", point="still descending")
    assert "--alpha 0.01" in dataclasses.replace(fit, verdict=runs).verdict_said
