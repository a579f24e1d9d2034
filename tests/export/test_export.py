"""Every export is really run, and predicts what the model predicts, for every kind of column and activation."""

import datetime
import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fallline import NetworkClassifier, NetworkRegressor, export
from fallline.exceptions import OutputError, SettingsError
from fallline.export.program import program_of
from fallline.model.formula import read_formula

EPOCH = datetime.datetime(1970, 1, 1)


def days(moment):
    return (moment - EPOCH) / datetime.timedelta(days=1)


def module_of(text, path):
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("exported", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_python_module_predicts_as_the_model(case, tmp_path):
    module = module_of(export.python(case.model), tmp_path / "exported.py")
    found = np.array([list(module.predict(row).values()) for row in case.records()])
    np.testing.assert_allclose(found, case.predicted, rtol=1e-12, atol=1e-12)
    as_text = [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in case.records()]
    np.testing.assert_array_equal([list(module.predict(row).values()) for row in as_text], found)


def test_a_python_module_needs_nothing_but_python(tmp_path):
    model = NetworkRegressor(hidden_layer_sizes=(2,), n_starts=1).fit(
        [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 0.0, 1.0]
    )
    (tmp_path / "exported.py").write_text(export.python(model), encoding="utf-8")
    code = (
        "import sys; sys.path.insert(0, '.'); import exported; print(exported.predict({'x1': 1.5})); "
        "print({'numpy', 'fallline'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    predicted, loaded = ran.stdout.splitlines()
    assert float(re.search(r": (.*)}", predicted)[1]) == pytest.approx(model.predict([[1.5]])[0], rel=1e-12)
    assert loaded == "set()"


def test_spellings_that_can_be_only_one_category_are_that_in_a_python_module(tmp_path, case):
    module = module_of(export.python(case.model), tmp_path / "exported.py")
    row = case.records()[10] | {"kind": "oak"}
    assert module.predict(row | {"kind": " OAK "}) == module.predict(row)
    assert (
        module.predict(row | {"kind": 7})
        == module.predict(row | {"kind": "007"})
        == module.predict(row | {"kind": "7"})
    )
    with pytest.raises(ValueError, match="finite"):
        module.predict(row | {"1e9": float("inf")})


def onnx_predictions(content, frame):
    import onnxruntime

    session = onnxruntime.InferenceSession(content)
    feed = {}
    for given in session.get_inputs():
        cells = [None if cell != cell else cell for cell in frame[given.name].tolist()]
        if given.type == "tensor(string)":
            feed[given.name] = np.array([[cell or ""] for cell in cells], object)
        else:
            numbers = [
                np.nan if cell is None else days(cell) if isinstance(cell, datetime.datetime) else cell
                for cell in cells
            ]
            feed[given.name] = np.array(numbers, np.float64)[:, None]
    return session.run(None, feed)


def test_an_onnx_model_predicts_as_the_model(case):
    *labels, found = onnx_predictions(export.onnx(case.model), case.rows)
    np.testing.assert_allclose(found, case.predicted, rtol=1e-11, atol=1e-11)
    if labels:
        assert labels[0].tolist() == case.model.predict(case.rows).tolist()


def test_an_onnx_model_of_numbers_has_one_input(tmp_path):
    import onnxruntime

    x = np.random.default_rng(0).normal(size=(60, 3)) * [1, 1e6, 1e-6] + [0, 1e9, 0]
    model = NetworkRegressor(hidden_layer_sizes=(4,), n_starts=1, random_state=0).fit(x, np.sin(x[:, 0]))
    export.write(model, tmp_path / "m.onnx", "onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    np.testing.assert_allclose(session.run(None, {"X": x})[0][:, 0], model.predict(x), rtol=1e-11)


@pytest.mark.parametrize("estimator", [NetworkRegressor, NetworkClassifier])
@pytest.mark.parametrize("labels", [np.array([3, 7, 9]), np.array(["a", "b", "c"])], ids=["numbers", "texts"])
def test_skl2onnx_converts_a_pipeline(estimator, labels):
    import onnxruntime
    from skl2onnx import to_onnx

    export.register_skl2onnx()
    x = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    number = np.digitize(x[:, 0], [-0.5, 0.5])
    y = labels[number] if estimator is NetworkClassifier else np.sin(x[:, 0])
    model = make_pipeline(
        StandardScaler(), estimator(hidden_layer_sizes=(3,), n_starts=1, alpha=0.01, random_state=0)
    ).fit(x, y)
    zipmap = {"options": {id(model.steps[-1][1]): {"zipmap": False}}} if estimator is NetworkClassifier else {}
    session = onnxruntime.InferenceSession(to_onnx(model, x[:1], **zipmap).SerializeToString())
    *classes, found = session.run(None, {"X": x})
    wanted = model.predict_proba(x) if classes else model.predict(x)[:, None]
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    if classes:
        assert (
            classes[0] == model.predict(x)
        ).mean() > 0.97  # where two classes are as likely, float32 may choose the other


def inputs_of(case):
    """The encoded inputs of the rows by name."""
    columns = case.model.columns_
    block = {name: values.to_numpy() for name, values in case.rows.items()}
    block["when"] = block["when"].astype("datetime64[us]")
    return dict(zip(columns.encoded_names, columns.encode(block).T, strict=True))


def outputs_by(lines, values):
    for line in lines:
        left, _, right = line.partition(" = ")
        values[left.strip("`")] = read_formula(right)(values)
    return values


def test_the_formulas_of_a_text_predict_as_the_model(case):
    lines = [line for line in export.text(case.model).splitlines() if not line.startswith("#")]
    found = outputs_by(lines, inputs_of(case))
    fitted = case.model._fitted
    names = program_of(case.model).outputs[-fitted.network.outputs :]
    wanted = fitted.predict(np.column_stack(list(inputs_of(case).values())))
    np.testing.assert_allclose(
        np.column_stack([found[name] * np.ones(len(wanted)) for name in names]), wanted, rtol=1e-9, atol=1e-9
    )


def test_latex_says_the_same_to_six_digits():
    x = np.random.default_rng(0).normal(size=(80, 2))
    model = NetworkRegressor(hidden_layer_sizes=(3,), n_starts=1, alpha=0.1, random_state=0).fit(x, x[:, 0] * x[:, 1])
    text = export.latex(model)
    lines = re.search(r"\\begin\{align\*\}\n(.*)\n\\end\{align\*\}", text, re.DOTALL)[1].split(" \\\\\n")
    values = {"x1": x[:, 0], "x2": x[:, 1]}
    for line in lines:
        left, _, right = line.partition(" &= ")
        plain = (
            re.sub(r"\\text\{([^}]*)\}", r"\1", right)
            .replace(r"\,", "*")
            .replace(r" \cdot 10^{", "e")
            .replace(r"\left", "")
        )
        plain = re.sub(r"e(-?\d+)\}", r"e\1", plain).replace(r"\right", "").replace(r"\tanh", "tanh")
        name = re.sub(r"\\text\{([^}]*)\}", r"\1", left)
        values[re.sub(r"h_\{(\d+)\}", r"h\1", name)] = read_formula(re.sub(r"h_\{(\d+)\}", r"h\1", plain))(values)
    np.testing.assert_allclose(values["y"], model.predict(x), rtol=1e-3, atol=1e-4)


def test_one_network_of_a_combination_is_written_by_itself(tmp_path):
    x = np.random.default_rng(0).normal(size=(80, 2))
    model = NetworkRegressor(hidden_layer_sizes=(3,), n_starts=4, random_state=0).fit(x, np.sin(x[:, 0] * x[:, 1]))
    assert model._fitted.members == 4
    module = module_of(export.python(model, single=True), tmp_path / "exported.py")
    found = [module.predict(dict(zip(("x1", "x2"), row, strict=True)))["y"] for row in x.tolist()]
    np.testing.assert_allclose(found, model._fitted.alone().predict(x)[:, 0], rtol=1e-12)
    assert np.abs(found - model.predict(x)).max() > 1e-6
    assert len(export.text(model, single=True)) < 0.5 * len(export.text(model))


def test_names_are_made_words_and_stay_apart(case):
    from fallline.export.c_header import words_of

    words = words_of(["double", "a b", "a-b", "1e9", "größe", "", "a_b_2"])
    assert len(set(words)) == len(words)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", word) for word in words)
    assert "double" not in words


HOSTILE = [
    "*/ int evil(void); /*",
    '"""; import os',
    "'); system('rm'); ('",
    "=cmd|' /C calc'!A0",
    "\\input{/etc/passwd}",
    "a\nb",
]


def test_names_and_categories_cannot_break_out(tmp_path):
    random = np.random.default_rng(0)
    import pandas as pd

    frame = pd.DataFrame({name: random.normal(size=80) for name in HOSTILE})
    frame["kind"] = np.array(random.choice(HOSTILE, 80), object)
    model = NetworkRegressor(hidden_layer_sizes=(2,), n_starts=1, random_state=0).fit(
        frame, frame[HOSTILE[0]].to_numpy()
    )
    module = module_of(export.python(model), tmp_path / "exported.py")
    found = [next(iter(module.predict(row).values())) for row in frame.to_dict("records")]
    np.testing.assert_allclose(found, model.predict(frame), rtol=1e-11, atol=1e-11)
    header = export.c(model)
    outside = re.sub(r'/\*.*?\*/|"(?:[^"\\]|\\.)*"', "", header, flags=re.DOTALL)
    assert "evil" not in outside.replace("x_int_evil_void", "").replace("int_evil_void", "")
    assert "\\input" not in re.sub(r"\\textbackslash\{\}input", "", export.latex(model))


def test_what_cannot_be_exported_is_told(tmp_path):
    with pytest.raises(SettingsError, match="LinearRegression cannot be exported"):
        export.python(LinearRegression())
    model = NetworkRegressor(hidden_layer_sizes=(2,), n_starts=1).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
    with pytest.raises(SettingsError, match="did you mean 'matlab'"):
        export.write(model, tmp_path / "m.m", "matlb")
    with pytest.raises(SettingsError, match="no name of a function"):
        export.matlab(model, "1st")
    with pytest.raises(OutputError):
        export.write(model, tmp_path / "missing" / "m.py", "python")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    model = NetworkRegressor(hidden_layer_sizes=(2,), n_starts=1).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match=r"pip install 'fallline\[onnx\]'"):
        export.write(model, tmp_path / "m.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_the_public_names_of_the_room_are_its_targets():
    assert set(export.TARGETS) | {"write", "register_skl2onnx"} == set(export.__all__)
