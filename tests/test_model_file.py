import dataclasses
import json
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from matplotlib.figure import Figure

from fallline.descent.adam import Adam
from fallline.exceptions import ModelFileError, OutputError, ShapeError
from fallline.fit.fitted import FittedNetwork
from fallline.fit.network_fit import fit_network
from fallline.fit.settings import Settings
from fallline.model.network import Network
from fallline.model_file import SavedModel, SavedPath, load_model, parse_model, save_model
from fallline.plot import PathDisplay
from fallline.rows.memory import InMemory
from fallline.sure.fitted_intervals import FittedIntervals, intervals_of_fit
from fallline.sure.intervals import Intervals, Member, intervals_of
from fallline.table.columns import Columns
from fallline.table.scaling import Scaling
from fallline.walk.loop import descend
from fallline.walk.tree import digest_of


@pytest.fixture
def model(random):
    x, y = random.normal(size=(40, 2)), random.normal(size=(40, 1))
    kind = np.array(["ash", "oak"] * 20, dtype=object)
    columns = Columns.fit([{"a": x[:, 0], "ü b": x[:, 1], "kind": kind, "y": y[:, 0]}], ["y"])
    inputs = len(columns.encoded_names)
    network = Network((inputs, 3, 1), "softplus")
    scaling = Scaling(random.normal(size=inputs), np.ones(inputs), np.array([3.0]), np.array([0.1]))
    curve = {"step": np.arange(5.0), "training": random.uniform(size=5), "held-out": random.uniform(size=5)}
    return SavedModel(
        FittedNetwork(network, network.initial(1), scaling), columns, curve, {"seed": 1, "command": "fallline fit"}
    )


@pytest.fixture
def content(model, tmp_path):
    save_model(model, tmp_path / "m.fallline")
    return (tmp_path / "m.fallline").read_bytes()


def test_what_is_read_is_what_was_written_to_the_last_bit(model, content):
    again = parse_model(content)
    assert again.fitted.network == model.fitted.network
    assert again.fitted.weights.tobytes() == model.fitted.weights.tobytes()
    assert again.columns == model.columns
    assert again.about == model.about
    for ours, theirs in (
        (again.curve, model.curve),
        (again.fitted.scaling.to_arrays(), model.fitted.scaling.to_arrays()),
    ):
        assert {name: array.tobytes() for name, array in ours.items()} == {
            name: array.tobytes() for name, array in theirs.items()
        }


def test_the_same_model_is_the_same_bytes(model, content, tmp_path):
    save_model(model, tmp_path / "again.fallline")
    assert (tmp_path / "again.fallline").read_bytes() == content


SHARES = [0.001, 0.01, *np.arange(0.05, 1, 0.05).round(2).tolist(), 0.99, 0.999]


@pytest.mark.parametrize("share", SHARES)
def test_a_file_cut_short_gets_a_sentence(content, share):
    with pytest.raises(ModelFileError, match=r"`fallline fit` wrote|damaged or cut short"):
        parse_model(content[: int(share * len(content))])


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, -9, -8, -1])
def test_a_file_cut_at_a_boundary_gets_a_sentence(content, length):
    with pytest.raises(ModelFileError, match=r"`fallline fit` wrote|damaged or cut short"):
        parse_model(content[:length])


def test_a_file_with_something_after_its_end_gets_a_sentence(content):
    with pytest.raises(ModelFileError, match="damaged or cut short"):
        parse_model(content + b"\0")


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_byte_is_noticed(content, seed):
    random = np.random.default_rng(seed)
    damaged = bytearray(content)
    damaged[random.integers(len(content))] ^= int(random.integers(1, 256))
    with pytest.raises(ModelFileError, match=r"take the file from a backup|`fallline fit` wrote"):
        parse_model(bytes(damaged))


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"x",
        b"{}",
        b"a,b\n1,2\n",
        bytes(1000),
        safetensors.numpy.save({"w": np.ones(3)}),
        struct.pack("<Q", 1 << 62) + b"{}",
    ],
    ids=["empty", "letter", "json", "csv", "zeros", "safetensors of another program", "endless header"],
)
def test_a_foreign_file_gets_a_sentence(foreign):
    with pytest.raises(ModelFileError, match="give a file that `fallline fit` wrote"):
        parse_model(foreign)


def forged(content, change):
    """The file with its description changed and a right digest: what a hostile hand could make."""
    arrays = safetensors.numpy.load(content)
    (length,) = struct.unpack_from("<Q", content)
    said = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["fallline"].partition(" ")[2])
    change(said, arrays)
    text = json.dumps(said)
    return safetensors.numpy.save(arrays, {"fallline": f"{digest_of(text, arrays)} {text}"})


HOSTILE = {
    "sizes that do not fit": lambda said, arrays: said["network"].update(sizes=[3, 9, 1]),
    "sizes of words": lambda said, arrays: said["network"].update(sizes="abc"),
    "endless sizes": lambda said, arrays: said["network"].update(sizes=[10**30, 10**30]),
    "unknown activation": lambda said, arrays: said["network"].update(activation="__import__('os')"),
    "no network": lambda said, arrays: said.pop("network"),
    "no columns": lambda said, arrays: said.update(columns=[]),
    "nonsense columns": lambda said, arrays: said.update(columns={"targets": 3, "uses": None, "plan": {"a": []}}),
    "no weights": lambda said, arrays: arrays.pop("weights"),
    "weights of another kind": lambda said, arrays: arrays.update(weights=np.ones((2, 2), np.int8)),
    "weights that are not numbers": lambda said, arrays: arrays.update(weights=np.full_like(arrays["weights"], np.nan)),
    "no scaling": lambda said, arrays: arrays.pop("scaling.x_mean"),
    "about of another kind": lambda said, arrays: said.update(about=7),
    "scaling that is not finite": lambda said, arrays: arrays.update({"scaling.y_scale": np.array([np.inf])}),
    "scaling of another length": lambda said, arrays: arrays.update({"scaling.x_mean": np.zeros(9)}),
    "half of a size": lambda said, arrays: said["network"].update(sizes=[4, 3.5, 1]),
    "truth for a size": lambda said, arrays: said["network"].update(sizes=[4, True, 1]),
    "half of a linear unit": lambda said, arrays: said["network"].update(linear_units=0.5),
    "a size below one": lambda said, arrays: said["network"].update(sizes=[4, -3, 1]),
    "another number of inputs": lambda said, arrays: said["columns"]["plan"].pop(),
    "another number of targets": lambda said, arrays: said["columns"]["targets"].append("z"),
    "a list for a description": lambda said, arrays: said.update(network=[1, 2]),
    "endless number": lambda said, arrays: said["columns"]["plan"][0].update(mean=10**400),
    "numbers that are none": lambda said, arrays: said["columns"]["plan"][0].update(mean=float("nan")),
    "half of a letter": lambda said, arrays: said["columns"]["uses"][0].update(says="\ud800"),
    "no format": lambda said, arrays: said.pop("format"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_forged_description_gets_a_sentence(content, change):
    with pytest.raises(ModelFileError, match="is not a whole fallline model"):
        parse_model(forged(content, change))


@pytest.mark.parametrize(
    ("classes", "outputs"), [(("no", "yes"), 1), (("ash", "birch", "oak"), 3)], ids=["two", "three"]
)
def test_a_model_of_classes_is_read_back_and_says_so_by_its_format(model, random, classes, outputs, tmp_path):
    number = np.arange(40) % len(classes)
    block = {"a": random.normal(size=40), "y": np.array(classes, dtype=object)[number]}
    columns = Columns.fit([block], ["y"], classes=classes)
    network = Network((1, 3, outputs), output_activation="logistic")
    fitted = FittedNetwork(network, network.initial(1), Scaling.identity(1, outputs))
    save_model(SavedModel(fitted, columns, model.curve), tmp_path / "m.fallline")
    again = load_model(tmp_path / "m.fallline")
    assert again.columns.classes == classes
    content = (tmp_path / "m.fallline").read_bytes()
    assert b'\\"format\\": 2' in content
    with pytest.raises(ModelFileError, match="do not fit each other"):
        parse_model(forged(content, lambda said, arrays: said["columns"].update(classes=["a", "b", "c", "d"])))


FIGURES = {"rows": 3, "network": {"error": 1.0, "rmse": 0.5, "mae": 0.4, "r2": None}, "ridge": None}
ABOUT = {
    "a text for a seed": {"seed": "7"},
    "truth for a seed": {"seed": True},
    "an odd share of rows held out": {"source": {"holdout": 1.5}},
    "a word for rows held out": {"source": {"holdout": "first"}},
    "a list for the path of a table": {"source": {"table": ["/etc"]}},
    "a number of rows without end": {"source": {"rows": 10**400}},
    "a weight decay without end": {"alpha": 10**400},
    "a weight decay that is no number": {"alpha": float("nan")},
    "a descent without steps": {"descent": "gradient descent"},
    "steps in words": {"descent": "gradient descent", "steps": "many", "passes": 3},
    "a number for a sentence": {"verdict": 3},
    "versions in a list": {"versions": ["0.1"]},
    "notes that are no texts": {"read": {"a": 1}},
    "a reading of another kind": {"reading": {"columns": []}},
    "figures of another kind": {"figures": [1, 2]},
    "figures of two targets": {"figures": {"training": [FIGURES, FIGURES]}},
    "figures without rows": {"figures": {"training": [{"network": FIGURES["network"]}]}},
    "figures in words": {"figures": {"training": [FIGURES | {"network": FIGURES["network"] | {"rmse": "low"}}]}},
    "figures that lack one": {"figures": {"training": [FIGURES | {"ridge": {"rmse": 1.0}}]}},
    "figures of classes": {
        "figures": {"training": [FIGURES | {"logistic": {"accuracy": 1, "brier": 0, "log_loss": 0}}]}
    },
}


@pytest.mark.parametrize("said", ABOUT.values(), ids=ABOUT)
def test_a_forged_account_of_its_making_is_refused_when_it_is_read(content, said):
    with pytest.raises(ModelFileError, match=r"is not a whole fallline model \(ValueError: "):
        parse_model(forged(content, lambda whole, arrays: whole["about"].update(said)))


def test_figures_as_a_fit_writes_them_are_read(content):
    whole = parse_model(forged(content, lambda whole, arrays: whole["about"].update(figures={"training": [FIGURES]})))
    assert whole.about["figures"] == {"training": [FIGURES]}


def test_a_curve_of_another_shape_is_refused(content):
    with pytest.raises(ModelFileError, match="one number for each step"):
        parse_model(forged(content, lambda whole, arrays: arrays.update({"curve.step": np.zeros((5, 2))})))


@pytest.mark.parametrize("weights", [20_000, 1_000_000], ids=["0.2 MB", "8 MB"])
def test_reading_takes_no_more_memory_than_some_times_the_file(weights, tmp_path):
    # As many networks of intervals as there are, and no triangles: their indices alone would take weights² bytes.
    network = Network((1, (weights - 1) // 3, 1))
    columns = Columns.fit([{"x": np.arange(4.0), "y": np.array([0.0, 1.0, 0.0, 2.0])}], ["y"])
    fitted = FittedNetwork(network, network.initial(1), Scaling.identity(1, 1))
    p = network.n_weights
    ones, none = np.ones(1), np.zeros((0, p, p), np.float32)
    intervals = Intervals(
        network, fitted.weights[None], ones, ones, ones[:, None], ones, ones, 1.0, ones, none, np.zeros((0, p)),
        np.zeros((0, p, 0)),
    )  # fmt: skip
    path = tmp_path / "m.fallline"
    tracemalloc.start()
    try:
        save_model(SavedModel(fitted, columns, {}, intervals=FittedIntervals(intervals, fitted)), path)
        assert load_model(path).intervals.scaled.known_starts == 0
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 12 * path.stat().st_size + (1 << 20)


def test_a_format_of_the_future_says_so(content):
    with pytest.raises(ModelFileError, match="written in format 99, and this fallline reads formats 1 and 2:"):
        parse_model(forged(content, lambda said, arrays: said.update(format=99)))


def test_endless_nesting_gets_a_sentence(content):
    text = '{"format": 1, "network": ' + "[" * 100_000 + "]" * 100_000 + "}"
    arrays = safetensors.numpy.load(content)
    with pytest.raises(ModelFileError):
        parse_model(safetensors.numpy.save(arrays, {"fallline": f"{digest_of(text, arrays)} {text}"}))


def test_reading_opens_the_one_file_and_does_nothing_else(content, tmp_path):
    path = tmp_path / "m.fallline"
    path.write_bytes(content)
    code = f"""
import sys
from fallline.model_file import load_model
seen, on = [], False
watched = ("open", "import", "exec", "compile", "os.", "subprocess", "socket", "ctypes", "marshal", "pickle", "shutil")
def hook(event, args):
    if on and event.startswith(watched):
        seen.append((event, *args[:2]))
sys.addaudithook(hook)
on = True
load_model({str(path)!r})
on = False
print(seen)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[('open', {str(path)!r}, 'r')]"


def test_there_is_no_such_file(tmp_path):
    with pytest.raises(ModelFileError, match="there is no model file"):
        load_model(tmp_path / "none.fallline")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("where", ["write_bytes", "replace"])
def test_a_failed_writing_leaves_the_old_file(model, content, tmp_path, monkeypatch, where):
    path = tmp_path / "m.fallline"
    path.write_bytes(content)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"pathlib.Path.{where}", full)
    with pytest.raises(OutputError, match="the disk is full"):
        save_model(model, path)
    assert path.read_bytes() == content
    assert [found.name for found in tmp_path.iterdir()] == ["m.fallline"]


CURVES = ("steps", "passes", "error", "penalised_error", "gradient_norm")


@pytest.fixture
def walked(model, random):
    """The model with the path of a descent."""
    network = model.fitted.network
    rows = InMemory(random.normal(size=(30, 3)), random.normal(size=(30, 1)))
    watched = {"held-out": InMemory(rows.x[:7], rows.y[:7])}
    path = descend(network, rows, seed=1, max_iter=8, watched=watched, alpha=0.1)
    return dataclasses.replace(model, path=path)


def of_points(network, points, stride=1, best=0):
    """A path of so many points, with weights at every so-manyeth."""
    steps = np.arange(points)
    kept = np.union1d(steps[::stride], steps[-1])
    weights = np.outer(kept, np.ones(network.n_weights))
    curve = steps + 0.5
    return SavedPath(
        network, steps, 2 * steps, curve, curve, curve, {"damping": curve}, {"held-out": curve}, {"held-out": 7.0},
        30.0, kept, weights, best, weights[-1], np.zeros(network.n_weights),
    )  # fmt: skip


def saved_and_read(model, folder):
    save_model(model, folder / "m.fallline")
    return load_model(folder / "m.fallline")


def path_bytes(path):
    arrays = [*(getattr(path, name) for name in (*CURVES, "weight_steps", "weights"))]
    return sum(array.nbytes for array in [*arrays, *path.shown.values(), *path.watched.values()])


def test_a_short_path_is_kept_to_the_last_bit(walked, tmp_path):
    again, path = saved_and_read(walked, tmp_path).path, walked.path
    for name in (*CURVES, "weight_steps", "weights"):
        np.testing.assert_array_equal(getattr(again, name), getattr(path, name))
    np.testing.assert_array_equal(again.shown["damping"], path.shown["damping"])
    np.testing.assert_array_equal(again.watched["held-out"], path.watched["held-out"])
    np.testing.assert_array_equal(again.strength, path.strength)
    np.testing.assert_array_equal(again.best_weights, walked.fitted.weights)
    assert (again.n_rows, again.watched_rows, again.best_step) == (30.0, {"held-out": 7.0}, path.best_step)
    assert again.steps.dtype == again.weight_steps.dtype == again.passes.dtype == np.int64


def test_a_path_that_was_read_is_a_table_and_a_picture_with_the_names_of_the_columns(walked, tmp_path):
    path = saved_and_read(walked, tmp_path).path
    assert path.input_names == walked.columns.encoded_names
    assert "ü b->h2" in path.to_frame().columns
    assert list(PathDisplay.from_path(path, ax=Figure().add_subplot()).axes_) == ["error", "gradient_norm", "damping"]


def test_the_same_path_is_the_same_bytes_also_when_it_is_saved_again(walked, tmp_path):
    again = saved_and_read(walked, tmp_path)
    content = (tmp_path / "m.fallline").read_bytes()
    save_model(again, tmp_path / "again.fallline")
    assert (tmp_path / "again.fallline").read_bytes() == content


@pytest.mark.parametrize("best", [0, 12_345, 99_999])
@pytest.mark.parametrize(
    ("sizes", "stride"),
    [((3, 3, 1), 1), ((3, 3, 1), 7), ((3, 60, 1), 1), ((3, 60, 1), 25), ((3, 900, 1), 25)],
    ids=["few weights", "few, thinned", "many weights", "many, thinned", "very many"],
)
def test_a_long_path_is_thinned_evenly_to_a_mebibyte(model, tmp_path, sizes, stride, best):
    network = Network(sizes)
    fitted = dataclasses.replace(model.fitted, network=network, weights=network.initial(0))
    path = of_points(network, 100_000, stride, best)
    again = saved_and_read(dataclasses.replace(model, fitted=fitted, path=path), tmp_path).path
    assert 2**19 < path_bytes(again) <= 2**20
    assert {0, best, 99_999} <= set(again.steps)
    assert {0, 99_999} | ({best} & set(path.weight_steps)) <= set(again.weight_steps)
    for steps in (again.steps, again.weight_steps):
        assert np.diff(steps).max() <= 2.1 * 100_000 / len(steps) + stride
    np.testing.assert_array_equal(again.error, again.steps + 0.5)
    np.testing.assert_array_equal(again.weights[:, 0], again.weight_steps)
    content = (tmp_path / "m.fallline").read_bytes()
    save_model(load_model(tmp_path / "m.fallline"), tmp_path / "again.fallline")
    assert (tmp_path / "again.fallline").read_bytes() == content


def test_of_a_network_too_large_the_curves_alone_are_kept(model, tmp_path):
    network = Network((3, 12_000, 1))
    fitted = dataclasses.replace(model.fitted, network=network, weights=network.initial(0))
    path = of_points(network, 20)
    again = saved_and_read(dataclasses.replace(model, fitted=fitted, path=path), tmp_path).path
    assert (len(again.steps), again.weights.shape) == (20, (0, network.n_weights))
    assert np.isnan(again.to_dict()[again.weight_names[0]]).all()


def test_weights_between_the_points_of_mini_batches_are_kept(model, tmp_path, random):
    rows = InMemory(random.normal(size=(30, 3)), random.normal(size=(30, 1)))
    path = descend(model.fitted.network, rows, Adam(batch_size=8), seed=1, max_iter=5)
    again = saved_and_read(dataclasses.replace(model, path=path), tmp_path).path
    assert len(again.weight_steps) > len(again.steps)
    np.testing.assert_array_equal(again.weight_steps, path.weight_steps)
    np.testing.assert_array_equal(again.weights, path.weights)


@pytest.mark.parametrize("sizes", [(3, 1, 1), (3, 60, 1)], ids=["few weights", "many weights"])
def test_many_weights_between_few_points_are_thinned_evenly(model, tmp_path, sizes):
    network = Network(sizes)
    fitted = dataclasses.replace(model.fitted, network=network, weights=network.initial(0))
    whole, points = of_points(network, 50_001, best=20_000), np.arange(0, 50_001, 1000)
    curves = {name: getattr(whole, name)[points] for name in CURVES}
    shown = {"shown": {"damping": points + 0.5}, "watched": {"held-out": points + 0.5}}
    path = dataclasses.replace(whole, **curves, **shown)
    again = saved_and_read(dataclasses.replace(model, fitted=fitted, path=path), tmp_path).path
    np.testing.assert_array_equal(again.steps, points)
    assert {0, 20_000, 50_000} <= set(again.weight_steps)
    assert np.diff(again.weight_steps).max() <= 2.1 * 50_000 / len(again.weight_steps)
    np.testing.assert_array_equal(again.weights[:, 0], again.weight_steps)


def test_a_file_without_a_path_is_read_as_before(content):
    assert parse_model(content).path is None


FORGED_PATHS = {
    "no steps": lambda said, arrays: arrays.pop("path.steps"),
    "steps that go back": lambda said, arrays: arrays.update({"path.steps": arrays["path.steps"][::-1].copy()}),
    "half a step": lambda said, arrays: arrays.update({"path.steps": arrays["path.steps"] + 0.5}),
    "endless steps": lambda said, arrays: arrays.update({"path.steps": arrays["path.steps"] * 1e300}),
    "a curve of another length": lambda said, arrays: arrays.update({"path.error": np.ones(3)}),
    "a shown number of another kind": lambda said, arrays: arrays.update({"path.shown.x": np.ones(9, np.int8)}),
    "weights of another network": lambda said, arrays: arrays.update({"path.weights": np.ones((9, 2))}),
    "weights at no step": lambda said, arrays: arrays.update({"path.weight_steps": arrays["path.weight_steps"] + 1}),
    "watched rows that are not counted": lambda said, arrays: said["path"].update(watched_rows={}),
    "no rows": lambda said, arrays: said["path"].update(rows=0),
    "rows that are not a number": lambda said, arrays: said["path"].update(rows=float("nan")),
    "a best step beyond the last": lambda said, arrays: said["path"].update(best_step=10**6),
    "endless best step": lambda said, arrays: said["path"].update(best_step=float("inf")),
    "a list for what is said": lambda said, arrays: said.update(path=[]),
    "a number for an array": lambda said, arrays: arrays.update({"path.steps": np.array(1.0)}),
}


@pytest.mark.parametrize("change", FORGED_PATHS.values(), ids=FORGED_PATHS)
def test_a_forged_path_gets_a_sentence(walked, tmp_path, change):
    save_model(walked, tmp_path / "m.fallline")
    with pytest.raises(ModelFileError, match="is not a whole fallline model"):
        parse_model(forged((tmp_path / "m.fallline").read_bytes(), change))


@pytest.fixture
def sure(model, random):
    """The model with intervals, of two starts."""
    network = model.fitted.network
    rows = InMemory(random.normal(size=(60, network.inputs)), random.normal(size=(60, 1)))
    starts = [Member(network.initial(seed), 0.5) for seed in range(2)]
    return replace(model, intervals=FittedIntervals(intervals_of(network, starts, rows), model.fitted))


def test_intervals_that_were_read_are_those_that_were_written(sure, tmp_path, random):
    save_model(sure, tmp_path / "m.fallline")
    again = load_model(tmp_path / "m.fallline")
    x = random.normal(size=(9, sure.fitted.network.inputs))
    np.testing.assert_array_equal(again.intervals.interval(x, 0.9), sure.intervals.interval(x, 0.9))
    np.testing.assert_array_equal(again.intervals.mean_std(x), sure.intervals.mean_std(x))
    save_model(again, tmp_path / "again.fallline")
    assert (tmp_path / "again.fallline").read_bytes() == (tmp_path / "m.fallline").read_bytes()


def test_a_file_without_intervals_says_none(content):
    assert parse_model(content).intervals is None


def test_of_many_starts_the_triangles_take_three_mebibytes_at_most(random):
    network = Network((8, 60, 1))  # 601 weights
    rows = InMemory(random.normal(size=(200, 8)), random.normal(size=(200, 1)))
    found = intervals_of(network, [Member(network.initial(seed), 1.0) for seed in range(6)], rows)
    assert found.known_starts == 4
    assert found.to_arrays()["triangles"].nbytes <= 3 << 20


FORGED_INTERVALS = {
    "no scores": lambda said, arrays: arrays.pop("intervals.scores"),
    "a number for starts": lambda said, arrays: arrays.update({"intervals.weights": np.array(3.0)}),
    "undetermined of no shape": lambda said, arrays: arrays.update({"intervals.undetermined": np.array(3.0)}),
    "another number of weights": lambda said, arrays: arrays.update({"intervals.weights": np.zeros((2, 3))}),
    "no shares": lambda said, arrays: arrays.update(
        {"intervals.shares": np.zeros(0), "intervals.scores": np.zeros((0, 1))}
    ),
    "noise that is not finite": lambda said, arrays: arrays.update({"intervals.noise_variance": np.array([np.inf])}),
}


@pytest.mark.parametrize("change", FORGED_INTERVALS.values(), ids=FORGED_INTERVALS)
def test_forged_intervals_get_a_sentence(sure, tmp_path, change):
    save_model(sure, tmp_path / "m.fallline")
    with pytest.raises(ModelFileError, match="is not a whole fallline model"):
        parse_model(forged((tmp_path / "m.fallline").read_bytes(), change))


def test_a_path_of_another_network_is_refused(model, tmp_path):
    path = of_points(Network((3, 9, 1)), 5)
    with pytest.raises(ShapeError, match="save the path that led to these weights"):
        save_model(dataclasses.replace(model, path=path), tmp_path / "m.fallline")


# The default fit: widths, a linear part, scores


def mixture(columns, random):
    """A default fit to so many columns as `fallline fit` saves it: with its path and intervals."""
    x = random.normal(size=(120, columns))
    line, bent = (1, 3) if columns > 2 else (2, 1)  # of both there is a part
    y = line * x[:, :1] + bent * np.tanh(3 * x[:, 1:2]) + random.normal(size=(120, 1))
    table = Columns.fit([{f"c{k}": x[:, k] for k in range(columns)} | {"y": y[:, 0]}], ["y"])
    settings = Settings(seed=0, max_iter=20, input_names=table.encoded_names)
    fitted, path = fit_network(x, y, settings)
    intervals = intervals_of_fit(fitted, path, fitted.rows(x, y), settings)
    return SavedModel(fitted, table, {}, {"alpha": path.alpha}, path, intervals), x


@pytest.mark.parametrize("columns", [2, 45], ids=["columns", "scores"])
def test_a_mixture_is_read_back_as_it_was_written(columns, tmp_path, random):
    model, x = mixture(columns, random)
    assert model.fitted.is_mixture
    assert (model.fitted.scores is not None) == (columns == 45)
    again = saved_and_read(model, tmp_path)
    content = (tmp_path / "m.fallline").read_bytes()
    for name in ("network", "members", "is_mixture"):
        assert getattr(again.fitted, name) == getattr(model.fitted, name)
    assert again.fitted.predict(x).tobytes() == model.fitted.predict(x).tobytes()
    assert again.fitted.alone().predict(x).tobytes() == model.fitted.alone().predict(x).tobytes()
    assert again.fitted.parts[0].share == model.fitted.parts[0].share
    np.testing.assert_array_equal(again.intervals.interval(x), model.intervals.interval(x))
    np.testing.assert_array_equal(again.path.best_weights, model.path.best_weights)
    np.testing.assert_array_equal(again.decay, model.fitted.starts[model.fitted.starts.shown].strength)
    assert again.path.input_names == tuple(model.path.input_names)
    assert again.path.input_names[0] == ("c0" if columns == 2 else "score 1")
    save_model(again, tmp_path / "again.fallline")
    assert (tmp_path / "again.fallline").read_bytes() == content


def test_ridge_regression_alone_is_read_back(tmp_path, random, monkeypatch):
    monkeypatch.setattr("fallline.fit.widths._Run.candidates", lambda self: [])
    model, x = mixture(45, random)
    again = saved_and_read(model, tmp_path)
    np.testing.assert_array_equal(again.fitted.predict(x), model.fitted.predict(x))
    np.testing.assert_array_equal(again.intervals.interval(x), model.intervals.interval(x))
    assert again.path.input_names[0] == "c0"


FORGED_MIXTURES = {
    "scores of other inputs": lambda said, arrays: arrays.update(scores=arrays["scores"][:-1]),
    "scores of another number": lambda said, arrays: arrays.update(scores=arrays["scores"][:, :-1].copy()),
    "scores without shape": lambda said, arrays: arrays.update(scores=np.array(3.0)),
    "scores that are not finite": lambda said, arrays: arrays.update(scores=np.full_like(arrays["scores"], np.nan)),
    "no scores": lambda said, arrays: arrays.pop("scores"),
    "a share above 1": lambda said, arrays: said["starts"].update(share=1.5),
    "a share of nothing": lambda said, arrays: said["starts"].update(share=0),
    "a share that is no number": lambda said, arrays: said["starts"].update(share=float("nan")),
    "a start that is not there": lambda said, arrays: said["starts"].update(shown=99),
    "another width": lambda said, arrays: said["starts"].update(hidden=[3]),
    "more linear units than units": lambda said, arrays: said["network"].update(linear_units=10**6),
}


@pytest.fixture(scope="module")
def of_scores(tmp_path_factory):
    path = tmp_path_factory.mktemp("mixture") / "m.fallline"
    save_model(mixture(45, np.random.default_rng(0))[0], path)
    return path.read_bytes()


@pytest.mark.parametrize("change", FORGED_MIXTURES.values(), ids=FORGED_MIXTURES)
def test_a_forged_mixture_gets_a_sentence(of_scores, change):
    with pytest.raises(ModelFileError, match="is not a whole fallline model"):
        parse_model(forged(of_scores, change))
