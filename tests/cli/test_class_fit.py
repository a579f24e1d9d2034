"""Classes on the command line: from the table to the model file, the report, and the predictions beside rows."""

import json
import re

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from sklearn.utils import check_random_state
from trees import run

from fallline import NetworkClassifier
from fallline.cli.class_fit import told_by_classes
from fallline.cli.kept import report_of
from fallline.cli.rows import find_rows, prepare
from fallline.cli.table_fit import fit_table
from fallline.exceptions import TableError
from fallline.model_file import load_model
from fallline.report import figures, render_report
from fallline.table.read import read_table
from fallline.table.table import Table

SETTINGS = {"hidden_layer_sizes": (3,), "n_starts": 2, "alpha": 0.1, "max_iter": 30, "seed": 0}
QUICK = ("--hidden", "3", "--starts", "2", "--alpha", "0.1", "--max-iter", "30")


def leaves(rows=90, kinds=("ash", "birch", "oak"), seed=3):
    """Length and width of leaves in overlapping clouds, the last kind rarer."""
    random = np.random.default_rng(seed)
    number = random.permutation(np.arange(rows) % (3 * len(kinds) - 2) // 3)
    x = random.normal(size=(rows, 2)) + 1.6 * np.eye(len(kinds), 2)[number]
    return {"length": x[:, 0], "width": x[:, 1], "kind": np.array(kinds, dtype=object)[number]}


def table_of(columns, name="leaves.csv"):
    return Table(name, columns)


def written(folder, columns, name="leaves.csv"):
    names = list(columns)
    lines = [",".join(names)]
    lines += [
        ",".join("" if cell is None else str(cell) for cell in row) for row in zip(*columns.values(), strict=True)
    ]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


@pytest.fixture(scope="module")
def of_leaves():
    return fit_table(prepare(table_of(leaves()), ["kind"]), **SETTINGS)


def test_a_default_fit_has_logistic_regression_beside_it_and_is_kept_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, leaves())
    done = run("fit", path, "--target", "kind", "--max-iter", "30")
    told = " ".join(done.output.split())
    assert "10 networks and logistic regression combined as suits rows left out best: 10 units 50 %" in told
    fitted = load_model(tmp_path / "leaves-kind.fallline").fitted
    assert (fitted.is_mixture, fitted.network.linear_units, fitted.alone().network.hidden) == (True, 3, (10,))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (np.array(["b", "a", "a", "b", None], dtype=object), ("a", "b")),
        (np.array([True, False, True, False, True]), (False, True)),
        (np.array([2.5, -1.0] * 5), (-1.0, 2.5)),
        (np.array([1.0, 0.0, np.nan] * 5), (0.0, 1.0)),
    ],
    ids=["text", "boolean", "two numbers", "0 and 1, with gaps"],
)
def test_a_target_of_texts_of_truths_or_of_two_numbers_holds_classes(values, classes):
    rows = len(values)
    prepared = prepare(table_of({"x": np.arange(rows) % 3.0, "y": values}), ["y"], holdout=0)
    assert prepared.columns.classes == classes
    assert set(np.unique(prepared.y)) == {0.0, 1.0}
    assert prepared.y.shape[1] == 1


@pytest.mark.parametrize(
    "values", [np.arange(12) % 3.0, np.array([1.0, 2.0] * 4)], ids=["three numbers", "two numbers in 8 rows"]
)
def test_other_targets_of_numbers_stay_numbers_unless_they_are_asked_for_as_categories(values):
    table = table_of({"x": np.arange(len(values)) % 5.0, "y": values})
    assert prepare(table, ["y"], holdout=0).columns.classes == ()
    asked = prepare(table, ["y"], holdout=0, categories=["y"]).columns
    assert asked.classes == tuple(np.unique(values))


def test_two_targets_of_two_numbers_stay_numbers():
    values = np.array([1.0, 0.0] * 10)
    prepared = prepare(table_of({"x": np.arange(20) % 3.0, "y": values, "z": 1 - values}), ["y", "z"], holdout=0)
    assert prepared.columns.classes == ()
    np.testing.assert_array_equal(prepared.y, np.column_stack([values, 1 - values]))


def test_held_out_rows_hold_every_class_in_proportion():
    kinds = np.array(["ash"] * 100 + ["birch"] * 50 + ["oak"] * 10, dtype=object)
    x = np.random.default_rng(0).normal(size=160)
    prepared = prepare(table_of({"x": x, "kind": kinds}), ["kind"], seed=5)
    np.testing.assert_array_equal(prepared.held_y.sum(axis=0), [20, 10, 2])
    np.testing.assert_array_equal(prepared.y.sum(axis=0), [80, 40, 8])
    assert prepared.source == "a random 20 % of each class, seed 5"
    together = np.concatenate([prepared.x, prepared.held_x])[:, 0]
    np.testing.assert_array_equal(np.sort(together), np.sort(x))


def test_the_figures_are_those_of_scikit_learn(of_leaves):
    held = of_leaves.rowsets[1]
    prepared = of_leaves.prepared
    scale = of_leaves.fitted.scaling.x
    number = prepared.y.argmax(axis=1)
    logistic = LogisticRegression(max_iter=1000).fit(scale(prepared.x), number)
    np.testing.assert_allclose(held.logistic, logistic.predict_proba(scale(prepared.held_x)), atol=1e-12)
    own = prepared.held_y.argmax(axis=1)
    np.testing.assert_array_equal(held.actual, own)
    found = figures(held)[0]
    expected = {
        name: {
            "accuracy": accuracy_score(own, p.argmax(axis=1)),
            "log_loss": log_loss(own, p),
            "brier": brier_score_loss(own, p, scale_by_half=False),
        }
        for name, p in (("network", held.probabilities), ("logistic", held.logistic))
    }
    assert {name: found[name] for name in expected} == {name: pytest.approx(each) for name, each in expected.items()}


def test_the_network_is_that_of_the_classifier():
    prepared = prepare(table_of(leaves()), ["kind"])
    seed = check_random_state(0).randint(2**31 - 1)  # as the classifier draws it
    found = fit_table(prepared, **(SETTINGS | {"seed": seed, "alpha": "auto", "max_iter": 1000}))
    fit = NetworkClassifier((3,), n_starts=2, random_state=0).fit(prepared.x, prepared.y.argmax(axis=1))
    assert fit.alpha_ == found.path.alpha
    np.testing.assert_allclose(fit.predict_proba(prepared.held_x), found.rowsets[1].probabilities, atol=1e-6)


def test_a_fit_says_that_it_is_of_classes_and_writes_their_figures(folder):
    done = run("fit", written(folder, leaves()), "-t", "kind", *QUICK)
    assert done.exit_code == 0, done.output
    assert re.search(
        r"Classification: kind holds 3 classes, with so many training rows: ash \(\d+\), birch \(\d+\) and oak \(\d+\)\.",
        done.stdout,
    )
    assert re.search(r"held-out \(18\) +logistic regression +0\.\d{3} +0\.\d+ +\d\.\d+", done.stdout)
    assert "ridge" not in done.stdout
    assert "intervals" not in done.stdout
    shown = run("show", folder / "leaves-kind.fallline")
    assert "a classifier: probabilities of the 3 classes ash, birch and oak" in shown.stdout
    assert "logistic regression" in shown.stdout


@pytest.mark.parametrize(
    ("kinds", "options"),
    [(("ash", "birch", "oak"), ()), (("no", "yes"), ()), ((0, 1), ()), ((3, 5, 7), ("--category", "kind"))],
    ids=["texts", "two texts", "0 and 1", "numbers as categories"],
)
def test_predict_writes_the_class_and_a_probability_for_each(folder, kinds, options):
    path = written(folder, leaves(kinds=kinds))
    assert run("fit", path, "-t", "kind", *QUICK, *options, "-q").exit_code == 0
    done = run("predict", "leaves-kind.fallline", path, "-o", "out.csv")
    assert done.exit_code == 0, done.output
    out, saved = read_table(folder / "out.csv").columns, load_model(folder / "leaves-kind.fallline")
    names = [f"probability kind={kind}" for kind in kinds]
    assert list(out)[3:] == ["predicted kind", *names]
    p = np.column_stack([out[name] for name in names])
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    outputs = saved.fitted.predict(saved.columns.encode(read_table(path).columns))
    expected = np.hstack([1 - outputs, outputs]) if len(kinds) == 2 else p
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    np.testing.assert_array_equal(out["predicted kind"], np.array(kinds, out["kind"].dtype)[p.argmax(axis=1)])
    right = np.mean(out["predicted kind"] == out["kind"])
    assert right > 0.6
    assert f"kind: accuracy {right:.3f}, Brier score" in done.stderr


def test_rows_of_unknown_classes_are_predicted_but_not_judged(folder):
    run("fit", written(folder, leaves()), "-t", "kind", *QUICK, "-q")
    few = {name: values[:6] for name, values in leaves().items()}
    few["kind"] = np.array(["ash", "elm", "oak", "elm", None, "birch"], dtype=object)
    done = run("predict", "leaves-kind.fallline", written(folder, few, "few.csv"))
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 7
    assert "on 3 rows; 2 rows of classes that the model does not know left out" in done.stderr


def test_an_interval_of_a_class_is_refused(folder):
    path = written(folder, leaves())
    run("fit", path, "-t", "kind", *QUICK, "-q")
    done = run("predict", "leaves-kind.fallline", path, "--interval", "0.9")
    assert done.exit_code == 1
    assert "leave out --interval and --std" in done.stderr


def test_minima_and_surface_go_on_the_rows_of_the_fit(folder):
    path = written(folder, leaves())
    run("fit", path, "-t", "kind", *QUICK, "--tol", "0", "-q")
    saved = load_model(folder / "leaves-kind.fallline")
    rows = find_rows(saved, read_table(path))
    assert rows.otherwise == ""  # E at its weights is the one that was recorded
    assert (len(rows.x), len(rows.held_x)) == (72, 18)
    done = run("minima", "leaves-kind.fallline", "--starts", "3", "-o", "minima.svg")
    assert done.exit_code == 0, done.output
    assert "Note" not in done.stderr.replace("Note: No start", "")
    assert "RMSE" not in done.stdout
    done = run("surface", "leaves-kind.fallline", "--points", "5", "-o", "map.svg")
    assert done.exit_code == 0, done.output
    assert (folder / "map.svg").stat().st_size > 0


def test_the_report_shows_figures_confusion_and_calibration(of_leaves):
    page = render_report(report_of(of_leaves, "fallline fit"))
    assert "logistic regression" in page
    assert "Calibration" in page
    assert "Residuals" not in page
    said = json.loads(re.search(r'id="fallline-report">(.*?)</script>', page, re.DOTALL)[1])
    assert set(said["rowsets"][1]["figures"][0]["network"]) == {"accuracy", "brier", "log_loss"}
    table = re.search(r"Which class was predicted.*?</table>", page, re.DOTALL)[0]
    counts = np.array(re.findall(r"<td>(\d+)</td>", table), int).reshape(3, 3)
    held = of_leaves.rowsets[1]
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(held.actual))
    np.testing.assert_array_equal(counts.sum(axis=0), np.bincount(held.probabilities.argmax(axis=1), minlength=3))
    assert np.trace(counts) == (held.probabilities.argmax(axis=1) == held.actual).sum()
    assert told_by_classes(of_leaves.prepared) in page


def changed(column, cells, rows=90):
    columns = leaves(rows)
    columns[column] = np.array(cells(columns[column]), dtype=object)
    return columns


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            lambda kind: ["ash"] * len(kind),
            r"`kind` is 'ash' in all 90 rows, so there is nothing to tell apart: choose a column",
        ),
        (
            lambda kind: ["elm", *kind[1:]],
            r"the class has a single row: 'elm' \(row 1\)\. A class needs two rows or more",
        ),
        (
            lambda kind: ["elm", "fir", "yew", "box", "may", *kind[5:]][:4] + ["ash"] * (len(kind) - 4),
            r"an identifier or free text, not classes, .* Choose another column",
        ),
        (
            lambda kind: [f"leaf {row}" for row in range(len(kind))],
            r"`kind` holds 90 different values in 90 rows: an identifier",
        ),
        (
            lambda kind: [*(f"{row / 7}" for row in range(len(kind) - 1)), "12 cm"],
            r"is a number in most of its 90 rows, but '12 cm' in row 90: correct or empty 1 cell",
        ),
        (lambda kind: [None] * len(kind), r"has 0 rows with a target|has no value in any row"),
    ],
    ids=["one class", "a class of one row", "mostly single rows", "identifier", "numbers with a slip", "no value"],
)
def test_what_is_no_target_of_classes_gets_a_sentence(cells, message):
    with pytest.raises(TableError, match=message):
        prepare(table_of(changed("kind", cells)), ["kind"])


def test_rows_without_a_class_take_no_part_and_are_counted():
    columns = changed("kind", lambda kind: [None, None, *kind[2:]])
    prepared = prepare(table_of(columns), ["kind"])
    assert (prepared.left_out, len(prepared.x) + len(prepared.held_x)) == (2, 88)
    np.testing.assert_array_equal(prepared.y.sum(axis=1), 1)


def test_a_class_of_the_held_out_table_that_no_training_row_has_is_named():
    held = changed("kind", lambda kind: [*kind[:4], "elm", *kind[5:]])
    with pytest.raises(
        TableError, match=r"'elm' of `kind` in row 5 of new\.csv is none of those trained on \(ash, birch"
    ):
        prepare(table_of(leaves()), ["kind"], holdout=table_of(held, "new.csv"))


def test_the_last_rows_of_a_table_in_order_of_its_classes_are_refused():
    columns = leaves()
    order = np.argsort(columns["kind"].astype(str), kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    with pytest.raises(TableError, match=r"'oak' of `kind` in row \d+ of leaves\.csv is none of those trained on"):
        prepare(table_of(columns), ["kind"], holdout="last")


def test_training_rows_of_one_class_are_refused():
    columns = leaves(kinds=("no", "yes"))
    columns["kind"] = np.array(["no"] * 72 + ["yes"] * 18, dtype=object)
    with pytest.raises(TableError, match=r"All training rows have the class 'no' of `kind`.*hold out rows at random"):
        prepare(table_of(columns), ["kind"], holdout="last")


def test_texts_beside_another_target_are_refused():
    with pytest.raises(TableError, match="Classes are told of one target alone"):
        prepare(table_of(leaves()), ["kind", "width"])


def test_an_input_that_is_the_class_is_named_and_left_out():
    columns = leaves()
    columns["code"] = (columns["kind"] == "oak") + 0.0
    columns["oak"] = columns["kind"] == "oak"
    uses = {use.name: use.says for use in prepare(table_of(columns), ["oak"]).columns.uses}
    assert "leaks the target, `code` equals `oak`" in uses["code"]


def test_the_weight_decay_is_found_by_rows_left_out(folder):
    done = run("fit", written(folder, leaves()), "-t", "kind", "--hidden", "3", "--starts", "1")
    assert done.exit_code == 0, done.output
    assert re.search(
        r"Weight decay: alpha = [\d.]+, in standardised units, chosen automatically \(cross-validation", done.stdout
    )
