"""The fourth place: a table or a model of one's own, trained while one looks on, and then looked at from all sides.

How a table is read, fitted and kept is the command line's business; here its results become numbers for the page.
"""

import contextlib
import shlex
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fallline.cli import kept, sentences
from fallline.cli.fits import COVERAGE
from fallline.cli.minima import judged, minima_of
from fallline.cli.rows import FoundRows, column_lines, prepare
from fallline.cli.table_fit import fit_table
from fallline.descent.gradient import GradientDescent
from fallline.exceptions import FalllineError
from fallline.explore.messages import Given, frame
from fallline.explore.work import Opened, Trained, Work, kinds_of
from fallline.landscape.planes import Plane
from fallline.report import figures
from fallline.sure.importance import permutation_importance

DESCENTS = ("auto", "levenberg-marquardt", "l-bfgs", "rprop", "gradient", "mini-batch")
_MOST_UNITS, _MOST_STARTS, _MOST_SECONDS = 200, 20, 900
_POINTS, _STEPS, _DOTS = 41, 800, 300  # of a heat-map along each side; steps and rows that are drawn
_BANDS, _TRACK, _IMPORTANCE_ROWS = 12, 600, 500
_BETWEEN = 0.08  # seconds between two pieces of news from a fit
_WAY = 300  # steps of a way that is told of while it goes on


def columns(given: Given, session: Any) -> bytes:
    """The columns of the table that is open, and what was opened."""
    opened = session.work.opened
    said: dict[str, Any] = {**opened.said(), "note": opened.note, "target": opened.target, "columns": []}
    if opened.table is not None:
        said |= {"columns": [{"name": name, "kind": kind} for name, kind in kinds_of(opened.table).items()]}
        said |= {"table": opened.table.name, "rows": opened.table.rows, "doubts": opened.table.doubts}
    return frame({**said, "trained": opened.trained is not None})


def stop(given: Given, session: Any) -> bytes:
    """End the fit under way; the best weights so far are kept."""
    session.work.asked_to_stop = True
    return frame({})


def train(given: Given, session: Any) -> bytes:
    """Fit a network to the table, telling on the way how it goes; then all that is known of it."""
    work: Work = session.work
    try:
        return _train(given, session, work)
    finally:
        work.busy = False


def _train(given: Given, session: Any, work: Work) -> bytes:
    table = work.table
    target = given.choice("target", tuple(table.columns))
    settings, said = _settings(given)
    seed = given.whole("seed", 0, 10_000)
    prepared = prepare(table, [target], seed=seed)
    session.tell({"news": "columns", "columns": column_lines(prepared.columns, prepared.notes)})
    news = _News(session.tell, work)
    fit = fit_table(
        prepared, seed=seed, progress=news.hear, arrived=news.phase, max_seconds=_MOST_SECONDS,
        every_step=settings.get("n_starts") == 1, **settings,
    )  # fmt: skip
    seeded = ["--seed", str(seed)] if seed else []
    command = shlex.join(["fallline", "fit", table.name, "--target", target, *said, *seeded])
    rows = FoundRows(prepared.x, prepared.y, prepared.held_x, prepared.held_y, f"the rows of {table.name}")
    trained = Trained(kept.saved_of(fit, command, seed), rows, fit, table.name)
    work.opened = Opened(work.opened.name, table, trained.saved, trained, target)
    return look(given, session)


def _settings(given: Given) -> tuple[dict[str, Any], list[str]]:
    """What a request asks of a fit, as ``fit_table`` takes it and as options of the command line."""
    hidden = given.text("hidden", 10)
    settings: dict[str, Any] = {"hidden_layer_sizes": "auto"}
    said: list[str] = []
    if hidden != "auto":
        units = (
            0
            if hidden == "none"
            else Given({"hidden": float(hidden) if hidden.isdecimal() else None}).whole("hidden", 1, _MOST_UNITS)
        )
        settings["hidden_layer_sizes"] = (units,) if units else ()
        said += ["--hidden", hidden]
    descent = given.choice("descent", DESCENTS)
    if descent == "gradient":
        rate, momentum = given.number("rate", 1e-6, 1e3), given.number("momentum", 0.0, 0.99)
        settings["descent"] = GradientDescent(rate, momentum)
        said += ["--learning-rate", f"{rate:g}", "--momentum", f"{momentum:g}"]
    else:
        settings["descent"] = descent
        said += [] if descent == "auto" else ["--descent", descent]
    if given.has("starts"):
        starts = given.whole("starts", 1, _MOST_STARTS)
        settings["n_starts"] = starts
        said += ["--starts", str(starts)]
    return settings, said


class _News:
    """What a fit says on the way, some ten times a second, with the way of the walk that is heard of on its principal plane."""

    def __init__(self, tell: Callable[..., None], work: Work) -> None:
        self._tell, self._work, self._last = tell, work, 0.0
        self._of: tuple[Any, ...] = ()
        self._weights: list[np.ndarray] = []

    def phase(self, words: str) -> None:
        """The descent has ended, and this is done next. Raises FalllineError where nobody waits for it any more."""
        if self._work.over:
            raise FalllineError("the page was closed.")
        self._tell({"news": "phase", "phase": words})

    def hear(self, now: Any, current: Any) -> bool:
        """How far a walk is; whether the fit is to end."""
        of = (now.phase, now.start)
        if of != self._of:
            self._of, self._weights = of, []
        self._weights.append(now.weights)
        if (clock := time.monotonic()) >= self._last + _BETWEEN or now.stop:
            self._last = clock
            errors = {"training": now.error / now.n_rows}
            errors |= {name: error / now.watched_rows[name] for name, error in now.watched.items()}
            said = {
                "news": "step", "phase": now.phase, "start": now.start, "starts": now.n_starts, "errors": errors,
                "step": now.steps if now.epochs is None else now.epochs, "steps": now.max_iter,
            }  # fmt: skip
            self._tell(said, way=self._way())
        return self._work.asked_to_stop or self._work.over

    def _way(self) -> np.ndarray:
        """The way so far on its own principal plane: (k, 2)."""
        weights = np.array(self._weights[-_WAY:])
        with contextlib.suppress(FalllineError, np.linalg.LinAlgError):
            return np.asarray(Plane.of_path(weights).coordinates(weights))
        return np.zeros((0, 2))


def look(given: Given, session: Any) -> bytes:
    """All that is known of the fit at once: words, figures, the error curve, predictions beside what was measured, inputs."""
    trained: Trained = session.work.trained
    saved, fit = trained.saved, trained.fit
    influence = None if fit is None else fit.influence
    about = saved.about
    sets = {rows.name: figures(rows) for rows in fit.rowsets} if fit else about.get("figures", {})
    actual, predicted, low, high, of = trained.judged()
    said: dict[str, Any] = {
        "target": saved.columns.targets[trained.target], "outputs": trained.outputs, "classes": trained.classes,
        "network": sentences.network(fit) if fit else str(saved.fitted.alone().network), "figures": sets,
        "descent": about.get("descent"), "stop": about.get("stop"), "verdict": about.get("verdict"), "decay": about.get("decay"),
        "comparison": about.get("comparison"), "rows": about.get("rows"), "command": about.get("command"), "of": of,
        "note": trained.data.otherwise, "report": fit is not None, "table": trained.table, "steps": about.get("steps"),
        "columns": column_lines(saved.columns, about.get("read")), "doubts": saved.columns.doubts,
        "inputs": [{key: each[key] for key in each if key != "encodings"} for each in trained.inputs],
        "importance": None if influence is None else _importance(trained, influence.importance, influence.of),
    }  # fmt: skip
    if trained.classes:
        k = len(trained.classes)
        pairs = actual.astype(int) * k + predicted.astype(int)
        said["confusion"] = np.bincount(pairs, minlength=k * k).reshape(k, k)
    curve = {name: np.asarray(values, np.float64) for name, values in saved.curve.items()}
    steps = curve.pop("step", np.zeros(0))
    few = np.unique(np.linspace(0, max(len(steps) - 1, 0), min(len(steps), _STEPS)).astype(int))
    counts = {"training": max(len(trained.data.x), 1), "held-out": max(len(trained.data.held_x), 1)}
    curves = {
        f"curve {name}": values[few] / counts.get(name, 1)
        for name, values in curve.items()
        if len(values) == len(steps)
    }
    bars = {} if low is None else {"low": low, "high": high}
    return frame(said, steps=steps[few], actual=actual, predicted=predicted, **bars, **curves)


def _importance(trained: Trained, found: Any, of: str) -> dict[str, Any]:
    order, j = found.order(trained.target)[:12], trained.target
    return {
        "of": of,
        "names": [found.names[i] for i in order],
        "rise": found.mean[order, j],
        "std": found.std[order, j],
    }


def importance(given: Given, session: Any) -> bytes:
    """Which columns matter to a model from a file: by how much its error rises where one is shuffled."""
    trained: Trained = session.work.trained
    data = trained.data
    held = len(data.held_x) > 1
    x, y = (data.held_x, data.held_y) if held else (data.x, data.y)
    few = np.sort(np.random.default_rng(0).permutation(len(x))[:_IMPORTANCE_ROWS])
    found = permutation_importance(trained.saved.fitted.predict, x[few], y[few], trained.saved.columns.places)
    return frame({"importance": _importance(trained, found, f"{len(few):,} {'held-out' if held else 'training'} rows")})


def surface(given: Given, session: Any) -> bytes:
    """The error around the weights, with the way down."""
    found = session.work.trained.surface(given.choice("plane", ("auto", "random", "curvature")))
    said = {
        "levels": found.levels(_BANDS),
        "labels": found.plane.labels,
        "what": found.what,
        "minimum": None if found.minimum is None else {"at": found.minimum.coordinates, "error": found.minimum.error},
        "others": [{"at": each.coordinates, "error": each.error} for each in found.local_minima],
        "fidelity": found.fidelity,
        "rows": found.n_rows,
    }
    arrays = {"first": found.first, "second": found.second, "error": found.error.astype(np.float32)}
    if found.tracks:
        track = found.tracks[0]
        few = np.unique(np.linspace(0, len(track.steps) - 1, min(len(track.steps), _TRACK)).astype(int))
        arrays |= {"way": track.coordinates[few], "way_steps": track.steps[few]}
    return frame(said, **arrays)


def minima(given: Given, session: Any) -> bytes:
    """The minima that other starts of the network end in, and where this one stands among them."""
    trained: Trained = session.work.trained
    placed = minima_of(
        trained.saved, trained.data, starts=given.whole("starts", 2, 50), descent="auto", seed=0, max_iter=300, tol=3e-4
    )
    found = placed.found
    said = {
        "minima": [
            {"error": each.penalised_error, "count": each.count, "figure": placed.rmse[i, 0],
             "held": None if placed.held_rmse is None else placed.held_rmse[i, 0]}
            for i, each in enumerate(found.minima)
        ],
        "own": placed.own,
        "own_error": placed.model_error,
        "own_figure": placed.rmse[-1, 0],
        "figure": placed.figure,
        "starts": len(found.index),
        "says": list(judged(placed, trained.saved.columns.targets)),
    }  # fmt: skip
    return frame(said)


def what_if(given: Given, session: Any) -> bytes:
    """The prediction over two inputs, the others as they are set, and at the point that is set, with its interval."""
    trained: Trained = session.work.trained
    numbers = {each["name"]: each for each in trained.inputs if each["kind"] == "number"}
    j = given.whole("output", 0, len(trained.outputs) - 1)
    row = trained.row(given.object("values", 4096))
    said: dict[str, Any] = {"predicted": trained.predict(row)[0, j], "low": None, "high": None}
    if trained.saved.intervals is not None and not trained.classes:
        said["low"], said["high"] = trained.saved.intervals.interval(row, COVERAGE)[0, j]
    if not given.has("first"):
        return frame(said)
    names = [given.choice(name, tuple(numbers)) for name in ("first", "second")]
    places = [trained.saved.columns.places[name][0] for name in names]
    axes = [np.linspace(numbers[name]["low"], numbers[name]["high"], _POINTS) for name in names]
    grid = np.tile(row, (_POINTS**2, 1))
    first, second = np.meshgrid(*axes)
    grid[:, places[0]], grid[:, places[1]] = first.ravel(), second.ravel()
    predicted = trained.predict(grid)[:, j].reshape(_POINTS, _POINTS)
    few = np.linspace(0, len(trained.data.x) - 1, min(len(trained.data.x), _DOTS)).astype(int)
    return frame(
        said, first=axes[0], second=axes[1], map=predicted.astype(np.float32), points=trained.data.x[few][:, places]
    )
