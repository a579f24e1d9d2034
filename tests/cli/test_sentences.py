"""What is said of a fit."""

import dataclasses

import pytest
from trees import SETTINGS, tree_table

from fallline.cli import sentences
from fallline.cli.rows import prepare
from fallline.cli.table_fit import fit_table
from fallline.descent.gradient import GradientDescent


def test_the_effort_counts_what_the_path_counts(fit):
    assert sentences.effort(fit).startswith(f"{fit.path.n_steps} steps, {fit.path.n_passes} passes over the rows in ")
    assert fit.seconds > fit.path.seconds


def test_a_descent_says_whether_it_was_asked_for(fit):
    assert sentences.descent(fit).startswith("Levenberg–Marquardt, because the network is small")
    asked = fit_table(prepare(tree_table(), ["height"]), descent=GradientDescent(0.01), **SETTINGS)
    assert sentences.descent(asked) == "GradientDescent(learning_rate=0.01), as asked."


@pytest.mark.parametrize("alpha", [{}, {"alpha": "evidence"}], ids=["by default", "as asked"])
def test_a_weight_decay_that_was_found_says_so(alpha):
    found = fit_table(prepare(tree_table(), ["height"]), hidden_layer_sizes=(3,), max_iter=20, n_starts=1, **alpha)
    assert sentences.decay(found).startswith("chosen automatically (Bayesian regularisation). The data determine ")


def test_a_network_of_which_the_rows_determine_all_or_little_is_too_small_or_needlessly_large():
    ready = prepare(tree_table(), ["height"])
    small, large = (fit_table(ready, hidden_layer_sizes=(size,), n_starts=1) for size in (1, 30))
    larger = "Nearly all weights are needed: a larger network may fit better (--hidden 2 or auto)."
    assert sentences.decay(small).endswith(larger)
    assert "Few of the weights are needed: a smaller network would do (--hidden " in sentences.decay(large)


def test_a_network_whose_width_was_chosen_by_its_evidence_says_so():
    grown = fit_table(prepare(tree_table(), ["height"]), n_starts=1)
    assert sentences.network(grown).endswith(" weights; width chosen by rows left out")
    assert "needed" not in sentences.decay(grown)


def test_the_mean_of_several_starts_says_of_how_many_and_where_they_ended():
    several = fit_table(prepare(tree_table(), ["height"]), **SETTINGS | {"n_starts": 3})
    single = fit_table(prepare(tree_table(), ["height"]), **SETTINGS)
    minima = len({start.minimum for start in several.fitted.starts})
    assert sentences.starts(several) == (
        f"The prediction averages 3 networks from random starts; they reached {minima} different minima. The plots show start "
        f"{several.fitted.starts.shown + 1}."
    )
    assert sentences.starts(single) == ""
    passes = sum(start.passes for start in several.fitted.starts)
    assert f"all walks of the fit, {passes} passes" in sentences.effort(several)


def test_a_weight_decay_for_too_few_rows_to_see_the_noise_by_is_a_light_one():
    few = fit_table(prepare(tree_table(9), ["height"], holdout=0), hidden_layer_sizes=(1,), max_iter=5)
    assert sentences.decay(few) == "alpha = 0.1, in standardised units."


def test_settings_in_a_verdict_are_spelled_as_on_the_command_line(fit):
    runs = dataclasses.replace(fit.verdict, kind="running away", point="still descending")
    assert "--alpha 0.01" in sentences.verdict(dataclasses.replace(fit, verdict=runs))
