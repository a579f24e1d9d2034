"""What the model file and the report keep of a fit."""

import json
from dataclasses import replace

from trees import SETTINGS, tree_table

from fallline.cli import sentences
from fallline.cli.kept import about, report_of, saved_of
from fallline.cli.rows import prepare
from fallline.cli.table_fit import fit_table
from fallline.report import render_report


def test_what_a_model_file_says_is_json_and_the_same_each_time(fit):
    again = fit_table(prepare(tree_table(), ["height"]), **SETTINGS)
    said = [json.dumps(about(each, "fallline fit", 0), allow_nan=False) for each in (fit, again)]
    assert said[0] == said[1]
    assert json.loads(said[0])["read"] == {"age": "decimal commas"}


def test_the_curve_has_every_step_of_every_set_of_rows(fit):
    curve = saved_of(fit, "fallline fit", 0).curve
    assert set(curve) == {"step", "training", "held-out"}
    assert {len(values) for values in curve.values()} == {fit.path.n_steps + 1}


def test_the_report_carries_effort_and_weight_decay(fit):
    report = report_of(fit, "fallline fit", (("Seed", "0"),))
    assert dict(report.way)["Effort"] == sentences.effort(fit)
    assert dict(report.way)["Weight decay"] == "alpha = 0.1, in standardised units."
    assert report.intervals.startswith(sentences.intervals(fit))
    assert dict(report.facts)["Seed"] == "0"


def test_rows_that_a_fit_held_out_inside_are_no_curve_of_the_report(fit):
    watched = {**fit.path.watched, "held out inside": fit.path.error}
    inside = replace(fit, path=replace(fit.path, watched=watched))
    report = report_of(inside, "fallline fit")
    assert set(report.watched_error) == {"held-out"}
    assert "held-out" in render_report(report)


def test_the_verdict_is_in_the_report_and_in_what_a_model_file_says(fit):
    assert fit.verdict.findings.startswith(("A ", "Still ", "Running "))
    assert ("Verdict", sentences.verdict(fit)) in report_of(fit, "fallline fit").way
    assert about(fit, "fallline fit", 0)["verdict"] == sentences.verdict(fit)
