"""A prepared table in, the network and its figures out."""

import numpy as np
import pytest
from trees import SETTINGS, tree_table

from fallline.cli import sentences
from fallline.cli.kept import about, report_of
from fallline.cli.rows import prepare
from fallline.cli.table_fit import fit_table
from fallline.descent.gradient import GradientDescent


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


def test_a_descent_that_diverged_ended_badly_and_the_report_says_so(fit):
    bad = fit_table(prepare(tree_table(), ["height"]), descent=GradientDescent(1e6), **SETTINGS)
    assert bad.ended_badly
    assert sentences.stop(bad).endswith("or --learning-rate auto, and standardise the inputs if they are not.")
    assert not fit.ended_badly
    assert report_of(bad, "fallline fit").notes[-1] == sentences.stop(bad)
    assert np.isfinite(bad.rowsets[1].predicted).all()


def test_the_report_has_a_surface_of_the_training_rows(fit):
    surface = report_of(fit, "fallline fit").surface
    assert surface.n_rows == 48
    assert surface.tracks[0].steps[-1] == fit.path.n_steps


@pytest.mark.parametrize(
    "settings", [{"max_iter": 0}, {"hidden_layer_sizes": (20_000,), "descent": "gradient"}], ids=["no step", "large"]
)
def test_the_report_has_no_surface_where_there_is_none_or_it_would_take_long(settings):
    fit = fit_table(prepare(tree_table(), ["height"]), **{**SETTINGS, "max_iter": 1, **settings})
    assert report_of(fit, "fallline fit").surface is None


def test_two_steps_of_a_fit_are_still_descending():
    short = fit_table(prepare(tree_table(), ["height"]), **(SETTINGS | {"max_iter": 2}))
    assert short.verdict.kind == "still descending"
    assert sentences.verdict(short).endswith("Go on with more steps.")
