"""What the places say is what the library says, and by hand."""

import http.client
import json
import math

import numpy as np
import pytest

from fallline import (
    GradientDescent,
    InMemory,
    LevenbergMarquardt,
    Network,
    descend,
    find_basins,
    load_model,
    read_table,
    save_model,
)
from fallline.explore import data, local_minima
from fallline.explore.messages import read_frame
from fallline.explore.work import Opened, Work

METHODS = {
    "plain": GradientDescent(0.4),
    "momentum": GradientDescent(0.4, 0.7),
    "nesterov": GradientDescent(0.4, 0.7, nesterov=True),
    "levenberg-marquardt": LevenbergMarquardt(),
}


def rows_of(name, activation):
    pairs = data.SETS[name]()
    return InMemory(pairs.x, data.within_reach(pairs.t, activation))


@pytest.mark.parametrize(
    ("formula", "x", "slope"),
    [("x^2", 2.0, 4.0), ("x^4/4 - x^2 + x/5", -1.0, 1.2), ("sin(2*x) + x/3", 0.0, 2 + 1 / 3), ("exp(x)", 1.0, math.e)],
)
def test_a_slope_is_the_derivative(line, formula, x, slope):
    said, arrays = line.ask("slope", formula=formula, x=x, rate=0.1, momentum=0, steps=3, window=[-3, 3])
    assert said["slope"] == pytest.approx(slope, rel=1e-12)
    assert said["next"][0] == pytest.approx(x - 0.1 * slope, rel=1e-12)
    assert arrays["way_x"][1] == pytest.approx(x - 0.1 * slope, rel=1e-12)


@pytest.mark.parametrize(("rate", "diverged"), [(0.1, False), (0.9, False), (1.1, True)])
def test_on_a_parabola_rates_beyond_one_diverge(line, rate, diverged):
    said, arrays = line.ask("slope", formula="x^2", x=1, rate=rate, momentum=0, steps=20, window=[-3, 3])
    assert said["diverged"] is diverged
    np.testing.assert_allclose(arrays["way_x"], (1 - 2 * rate) ** np.arange(21), rtol=1e-9)


@pytest.mark.parametrize("formula", ["x +", "y^2", "__import__('os')", "log(x)"])
def test_what_is_no_curve_at_that_point_is_refused_in_a_sentence(line, formula):
    said, _ = line.ask("slope", formula=formula, x=-1, rate=0.1, momentum=0, steps=3, window=[-3, 3])
    assert said["error"].endswith(".")


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", "softplus", "gaussian"])
def test_the_ways_are_those_of_the_library(line, activation):
    said, arrays = line.ask(
        "two-weights walk",
        data="valley",
        activation=activation,
        start=[-0.7, 0.9],
        rate=0.4,
        momentum=0.7,
        steps=60,
        methods=list(METHODS),
    )
    neuron = Network((2, 1), output_activation=activation, bias=False)
    for name, descent in METHODS.items():
        path = descend(neuron, rows_of("valley", activation), descent, weights=[-0.7, 0.9], max_iter=60)
        found = arrays[f"{name} weights"]
        np.testing.assert_allclose(found, path.weights, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(arrays[f"{name} error"], path.error, rtol=1e-9, atol=1e-12)
        assert said["paths"][name]["steps"] == path.n_steps


def test_the_marks_are_the_limits_at_the_minimum(line):
    look, arrays = line.ask("two-weights", data="valley", activation="identity")
    rows = rows_of("valley", "identity")
    minimum = np.linalg.lstsq(rows.x, rows.y, rcond=None)[0][:, 0]
    largest, least = np.linalg.eigvalsh(rows.x.T @ rows.x / 200)[::-1]
    np.testing.assert_allclose(look["minimum"]["at"], minimum, rtol=1e-6)
    assert look["limit"] == pytest.approx(2 / largest)
    assert look["best"]["momentum"][1] == pytest.approx(
        ((math.sqrt(largest / least) - 1) / (math.sqrt(largest / least) + 1)) ** 2
    )
    said, _ = line.ask(
        "two-weights walk",
        data="valley",
        activation="identity",
        start=[1, 1],
        rate=0.1,
        momentum=0.5,
        steps=5,
        methods=["plain"],
    )
    assert said["limits"]["momentum"] == pytest.approx(2 * 1.5 / largest)
    assert arrays["error"].shape == (81, 81)
    here = 0.5 * np.sum((rows.y[:, 0] - rows.x @ [arrays["axis"][70], arrays["axis"][3]]) ** 2)
    assert arrays["error"][3, 70] == pytest.approx(here, rel=1e-6)


@pytest.mark.parametrize("method", ["plain", "momentum", "nesterov"])
@pytest.mark.parametrize(("times", "diverges"), [(0.95, False), (1.1, True)])
def test_above_a_mark_a_way_diverges_and_below_it_does_not(line, method, times, diverges):
    ask = {
        "data": "valley",
        "activation": "identity",
        "start": [-2, 2],
        "momentum": 0.6,
        "steps": 400,
        "methods": [method],
    }
    said, _ = line.ask("two-weights walk", rate=0.1, **ask)
    rate = times * said["limits"][method]
    said, arrays = line.ask("two-weights walk", rate=rate, **ask)
    assert bool(arrays[f"{method} error"][-1] > arrays[f"{method} error"][0]) is diverges
    assert (said["paths"][method]["diverged"] is not None) is diverges


def test_the_numbers_of_a_row_add_up(line):
    weights, total, gradient = np.array([0.6, -0.3]), 0.0, np.zeros(2)
    for row in range(1, 201):
        said, _ = line.ask("two-weights row", data="clouds", activation="logistic", weights=weights.tolist(), row=row)
        x, y = np.array(said["x"]), said["y"]
        predicted = 1 / (1 + math.exp(-(x @ weights)))
        assert said["predicted"] == pytest.approx(predicted, rel=1e-12)
        assert said["residual"] == pytest.approx(y - predicted, rel=1e-9)
        assert said["half_square"] == pytest.approx(0.5 * (y - predicted) ** 2, rel=1e-9)
        np.testing.assert_allclose(said["gradient"], -(y - predicted) * predicted * (1 - predicted) * x, rtol=1e-9)
        total, gradient = total + said["half_square"], gradient + said["gradient"]
    assert said["total"] == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(said["total_gradient"], gradient, rtol=1e-9)


def test_two_columns_of_the_table_make_a_map(table_server, table, line_to):
    columns = read_table(table).columns
    x = np.stack([columns["girth"], columns["age"]], axis=1)
    x, y = ((each - each.mean(axis=0)) / each.std(axis=0) for each in (x, columns["height"]))
    with line_to(table_server) as line:
        said, _ = line.ask(
            "two-weights", data="table", activation="identity", first="girth", second="age", target="height"
        )
        refused, _ = line.ask(
            "two-weights", data="table", activation="identity", first="girth", second="kind", target="height"
        )
        twice, _ = line.ask(
            "two-weights", data="table", activation="identity", first="girth", second="girth", target="height"
        )
    np.testing.assert_allclose(said["minimum"]["at"], np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-6)
    assert said["inputs"] == ["girth", "age"]
    assert "fewer than three columns" in refused["error"] or "kind" in refused["error"]
    assert "three columns" in twice["error"]


def test_of_four_rows_all_four_minima_are_on_the_map(line):
    said, _ = line.ask("local-minima", neuron="four")
    hollow = local_minima.SETS["four"]()
    for minimum in said["minima"]:
        output = 1 / (1 + np.exp(-hollow.x @ minimum["at"]))
        residual = hollow.y[:, 0] - output
        assert minimum["error"] == pytest.approx(0.5 * float(residual @ residual), rel=1e-9)
        np.testing.assert_allclose((residual * output * (1 - output)) @ hollow.x, 0, atol=1e-6)
    assert len(said["minima"]) == 4


def test_basins_are_those_of_the_library(line):
    said, arrays = line.ask("local-minima basins", neuron="two", rate=1, momentum=0.8, points=15)
    hollow = local_minima.SETS["two"]()
    found = find_basins(
        Network((2, 1), output_activation="logistic", bias=False), (hollow.x, hollow.y),
        {"plain": GradientDescent(1.0), "momentum": GradientDescent(1.0, 0.8)}, extent=hollow.extent, points=15, max_iter=500,
    )  # fmt: skip
    np.testing.assert_array_equal(arrays["plain"] == 0, found.index["plain"] == 0)
    np.testing.assert_array_equal(arrays["saved"], found.saved("momentum", "plain"))
    assert said["counts"]["momentum"][0] == int((found.index["momentum"] == 0).sum())


@pytest.mark.parametrize(("start", "plain"), [([0.3, -1.0], 0), ([-3.0, -3.0], 1)], ids=["to the lowest", "caught"])
def test_a_way_ends_where_the_map_is_painted(line, start, plain):
    ask = {"neuron": "two", "rate": 1, "momentum": 0.8}
    said, _ = line.ask("local-minima walk", start=start, **ask)
    _, arrays = line.ask("local-minima basins", points=13, **ask)
    row, column = round(start[1]) + 6, round(start[0]) + 6
    assert said["paths"]["plain"]["ends"] in (plain, arrays["plain"][row, column])


@pytest.fixture(scope="module")
def trained(table_server, line_to):
    with line_to(table_server) as line:
        said, arrays = line.ask("network train", target="height", hidden="3", starts=1, descent="auto", seed=0)
        yield line, said, arrays


def test_a_fit_tells_on_the_way_and_ends_with_figures_of_rows_it_has_not_seen(trained):
    line, said, arrays = trained
    told = [each for each in line.news if each.get("news") == "step"]
    assert told
    assert told[-1]["errors"]["training"] < told[0]["errors"]["training"]
    rmse = math.sqrt(np.mean((arrays["actual"] - arrays["predicted"]) ** 2))
    assert said["figures"]["held-out"][0]["network"]["rmse"] == pytest.approx(rmse, rel=1e-9)
    assert rmse < 0.6
    assert said["command"] == "fallline fit trees.csv --target height --hidden 3 --starts 1"
    assert said["importance"]["names"][0] in ("girth", "kind")


def test_the_ground_of_a_fit_has_its_way_on_it(trained):
    line, said, _ = trained
    ground, arrays = line.ask("network surface", plane="auto")
    assert len(arrays["way"]) == len(arrays["way_steps"])
    assert ground["rows"] == 72
    assert arrays["way_steps"][-1] == said["steps"]
    low = [arrays["first"].min(), arrays["second"].min()]
    assert (arrays["way"] >= low).all()


def test_what_if_is_what_the_model_file_predicts(trained, table_server, table, tmp_path):
    line, said, _ = trained
    address = http.client.HTTPConnection("127.0.0.1", table_server.port)
    query = f"{table_server.url.split('?')[1]}&session={line.said['session']}"
    for name, begins in (
        ("model", None),
        ("report.html", b"<!doctype html>"),
        ("surface.svg", b"<?xml"),
        ("predicted.png", b"\x89PNG"),
    ):
        address.request("GET", f"/file/{name}?{query}")
        answer = address.getresponse()
        content = answer.read()
        assert answer.status == 200
        assert "trees-height" in answer.headers["Content-Disposition"]
        assert begins is None or content[:20].lower().startswith(begins.lower())
        if name == "model":
            (tmp_path / "m.fallline").write_bytes(content)
    address.close()
    saved = load_model(tmp_path / "m.fallline")
    kinds = next(each for each in said["inputs"] if each["name"] == "kind")["choices"]
    found, arrays = line.ask(
        "network what-if",
        output=0,
        values={"girth": 2.5, "age": 30, "kind": kinds.index("oak")},
        first="girth",
        second="age",
    )
    row = {"girth": np.array([2.5]), "age": np.array([30.0]), "kind": np.array(["oak"], object)}
    assert found["predicted"] == pytest.approx(saved.fitted.predict(saved.columns.encode(row))[0, 0], rel=1e-12)
    assert found["low"] < found["predicted"] < found["high"]
    corner = {"girth": arrays["first"][-1:], "age": arrays["second"][:1], "kind": np.array(["oak"], object)}
    assert arrays["map"][0, -1] == pytest.approx(saved.fitted.predict(saved.columns.encode(corner))[0, 0], rel=1e-6)


def test_minima_of_a_fit_are_in_order_and_say_where_it_stands(trained):
    line, _, _ = trained
    said, _ = line.ask("network minima", starts=4)
    errors = [each["error"] for each in said["minima"]]
    assert errors == sorted(errors)
    assert said["starts"] == 4
    assert said["own_error"] >= min(errors) * (1 - 1e-9)


def test_a_model_file_opens_with_its_rows_and_a_table_brings_them_where_they_are_gone(
    trained, table_server, table, tmp_path, line_to
):
    line, *_ = trained
    model = tmp_path / "trees.fallline"
    session = next(each for each in table_server._explorer.sessions.values() if each.id == line.said["session"])
    save_model(session.work.trained.saved, model)
    lost = Opened.of(model)
    assert lost.trained is None
    assert "drop that table here" in lost.note
    work = Work(lost)
    work.open(table)
    assert work.trained.data.otherwise == ""
    np.testing.assert_allclose(
        work.trained.predict(work.trained.data.x[:5]), session.work.trained.predict(session.work.trained.data.x[:5])
    )


def test_classes_are_told_by_probabilities(table_server, line_to):
    with line_to(table_server) as line:
        said, _ = line.ask("network train", target="kind", hidden="2", starts=1, descent="auto", seed=0)
        assert said["classes"] == ["ash", "oak"]
        assert np.sum(said["confusion"]) == 18
        for output in (0, 1):
            found, arrays = line.ask("network what-if", output=output, values={}, first="girth", second="height")
            assert 0 <= found["predicted"] <= 1
            assert 0 <= arrays["map"].min() <= arrays["map"].max() <= 1


def test_a_fit_that_is_stopped_keeps_the_best_so_far(table_server, line_to):
    ask = {"target": "height", "hidden": "auto", "descent": "auto", "seed": 0}
    with line_to(table_server) as line:
        line.socket.send(json.dumps({"id": 500, "do": "network train", **ask}))
        while read_frame(line.socket.recv(timeout=60))[1].get("news") != "step":
            pass
        refused, _ = line.ask("network train", **ask)
        line.ask("network stop")
        assert "a fit is under way" in refused["error"]
        said = {}
        while "stop" not in said:
            _, said, _ = read_frame(line.socket.recv(timeout=60))
    assert "Stopped as asked" in said["stop"]
    assert said["figures"]["held-out"][0]["network"]["rmse"] > 0
