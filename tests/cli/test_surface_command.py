"""``fallline surface``: the map, what is printed of it, and a sentence where it cannot be drawn."""

import dataclasses
import re

import numpy as np
import pytest
from trees import NUMBER, penalised_by_hand, run, table, tree_table

from fallline.cli.rows import find_rows
from fallline.cli.surface import surface_of
from fallline.model_file import load_model, save_model
from fallline.table.read import read_table

SURFACE = rf"""Error surface of trees-height\.fallline over the 48 training rows of trees\.csv

Plane    first principal direction \([\d.]+ %\); second principal direction \([\d.]+ %\)
Shown    penalised error, E \+ ½ Σ weight decay · weight², a sum over 48 rows in standardised units, 31 × 31 points
Lowest   {NUMBER}, highest {NUMBER}
Minimum  {NUMBER} at \(−?0\.0+, −?0\.0+\)
Others   .* on the map.*

The plane holds [\d.]+ % of the way; the error drawn under it is the plane's: .* and the true error at its best point\.

Picture  trees-height-surface\.png
"""


def test_a_surface_is_drawn_beside_the_model_and_summed_up(folder, fitted):
    done = run("surface", "trees-height.fallline", "--points", "31")
    assert done.stderr == ""
    said = re.fullmatch(SURFACE, done.stdout)
    assert said, done.stdout
    lowest, highest, minimum = (float(number.replace(",", "")) for number in said.groups())
    at_model = penalised_by_hand(fitted, read_table("trees.csv"))
    assert lowest == minimum == pytest.approx(at_model, rel=1e-3)  # 20 steps bring it near
    assert lowest <= at_model * (1 + 2e-4) < highest  # of four digits
    assert (folder / "trees-height-surface.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--plane", "random", "--seed", "3"], "Plane    random direction 1; random direction 2"),
        (["--plane", "curvature"], r"Plane    stiffest direction \(λ = .*\); softest direction \(λ = .*\)"),
        (["--weights", "age->h1", "h2->y1"], "Plane    weight age->h1; weight h2->y1"),
        (["--weights", "0", "12"], "Plane    weight age->h1; weight bias->y1"),
        (["--error"], "Shown    error E, a sum over 48 rows in standardised units, 11 × 11 points"),
        (["--penalised"], "Shown    penalised error, .*"),
        (["--extent", "1", "2", "1", "2"], "Minimum  none on this map: .*"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_surface_shows_the_plane_and_the_error_that_were_asked_for(folder, fitted, options, line):
    done = run("surface", "trees-height.fallline", "--points", "11", "-o", "map.svg", *options)
    assert done.exit_code == 0, done.output
    assert re.search(rf"^{line}$", done.stdout, re.M), done.stdout
    assert (folder / "map.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--plane", "path", "--weights", "age->h1", "h2->y1"], 2, "leave out --plane"),
        (["--extent", "1", "0", "0", "1"], 2, "such as --extent -1 1 -2 2"),
        (["--points", "1"], 2, "--points"),
        (["--weights", "age->h1", "hight->h1"], 1, "there is no weight 'hight->h1': the model has 13, by name age->h1, "),
        (["--weights", "age->h1", "age->h1"], 1, "named twice"),
        (["-o", "map.jpg"], 1, "choose a name that ends in .png, .svg or .pdf"),
        (["-o", "trees.csv"], 1, "choose a name that ends in"),
        (["-o", "theirs.png"], 1, "theirs.png exists and was not written by fallline: move it away"),
        (["-o", "trees.csv/map.png"], 1, "cannot be written"),
    ],
)  # fmt: skip
def test_a_surface_that_cannot_be_drawn_gets_a_sentence(folder, fitted, arguments, code, word):
    (folder / "theirs.png").write_bytes(b"\x89PNG of somebody else")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run("surface", "trees-height.fallline", *arguments)
    assert done.exit_code == code, done.output
    assert word in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_surface_without_a_way_names_the_option_to_take(folder):
    run(
        "fit",
        table(folder),
        "-t",
        "height",
        "--hidden",
        "2",
        "--max-iter",
        "1",
        "--tol",
        "0",
        "-q",
        "--alpha",
        "0",
        "--starts",
        "1",
    )
    saved = load_model(folder / "trees-height.fallline")
    still = dataclasses.replace(
        saved.path, weights=saved.fitted.weights[None, :], weight_steps=np.array([saved.path.best_step])
    )
    save_model(dataclasses.replace(saved, path=still), folder / "trees-height.fallline")
    done = run("surface", "trees-height.fallline")
    assert done.exit_code == 1
    assert "choose another plane, such as --plane random." in done.stderr


def test_a_surface_is_drawn_again_in_its_own_place(folder, fitted):
    first = run("surface", "trees-height.fallline", "--points", "5")
    content = (folder / "trees-height-surface.png").read_bytes()
    assert run("surface", "trees-height.fallline", "--points", "5").stdout == first.stdout
    assert (folder / "trees-height-surface.png").read_bytes() == content


def test_other_rows_than_those_of_the_fit_are_told(folder, fitted):
    table(folder, rows=40, name="few.csv")
    done = run("surface", "trees-height.fallline", "few.csv", "--points", "5")
    assert done.exit_code == 0, done.output
    assert "Note: few.csv has 40 rows with a target, and the model was fitted on a table with 60" in done.stderr
    assert "The rows of this map are not those of the way" in done.stdout


def test_a_surface_goes_through_the_saved_weights_with_the_error_of_the_fit(saved):
    surface = surface_of(saved, find_rows(saved, tree_table()), ("age->h1", "number->h2"), points=5, penalised=False)
    at = list(saved.path.steps).index(saved.path.best_step)
    assert surface.tracks[0].plane_error[-1] == pytest.approx(saved.path.error[at], rel=1e-9)
    assert surface.n_rows == 48


def test_a_surface_of_a_path_without_weights_is_drawn_around_the_model(saved):
    path = dataclasses.replace(saved.path, weights=np.zeros((0, 13)), weight_steps=np.zeros(0, int))
    surface = surface_of(dataclasses.replace(saved, path=path), find_rows(saved, tree_table()), points=5)
    assert (surface.plane.kind, surface.tracks, surface.penalised) == ("random", (), True)
