"""What one page works on: the table or model it was opened with, the network that was trained, and the files made of it."""

import functools
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from fallline.cli import kept
from fallline.cli.fits import COVERAGE
from fallline.cli.rows import FoundRows, find_rows, table_of
from fallline.cli.surface import surface_of
from fallline.cli.table_fit import TableFit
from fallline.exceptions import SettingsError, TableError
from fallline.explore.data import pairs_of
from fallline.explore.messages import Given
from fallline.explore.two_weights import Ground, ground_of
from fallline.fit.simplex import class_numbers_of, probabilities
from fallline.landscape.surface import Surface
from fallline.model_file import SUFFIX, SavedModel, is_model_file, load_model, save_model
from fallline.table.classes import class_names
from fallline.table.read import read_table
from fallline.table.sums import check_there
from fallline.table.table import Table
from fallline.table.values import values_taken

_GRID, _LEAST_GRID, _ROWS = 81, 21, 800  # points of a map along each side; rows that are drawn
# The products of all points of a map that take some seconds, and what an activation counts for.
_MOST_WORK, _ACTIVATION = 6e9, 10
_MOST_GROUNDS = 24
_PICTURE = re.compile(r"(surface|predicted)\.(png|svg)")


class Made(NamedTuple):
    """A file to hand out: its content, what kind it is, and its name as an address has it."""

    content: bytes
    kind: str
    quoted: str


@dataclass(eq=False)
class Trained:
    """A fitted network beside its rows: from a fit made here (``fit``), or from a model file whose rows were found."""

    saved: SavedModel
    data: FoundRows
    fit: TableFit | None = None
    table: str = "the table"
    target: int = 0
    _surfaces: dict[str, Surface] = field(default_factory=dict)
    _report: bytes | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, none where targets are numbers."""
        return class_names(self.saved.columns.classes) if self.saved.columns.classes else ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What can be asked of a prediction: a target, or the probability of a class."""
        target = self.saved.columns.targets
        return tuple(f"probability of {name}" for name in self.classes) or target

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions (n, outputs) of encoded rows, of classes their probabilities."""
        predicted = np.asarray(self.saved.fitted.predict(x))
        return probabilities(predicted) if self.classes else predicted

    @functools.cached_property
    def inputs(self) -> list[dict[str, Any]]:
        """Each column that is an input: its name, what it may be set to, and where it stands at first."""
        found = []
        for entry in self.saved.columns.plan:
            name, places = entry["name"], self.saved.columns.places[entry["name"]]
            encoded = self.data.x[:, places]
            if entry["kind"] == "number":
                low, high = float(encoded[:, 0].min()), float(encoded[:, 0].max())
                found.append(
                    {"name": name, "kind": "number", "low": low, "high": high, "value": float(np.median(encoded[:, 0]))}
                )
                continue
            at, encodings = values_taken(entry, encoded)
            words = [str(each)[:10] if at.dtype.kind == "M" else str(each) for each in at]
            found.append(
                {
                    "name": name,
                    "kind": entry["kind"],
                    "choices": words,
                    "value": len(words) // 2 if at.dtype.kind == "M" else 0,
                    "encodings": encodings,
                }
            )
        return found

    def row(self, values: dict[str, Any]) -> np.ndarray:
        """One encoded row (1, inputs): each input as it is set, or as it stands at first."""
        x = np.zeros((1, self.data.x.shape[1]))
        for each in self.inputs:
            places = self.saved.columns.places[each["name"]]
            value = values.get(each["name"], each["value"])
            if isinstance(value, (str, bool)) or value is None or not abs(value) <= 1e300:
                raise SettingsError(f"{each['name']!r} is no number: a number is expected.")
            if each["kind"] == "number":
                x[0, places[0]] = value
            else:
                x[0, places] = each["encodings"][int(np.clip(value, 0, len(each["choices"]) - 1))]
        return x

    def judged(self) -> tuple[np.ndarray, np.ndarray, Any, Any, str]:
        """Values and predictions (n,) of held-out rows or else of those of the fit, their intervals, and what rows these are.

        Of classes their numbers.
        """
        data, j = self.data, self.target
        held = len(data.held_x) > 0
        x, y = (data.held_x, data.held_y) if held else (data.x, data.y)
        few = np.linspace(0, len(x) - 1, min(len(x), _ROWS)).astype(int)
        x, y = x[few], y[few]
        predicted, of = self.predict(x), f"{len(few):,} {'held-out' if held else 'training'} rows"
        if self.classes:
            number = class_numbers_of(y)
            return number.astype(float), predicted.argmax(axis=1).astype(float), None, None, of
        low = high = None
        if self.saved.intervals is not None and held:
            low, high = np.moveaxis(self.saved.intervals.interval(x, COVERAGE), 2, 0)[:, :, j]
        return y[:, j], predicted[:, j], low, high, of

    def surface(self, plane: str) -> Surface:
        """The error over a plane of the weights, with the path of the fit."""
        if plane not in self._surfaces:
            network = self.saved.fitted.alone().network
            work = len(self.data.x) * (network.n_weights + _ACTIVATION * sum(network.sizes[1:]))
            points = int(np.clip(math.sqrt(_MOST_WORK / work), _LEAST_GRID, _GRID))
            self._surfaces[plane] = surface_of(self.saved, self.data, plane, points=points)
        return self._surfaces[plane]

    def report(self) -> bytes:
        """The report of the fit. Raises SettingsError for a model file, which does not hold what a report says."""
        if self.fit is None:
            raise SettingsError("a report belongs to a fit, and this model came from a file: train here to have one.")
        if self._report is None:
            from fallline.report import render_report

            self._report = render_report(kept.report_of(self.fit, str(self.saved.about["command"]))).encode()
        return self._report

    @property
    def stem(self) -> str:
        """What its files are called."""
        return "-".join(
            re.sub(r"\W+", "_", part).strip("_")[:60] for part in (Path(self.table).stem, *self.saved.columns.targets)
        )


@dataclass(frozen=True, eq=False)
class Opened:
    """What a page begins with: a table, or a model with the rows it was fitted on, called ``name``; or nothing yet."""

    name: str = ""
    table: Table | None = None
    saved: SavedModel | None = None
    trained: Trained | None = None
    target: str | None = None
    note: str = ""

    @classmethod
    def of(cls, path: Path | None, target: str | None = None) -> "Opened":
        """That of a file. Raises TableError or ModelFileError, in a sentence, for what cannot be read."""
        if path is None:
            return cls()
        if path.suffix == SUFFIX or (path.is_file() and is_model_file(path)):
            saved = load_model(path)
            try:
                table = read_table(table_of(saved, path), like=saved.about.get("reading"))
                return cls(path.name, table, saved, found_in(saved, table), saved.columns.targets[0])
            except TableError as problem:
                note = f"{path.name} is open, but not the rows it was fitted on: drop that table here. ({problem})"
                return cls(path.name, None, saved, note=note)
        table = read_table(path)
        if target is not None and target not in table.columns:
            check_there([target], tuple(table.columns), "target")
        return cls(path.name, table, target=target)

    def said(self) -> dict[str, Any]:
        """What the page is told first."""
        return {"opened": self.name, "has_table": self.table is not None}


def found_in(saved: SavedModel, table: Table) -> Trained:
    """A saved model beside its rows, found in a table. Raises TableError where they are not there."""
    return Trained(saved, find_rows(saved, table), table=table.name)


class Work:
    """What one page works on: its table, and its fit."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.over = self.asked_to_stop = self.busy = False
        self._grounds: dict[tuple[str, ...], Ground] = {}

    def begin(self) -> None:
        """A fit begins. Raises SettingsError where one is under way."""
        if self.busy:
            raise SettingsError("a fit is under way: stop it first, or wait until it is done.")
        self.busy, self.asked_to_stop = True, False

    def open(self, path: Path) -> dict[str, Any]:
        """Go on with another file; a table belongs to the model that is open where that still lacks its rows."""
        before = self.opened
        if before.saved is not None and before.trained is None and path.suffix != SUFFIX and not is_model_file(path):
            table = read_table(path, like=before.saved.about.get("reading"))
            self.opened = Opened(
                path.name, table, before.saved, found_in(before.saved, table), before.saved.columns.targets[0]
            )
        else:
            self.opened = Opened.of(path)
        self._grounds.clear()
        return self.opened.said()

    @property
    def table(self) -> Table:
        """The table. Raises SettingsError where there is none."""
        if self.opened.table is None:
            raise SettingsError("there is no table yet: drop one on the page, or start with `fallline explore TABLE`.")
        return self.opened.table

    @property
    def trained(self) -> Trained:
        """The fit. Raises SettingsError where there is none."""
        if self.opened.trained is None:
            raise SettingsError("nothing is trained yet: choose a target and train.")
        return self.opened.trained

    def ground(self, given: Given, activation: str) -> Ground:
        """A neuron of that activation on two columns of the table."""
        numbers = [name for name, kind in kinds_of(self.table).items() if kind == "number"]
        if len(numbers) < 3:
            raise SettingsError(
                f"{self.table.name} has fewer than three columns of numbers: two inputs and a target are needed."
            )
        first, second, target = (given.choice(name, numbers) for name in ("first", "second", "target"))
        if len({first, second, target}) < 3:
            raise SettingsError("the two inputs and the target need to be three columns: choose another.")
        key = (first, second, target, activation)
        if key not in self._grounds:
            if len(self._grounds) >= _MOST_GROUNDS:
                self._grounds.clear()
            self._grounds[key] = ground_of(pairs_of(self.table.columns, (first, second), target), activation)
        return self._grounds[key]

    def file(self, name: str) -> Made:
        """The model, the report, or a picture. Raises SettingsError for another name."""
        trained = self.trained
        if name == "report.html":
            return Made(trained.report(), "text/html", quote(f"{trained.stem}.html"))
        with TemporaryDirectory(prefix="fallline-") as folder:
            path = Path(folder) / name
            if name == "model":
                save_model(trained.saved, path)
                return Made(path.read_bytes(), "application/octet-stream", quote(f"{trained.stem}{SUFFIX}"))
            found = _PICTURE.fullmatch(name)
            if not found:
                raise SettingsError(
                    f"there is no file {name[:40]!r}: ask for the model, the report, or a picture as PNG or SVG."
                )
            from fallline.plot import ErrorSurfaceDisplay, PredictedActualDisplay
            from fallline.plot.picture_file import write_picture

            if found[1] == "surface":
                write_picture(ErrorSurfaceDisplay(trained.surface("auto")).plot, path)
            else:
                actual, predicted, low, high, _ = trained.judged()
                display = PredictedActualDisplay(
                    actual, predicted, trained.saved.columns.targets[trained.target], low, high
                )
                write_picture(display.plot, path)
            kind = "image/png" if found[2] == "png" else "image/svg+xml"
            return Made(path.read_bytes(), kind, quote(f"{trained.stem}-{name}"))


def kinds_of(table: Table) -> dict[str, str]:
    """What each column holds: numbers, dates, true and false, or text."""
    kinds = {"f": "number", "M": "date", "b": "boolean"}
    return {name: kinds.get(values.dtype.kind, "text") for name, values in table.columns.items()}
