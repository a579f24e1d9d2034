"""Which rows of a table train, and how those of a saved model are found again."""

import dataclasses

import numpy as np
import pytest
from trees import SETTINGS, tree_table

from fallline.cli import sentences
from fallline.cli.kept import saved_of
from fallline.cli.rows import find_rows, prepare, read_otherwise, table_of
from fallline.cli.table_fit import fit_table
from fallline.exceptions import SettingsError, TableError
from fallline.model_file import load_model, save_model
from fallline.table.read import Table


def test_every_row_trains_or_is_held_out_and_none_does_both():
    ready = prepare(tree_table(), ["height"], holdout=0.3)
    both = np.concatenate([ready.x, ready.held_x])
    assert (len(ready.x), len(ready.held_x)) == (42, 18)
    np.testing.assert_array_equal(np.sort(both[:, 1]), np.arange(60) * 1.5)
    np.testing.assert_allclose(np.concatenate([ready.y, ready.held_y])[:, 0], 20 * np.tanh(both[:, 0] / 20), rtol=1e-12)


def test_the_seed_decides_which_rows_are_held_out():
    first, same, other = (prepare(tree_table(), ["height"], seed=seed).held_x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_last_holds_out_the_last_fifth_in_the_order_of_the_file():
    ready = prepare(tree_table(), ["height"], holdout="last")
    np.testing.assert_array_equal(ready.held_x[:, 1], np.arange(48, 60) * 1.5)
    np.testing.assert_array_equal(ready.x[:, 1], np.arange(48) * 1.5)


def test_columns_are_judged_by_the_training_rows_alone():
    wild = np.array([*[1.0, 2.0, 3.0, np.nan] * 12, *[1e9] * 12])
    kind = np.array(["ash", "oak"] * 24 + ["birch"] * 12, dtype=object)
    ready = prepare(tree_table(wild=wild, kind=kind), ["height"], holdout="last")
    before = prepare(tree_table(48, wild=wild[:48], kind=kind[:48]), ["height"], holdout=0)
    assert ready.columns == before.columns


def test_rows_without_a_target_take_no_part_and_are_counted():
    height = tree_table().columns["height"].copy()
    height[[3, 4, 59]] = np.nan
    ready = prepare(tree_table(height=height), ["height"])
    assert len(ready.x) + len(ready.held_x) == 57
    assert "3 rows without a target took no part" in sentences.rows(ready)


@pytest.mark.parametrize("row", [1, 30, 48, 60])
@pytest.mark.parametrize("column", ["age", "height"])
@pytest.mark.parametrize("holdout", [0.2, "last"])
def test_messages_number_the_rows_as_the_file_does(column, row, holdout):
    values = tree_table().columns[column].copy()
    values[row - 1] = np.inf
    height = tree_table().columns["height"] if column == "age" else values
    table = tree_table(**{column: values, "height": np.where(np.arange(60) == 20, np.nan, height)})
    with pytest.raises(TableError, match=rf"`{column}` is infinite in row {row}\b"):
        prepare(table, ["height"], holdout=holdout)


@pytest.mark.parametrize("holdout", [1.0, -0.1, "first"])
def test_a_division_that_is_not_possible_gets_a_sentence(holdout):
    with pytest.raises(SettingsError, match="give a share from 0 to below 1, 'last', or a table"):
        prepare(tree_table(), ["height"], holdout=holdout)


def test_too_few_rows_to_hold_some_out_gets_a_sentence():
    with pytest.raises(TableError, match=r"2 rows are too few .*: give more rows, or hold out 0"):
        prepare(tree_table(2), ["height"])


def test_a_table_without_any_target_value_is_named_by_its_columns():
    with pytest.raises(TableError, match="`height` has no value in any row: choose another column"):
        prepare(tree_table(height=np.full(60, np.nan)), ["height"])


COMMA, POINT = ({"as": "number", "decimal": mark} for mark in ",.")


@pytest.mark.parametrize(
    ("fitted", "given", "told"),
    [
        ({"as": "date", "order": "day first"}, {"as": "date", "order": "month first"}, True),
        (POINT, COMMA, True),
        (COMMA, POINT, True),
        (COMMA | {"after": "kg"}, COMMA | {"after": "g"}, True),
        (COMMA, COMMA, False),
        ({"as": "date", "order": "day first"}, {"as": "date", "order": "day first"}, False),
        (None, COMMA, False),
        ({"as": "number"}, POINT, False),
        (COMMA, {"as": "number"}, False),
        ("damaged", 5, False),
    ],
)
def test_only_a_column_that_was_read_against_the_fit_is_told(fitted, given, told):
    columns = prepare(tree_table(), ["height"]).columns
    table = Table("new.csv", tree_table().columns, reading={"columns": {"age": given}})
    sentences = read_otherwise(columns, {"columns": {"age": fitted}}, table)
    assert [sentence.partition(" was read with")[0] for sentence in sentences] == ["In new.csv `age`"] * told


@pytest.mark.parametrize("holdout", [0.3, "last", 0, tree_table(10)], ids=["a share", "last", "none", "a table"])
def test_the_rows_of_a_saved_model_are_found_again(holdout, tmp_path):
    height = tree_table().columns["height"].copy()
    height[[3, 40]] = np.nan
    table = tree_table(height=height)
    prepared = prepare(table, ["height"], holdout=holdout, seed=5)
    save_model(saved_of(fit_table(prepared, seed=5, **SETTINGS), "fallline fit", 5), tmp_path / "model.fallline")
    found = find_rows(load_model(tmp_path / "model.fallline"), table)
    np.testing.assert_array_equal(found.x, prepared.x)
    np.testing.assert_array_equal(found.y, prepared.y)
    own = not isinstance(holdout, Table)  # held-out rows of another table are not in this one
    np.testing.assert_array_equal(found.held_x, prepared.held_x if own else prepared.held_x[:0])
    assert found.otherwise == ""


def test_a_cell_that_has_changed_since_the_fit_is_noticed(saved):
    age = tree_table().columns["age"].copy()
    age[np.random.default_rng(0).permutation(60)[-1]] += 1e-5  # of a training row
    found = find_rows(saved, tree_table(age=age))
    assert len(found.x) == 48
    assert found.otherwise.startswith(
        "The rows of trees.csv have changed since the fit: the error E at the model's weights is "
    )


def test_of_another_table_all_rows_are_taken_and_that_is_said(saved):
    found = find_rows(saved, tree_table(50))
    assert (len(found.x), len(found.held_x)) == (50, 0)
    assert found.otherwise == (
        "trees.csv has 50 rows with a target, and the model was fitted on a table with 60 such rows: what follows is of the "
        "rows of trees.csv, not of those of the fit."
    )


@pytest.mark.parametrize("nonsense", [None, 7, [], {"rows": "many"}])
def test_a_model_that_does_not_say_its_rows_takes_those_given(nonsense, saved):
    other = dataclasses.replace(saved, about={"source": nonsense})
    assert len(find_rows(other, tree_table()).x) == 60
    assert "fitted on other rows" in find_rows(other, tree_table()).otherwise


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [("height", np.full(60, np.nan), "no row with a value of `height`"), ("age", None, "age")],
)
def test_a_table_without_what_the_model_needs_is_refused(column, values, message, saved):
    table = tree_table(**{column: values})
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
    saved = saved_of(fit, "fallline fit", 0, table.relative_to(tmp_path), model.relative_to(tmp_path))
    assert saved.about["source"]["from_model"] == "../data/trees.csv"
    table.write_text("")
    assert table_of(saved, model).samefile(table)
    monkeypatch.chdir("models")  # the path that was given leads nowhere from here
    assert table_of(saved, model).samefile(table)
    table.unlink()
    with pytest.raises(TableError, match=r"data/trees.csv is not there: give the table after the model file"):
        table_of(saved, model)
