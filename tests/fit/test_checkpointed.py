"""Fits that are stopped anywhere and begun again end at the same bits as one that was not."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from fallline import NetworkClassifier, NetworkRegressor
from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.exceptions import CheckpointError
from fallline.fit import class_decay, large, streamed
from fallline.fit.network_fit import fit_network
from fallline.fit.streamed import fit_streamed
from fallline.identity import digest
from fallline.rows import stream
from fallline.table.scaling import Scaling
from fallline.walk import loop


class Blocks:
    """A source: arrays in blocks."""

    def __init__(self, x, y, size=250):
        self.x, self.y, self.size, self.asked = x, y, size, 0
        self.inputs, self.outputs = x.shape[1], y.shape[1]

    def blocks(self):
        self.asked += 1
        for at in range(0, len(self.x), self.size):
            yield self.x[at : at + self.size], self.y[at : at + self.size], None


@pytest.fixture
def waves(random):
    x = random.uniform(-2, 2, size=(90, 2))
    return x, np.sin(2 * x[:, :1]) * x[:, 1:] + 0.1 * random.normal(size=(90, 1))


def same(one, other):
    """Whether two fits hold the same numbers, and the paths shown the same way."""
    (fitted, path), (again, way) = one, other
    timeless = [{name: value for name, value in each.kept().items() if name != "seconds"} for each in (path, way)]
    return digest(fitted) == digest(again) and digest(timeless[0]) == digest(timeless[1])


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    "asked",
    [
        {"hidden_layer_sizes": (4,), "n_starts": 3, "max_iter": 30},
        {"hidden_layer_sizes": (4,), "n_starts": 1, "max_iter": 30},
        {"hidden_layer_sizes": (8,), "n_starts": 2, "descent": "l-bfgs", "max_iter": 60},
        {"hidden_layer_sizes": (4,), "n_starts": 2, "descent": Adam(batch_size=8, decay=6)},
        {"effort": "quick", "max_iter": 15},
    ],
    ids=["starts", "one start, two penalties", "L-BFGS", "mini-batches", "widths by folds"],
)
def test_starts_widths_and_folds_end_at_the_same_bits(asked, n_jobs, waves, until_it_ends, tmp_path):
    call = {"seed": 2, "n_jobs": n_jobs, **asked}
    found, often = until_it_ends(lambda: fit_network(*waves, checkpoint=tmp_path, **call))
    assert often > 1
    assert same(found, fit_network(*waves, **call))
    assert list(tmp_path.iterdir()) == []


def test_a_scaling_that_is_given_holds_with_a_checkpoint_too(waves, tmp_path):
    asked = {"hidden_layer_sizes": (4,), "n_starts": 1, "max_iter": 10, "seed": 0, "alpha": 0.1}
    asked["scaling"] = Scaling(np.array([1.0, -1.0]), np.array([3.0, 0.5]), np.array([0.2]), np.array([2.0]))
    assert same(fit_network(*waves, **asked, checkpoint=tmp_path / "kept"), fit_network(*waves, **asked))


def test_so_does_the_fit_of_many_columns(random, until_it_ends, tmp_path):
    x = random.normal(size=(60, 50))
    y = x[:, :1] + x[:, 1:2] ** 2
    call = {"seed": 0, "max_iter": 8, "effort": "quick"}
    found, often = until_it_ends(lambda: fit_network(x, y, checkpoint=tmp_path, **call), 40)
    assert often > 1
    assert same(found, fit_network(x, y, **call))


def test_so_does_the_fit_of_a_large_table(random, until_it_ends, monkeypatch, tmp_path):
    for name, value in {"LARGE": 1000, "WORK": 1e7, "_MOST_EPOCHS": 6, "_SMALL_WORK": 0.0}.items():
        monkeypatch.setattr(large, name, value)
    x = random.uniform(-1, 1, size=(1200, 3))
    y = np.sign(np.sin(9 * x[:, :1])) + np.sin(7 * x[:, 1:2])
    call = {"seed": 0, "effort": "quick"}
    found, often = until_it_ends(lambda: fit_network(x, y, checkpoint=tmp_path, **call), 5)
    assert often > 1
    assert len(found[0].network.hidden) == 2
    assert same(found, fit_network(x, y, **call))


@pytest.mark.parametrize(
    ("asked", "n_jobs"),
    [
        ({"hidden_layer_sizes": (4,), "n_starts": 2, "descent": "levenberg-marquardt", "max_iter": 10}, 1),
        ({"hidden_layer_sizes": (4,), "n_starts": 2, "descent": "levenberg-marquardt", "max_iter": 10}, 2),
        ({"hidden_layer_sizes": (), "descent": GradientDescent(), "max_iter": 20}, 1),
        ({"effort": "quick", "max_iter": 12}, 1),
    ],
    ids=["starts", "starts side by side", "a line", "widths, and on over all rows"],
)
def test_so_does_a_fit_to_rows_that_stream_by_though_it_is_stopped_in_a_pass(
    asked, n_jobs, random, until_it_ends, monkeypatch, tmp_path
):
    monkeypatch.setattr(streamed, "_MOST_ROWS", 300)
    monkeypatch.setattr(stream, "stopping", loop.stopping)  # of the fixture
    x = random.normal(size=(1200, 3))
    y = np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:]
    call = {"seed": 0, "n_jobs": n_jobs, "watched": {"held": Blocks(x[:100], y[:100])}, **asked}
    found, often = until_it_ends(lambda: fit_streamed(Blocks(x[100:], y[100:]), checkpoint=tmp_path, **call), 20)
    assert often > 0
    assert same(found, fit_streamed(Blocks(x[100:], y[100:]), **call))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_middle_of_a_pass_loses_no_step(random, monkeypatch, tmp_path):
    monkeypatch.setattr(streamed, "_MOST_ROWS", 300)
    monkeypatch.setattr(stream, "_FEWEST_ROWS", 64)
    monkeypatch.setattr(stream, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_WORDS", -1.0)
    x = random.normal(size=(1200, 3))
    y = np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:]
    call = {
        "seed": 0,
        "n_jobs": 1,
        "hidden_layer_sizes": (4,),
        "n_starts": 1,
        "alpha": 0.1,
        "descent": LBFGS(),
        "max_iter": 30,
    }
    whole = fit_streamed(Blocks(x, y), **call)
    answers = iter([False] * 500 + [True])
    monkeypatch.setattr(stream, "stopping", lambda: next(answers, False))
    _, path = fit_streamed(Blocks(x, y), checkpoint=tmp_path, **call)
    assert path.stop == Stop.INTERRUPTED
    assert 5 < path.n_steps < 30
    steps = []
    found = fit_streamed(Blocks(x, y), checkpoint=tmp_path, progress=lambda now, _: steps.append(now.steps), **call)
    assert steps[0] >= path.n_steps
    assert same(found, whole)


def test_parts_of_a_source_are_told_apart_and_it_is_read_once_for_that(random):
    x = random.normal(size=(500, 2))
    source = Blocks(x, x[:, :1])
    rows = stream.Streamed(source)
    scaling = rows.scaling_for()
    parts = [
        rows,
        *rows.divided(0, [(0, 0.5), (0.5, 1)]),
        rows.scaled(scaling),
        rows.taking(x[:, 0] > 0),
        rows.weighted(np.full(500, 2.0)),
    ]
    before = source.asked
    assert len({each.content for each in parts}) == len(parts)
    assert source.asked == before + 1
    again = stream.Streamed(Blocks(x, x[:, :1], size=77))
    assert [again.content, again.scaled(scaling).content] == [rows.content, rows.scaled(scaling).content]
    x[400, 1] += 1e-9
    assert stream.Streamed(Blocks(x, x[:, :1])).content != rows.content


@pytest.mark.filterwarnings("ignore::fallline.DescentWarning", "ignore:Stopped at max_iter")
def test_so_does_a_classifier_with_its_search_for_a_decay(random, until_it_ends, monkeypatch, tmp_path):
    monkeypatch.setattr(class_decay, "_DECAYS", (0.03, 0.1, 0.3))
    monkeypatch.setattr(class_decay, "_FIRST", 1)
    x = random.normal(size=(60, 2))
    y = np.where(x[:, 0] * x[:, 1] > 0.3 * random.normal(size=60), "yes", "no")
    model = NetworkClassifier(hidden_layer_sizes=(3,), n_starts=2, max_iter=25, random_state=1, n_jobs=1)
    with_folder = clone(model).set_params(checkpoint=tmp_path)

    def call():
        return clone(with_folder).fit(x, y)

    found, often = until_it_ends(call, 5)
    expected = model.fit(x, y)
    assert often > 1
    assert digest(found._fitted) == digest(expected._fitted)
    assert found.alpha_ == expected.alpha_
    assert list(tmp_path.iterdir()) == []


def test_early_stopping_without_a_seed_goes_on_with_its_own_parts(waves, until_it_ends, tmp_path):
    x, y = waves
    parts = []

    def call():
        found = NetworkRegressor(
            (5,), n_starts=2, early_stopping=True, n_jobs=1, max_iter=40, checkpoint=str(tmp_path)
        ).fit(x, y[:, 0])
        parts.append(found.validation_rows_.tobytes())
        return found

    with pytest.warns():
        found, often = until_it_ends(call)
    assert often > 0
    assert len(parts) > 1
    assert len(set(parts)) == 1
    assert found.checkpoint == str(tmp_path)
    assert np.isfinite(found.predict(x)).all()
    assert found.intervals().std(x).shape == (90, 1)  # found out later, without the folder
    assert list(tmp_path.iterdir()) == []


def test_estimators_one_after_the_other_may_share_a_folder(waves, tmp_path):
    x, y = waves
    model = NetworkRegressor((3,), n_starts=1, max_iter=60, tol=0.1, random_state=0, checkpoint=tmp_path)
    assert clone(model).get_params()["checkpoint"] == tmp_path
    assert len(cross_val_score(model, x, y[:, 0], cv=3)) == 3


def test_another_fit_is_refused_by_what_differs(waves, tmp_path, monkeypatch):
    x, y = waves
    stop = iter([False] * 30 + [True] * 10)
    monkeypatch.setattr(loop, "stopping", lambda: next(stop, False))
    call = {"hidden_layer_sizes": (3,), "n_starts": 1, "alpha": 0.1, "seed": 0, "tol": 0.0}
    fit_network(x, y, checkpoint=tmp_path, **call)
    assert list(tmp_path.glob("*.walk"))
    with pytest.raises(CheckpointError, match=r"hidden_layer_sizes was \(3,\), now \(4,\); alpha was 0.1, now 0.2"):
        fit_network(x, y, checkpoint=tmp_path, **call | {"hidden_layer_sizes": (4,), "alpha": 0.2})
    with pytest.raises(CheckpointError, match=r"table was 90 rows, content \w{8}, now 89 rows, content \w{8}"):
        fit_network(x[1:], y[1:], checkpoint=tmp_path, **call)
    fit_network(x, y, checkpoint=tmp_path, n_jobs=1, max_seconds=60, **call)
