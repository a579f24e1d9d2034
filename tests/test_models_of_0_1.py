"""Files that fallline 0.1.0 wrote: models predict what they predicted, a pickle gets a sentence (data/models_0.1/make.py)."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from fallline import FalllineError, load_model, read_table
from fallline.cli.main import main
from fallline.plot import PathDisplay

HERE = Path(__file__).parent / "data" / "models_0.1"
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
each = pytest.mark.parametrize("name", EXPECTED)


def model_and_rows(name):
    saved = load_model(HERE / f"{name}.fallline")
    return saved, saved.columns.encode(read_table(HERE / "trees.csv").columns)


@each
def test_an_old_model_predicts_what_it_predicted(name):
    saved, x = model_and_rows(name)
    np.testing.assert_allclose(saved.fitted.predict(x), EXPECTED[name]["prediction"], rtol=1e-12)


@pytest.mark.parametrize("name", [name for name, said in EXPECTED.items() if "interval" in said])
def test_the_intervals_of_an_old_model_are_what_they_were(name):
    saved, x = model_and_rows(name)
    np.testing.assert_allclose(saved.intervals.std(x), EXPECTED[name]["std"], rtol=1e-12)
    np.testing.assert_allclose(saved.intervals.interval(x, 0.95), EXPECTED[name]["interval"], rtol=1e-12)


@each
def test_an_old_model_is_shown_as_it_was_then(name):
    done = CliRunner().invoke(main, ["show", str(HERE / f"{name}.fallline")])
    assert done.exit_code == 0, done.output
    shown, before = (
        [" ".join(line.split()) for line in text.splitlines() if not re.match("─", line)]
        for text in (done.stdout, EXPECTED[name]["show"])
    )
    assert [line.removesuffix(" best") for line in shown] == before  # a mark that came later


@each
def test_the_path_of_an_old_model_is_drawn_whatever_went_down_it(name):
    path = load_model(HERE / f"{name}.fallline").path
    drawn = PathDisplay.from_path(path, ax=Figure().add_subplot())
    np.testing.assert_array_equal(drawn.lines_["error"]["training"].get_ydata(), path.error / path.n_rows)
    assert np.isfinite(path.weights).all()


def test_the_surface_of_an_old_model_is_drawn_over_the_rows_of_its_fit(tmp_path):
    arguments = ["surface", str(HERE / "gauss_newton.fallline"), "--points", "5", "-o", str(tmp_path / "map.svg")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "Note" not in done.stderr  # E at its weights is the one that was recorded
    assert "over the 48 training rows of trees.csv" in done.stdout


def test_an_old_pickle_gets_a_sentence():
    with pytest.raises(FalllineError, match=r"made by fallline 0\.1\.0, .*: fit again, or load it with that version"):
        pickle.loads((HERE / "regressor.pickle").read_bytes())
