"""``fallline minima``: distinct minima, and where the model stands among them."""

import dataclasses
import re

import numpy as np
import pytest
from trees import penalised_by_hand, run, table, tree_table

from fallline.cli.minima import minima_of
from fallline.cli.rows import find_rows, prepare
from fallline.cli.table_fit import fit_table
from fallline.model_file import load_model
from fallline.table.read import read_table


def rows_of_minima(said):
    """Lines of the table of minima: {what stands in the first column: the numbers beside it}."""
    lines = re.findall(r"^ *(the model|model → \d+|\d+)  +(.*)$", said, re.M)
    return {name: [float(number.replace(",", "")) for number in numbers.split()] for name, numbers in lines}


def test_minima_are_told_apart_and_the_model_stands_among_them(folder, fitted):
    done = run("minima", "trees-height.fallline", "--starts", "12", "-o", "minima.pdf")
    assert done.exit_code == 0, done.output
    assert done.stderr == "going down from 12 starts; Ctrl-C gives up\n"
    heading, _, columns, _, *_ = done.stdout.splitlines()
    assert heading == "Minima of the network of trees-height.fallline over the 48 training rows of trees.csv"
    assert columns.split() == [
        "Minimum", "Starts", "E", "+", "decay", "RMSE", "held-out", "λ", "min", "λ", "max", "Flat"
    ]  # fmt: skip
    rows = rows_of_minima(done.stdout)
    error, rmse, held = rows.pop("the model")
    saved_figures = {name: said[0]["network"]["rmse"] for name, said in fitted.about["figures"].items()}
    assert (rmse, held) == pytest.approx((saved_figures["training"], saved_figures["held-out"]), rel=5e-4)
    assert error == pytest.approx(penalised_by_hand(fitted, read_table("trees.csv")), rel=5e-4)
    own = next(name for name in rows if name.startswith("model"))
    number = int(own.removeprefix("model → "))
    assert f"The model is at minimum {number} of {len(rows)}." in done.stdout.splitlines()
    assert rows[own][1] == pytest.approx(error, rel=1e-3)
    errors = [numbers[1] for numbers in rows.values()]
    assert errors == sorted(errors)
    assert sum(numbers[0] for numbers in rows.values()) <= 12
    assert "12 starts, weight decay alpha = 0.1." in done.stdout
    assert done.stdout.endswith("\nPicture  minima.pdf\n")
    assert (folder / "minima.pdf").read_bytes().startswith(b"%PDF")


def test_a_linear_model_is_at_the_only_minimum(folder):
    run(
        "fit", table(folder), "-t", "height", "--hidden", "none", "--max-iter", "50", "-q", "--alpha", "0", "--tol", "0"
    )
    done = run("minima", "trees-height.fallline", "--starts", "4")
    assert done.exit_code == 0, done.output
    assert "1 distinct minimum from 4 starts" in done.stdout
    assert done.stdout.endswith(
        "The model is at minimum 1 of 1.\nNo start ended lower: other starting weights would not help it.\n"
    )
    eigenvalues = rows_of_minima(done.stdout)["model → 1"][4:6]
    x = read_table("trees.csv").columns
    at = np.sort(np.random.default_rng(0).permutation(60)[12:])
    saved = load_model(folder / "trees-height.fallline")
    encoded = saved.columns.encode({name: values[at] for name, values in x.items()})
    design = np.column_stack([saved.fitted.scaling.x(encoded), np.ones(48)])
    values = np.linalg.eigvalsh(design.T @ design)
    assert eigenvalues == pytest.approx([values[0], values[-1]], rel=5e-3)


def test_a_model_on_a_slope_is_told_how_far_above_its_minimum_it_stands(folder):
    run("fit", table(folder), "-t", "height", "--hidden", "none", "--descent", "gradient", "--learning-rate", "0.1",
        "--max-iter", "3", "-q", "--alpha", "0")  # fmt: skip
    done = run("minima", "trees-height.fallline", "--starts", "2")
    assert re.search(
        r"^The model stands on the slope above minimum 1 of 1, E \d+ % higher: `fallline fit` with a smaller --tol goes on",
        done.stdout, re.M,
    ), done.stdout  # fmt: skip


def test_minima_under_another_weight_decay_are_not_held_against_the_model(folder, fitted):
    done = run("minima", "trees-height.fallline", "--starts", "3", "--alpha", "5", "--max-iter", "50")
    assert done.exit_code == 0, done.output
    assert "weight decay alpha = 5." in done.stdout
    assert "--tol" not in done.stdout


def test_the_model_stands_among_the_minima_with_its_own_figures(saved, fit):
    placed = minima_of(saved, find_rows(saved, tree_table()), starts=3, max_iter=50)
    residual = (fit.prepared.y - fit.fitted.predict(fit.prepared.x))[:, 0]
    assert placed.rmse[-1] == pytest.approx([np.sqrt(np.mean(residual**2))], rel=1e-12)
    held = (fit.prepared.held_y - fit.fitted.predict(fit.prepared.held_x))[:, 0]
    assert placed.held_rmse[-1] == pytest.approx([np.sqrt(np.mean(held**2))], rel=1e-12)
    at = list(fit.path.steps).index(fit.path.best_step)
    assert placed.model_error == pytest.approx(fit.path.penalised_error[at], rel=1e-9)
    assert (placed.alpha, placed.own_decay, len(placed.rmse)) == (0.1, True, len(placed.found.minima) + 1)


def test_minima_of_a_model_found_by_its_evidence_are_looked_for_under_the_decay_it_found(saved):
    fit = fit_table(prepare(tree_table(), ["height"]), hidden_layer_sizes=(2,), n_starts=2)
    evidence = dataclasses.replace(saved, fitted=fit.fitted, path=fit.path, about={**saved.about, "alpha": "evidence"})
    placed = minima_of(evidence, find_rows(saved, tree_table()), starts=2, max_iter=50)
    assert (placed.alpha, placed.own_decay) == (None, True)
    at = list(fit.path.steps).index(fit.path.best_step)
    assert placed.model_error == pytest.approx(fit.path.penalised_error[at], rel=1e-9)
    assert not minima_of(evidence, find_rows(saved, tree_table()), starts=1, max_iter=5, alpha=0.1).own_decay
