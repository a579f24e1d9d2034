"""The live page in a notebook: a server of its own beside the notebook's, and the page in a frame."""

import html
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fallline.cli.rows import FoundRows, table_of
from fallline.descent import words_of
from fallline.exceptions import SettingsError
from fallline.explore.server import Server
from fallline.explore.work import Opened, Trained, found_in
from fallline.fit.simplex import class_numbers_of, probabilities
from fallline.model_file import SavedModel
from fallline.report import ClassRows, RowSet, figures
from fallline.table.columns import Columns
from fallline.table.frames import table_if_frame
from fallline.table.read import read_table
from fallline.table.roles import ColumnUse

_TARGET = "y"


class Shown:
    """A page that is shown: its address ``url``, and ``end()`` for its server."""

    def __init__(self, opened: Opened, height: int) -> None:
        self._server, self._height = Server(opened).begin(), height
        self.url = self._server.url

    def end(self) -> None:
        """Stop serving the page."""
        self._server.end()

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {int(self._height)}px; border: 1px solid #8884; border-radius: 6px"
        return (
            f'<iframe src="{html.escape(self.url)}" title="fallline" style="{style}" allow="clipboard-write"></iframe>'
        )

    def __repr__(self) -> str:
        return f"fallline at {self.url}"


def shown(of: Any, target: str | None, height: int) -> Shown:
    """See ``fallline.explore``."""
    return Shown(opened(of, target), height)


def opened(of: Any, target: str | None = None) -> Opened:
    """What a page begins with: a file, a saved model, a data frame, or a fitted estimator with the rows of its fit."""
    if of is None or isinstance(of, (str, Path)):
        return Opened.of(None if of is None else Path(of), target)
    if isinstance(of, SavedModel):
        table = read_table(table_of(of, Path("model.fallline")), like=of.about.get("reading"))
        return Opened(table.name, table, of, found_in(of, table), of.columns.targets[0])
    if hasattr(of, "_fitted") and hasattr(of, "path_"):
        return _of_estimator(of)
    frame = table_if_frame(of)
    if frame is not None:
        return Opened(frame.name, frame, target=target)
    raise SettingsError(
        f"{type(of).__name__} cannot be explored: give the path of a table or a model file, a data frame, a saved model or a "
        "fitted estimator."
    )


def _of_estimator(fit: Any) -> Opened:
    """A fitted estimator beside the rows that it keeps for its verdict."""
    rows = getattr(fit, "_rows", None)
    if rows is None:
        raise SettingsError(
            f"this {type(fit).__name__} has not the rows of its fit any more (partial_fit and pickles let them go): "
            "fit again, or explore a model file that `fallline fit` wrote."
        )
    fitted, path = fit._fitted, fit.path_
    train, held = fit.train_rows_, np.concatenate([fit.validation_rows_, fit.test_rows_])
    (x, y, _), (held_x, held_y, _) = rows.part(train), rows.part(held)
    columns, classes = fit.columns_, getattr(fit, "classes_", None)
    if columns is None:
        given = getattr(fit, "feature_names_in_", None)
        names = [f"x{i + 1}" for i in range(x.shape[1])] if given is None else [str(name) for name in given]
        columns = _of_numbers(names, x, 1 if classes is not None else y.shape[1])
    if classes is not None:
        columns = replace(columns, classes=_told(classes))
    kept = Trained(
        SavedModel(fitted, columns, {"step": path.steps, "training": path.error}, {}, path),
        FoundRows(x, y, held_x, held_y, "the rows of the fit"),
        table=type(fit).__name__,
    )
    sets = {name: part for name, part in (("training", (x, y)), ("held-out", (held_x, held_y))) if len(part[0])}
    about = {
        "figures": {name: figures(_judged(kept, name, *part)) for name, part in sets.items()},
        "stop": path.stop_message,
        "verdict": str(fit.verdict_),
        "descent": words_of(path.descent),
        "steps": path.n_steps,
        "alpha": path.alpha,
    }
    known = getattr(fit, "_intervals", None) if classes is None else None
    saved = SavedModel(fitted, columns, kept.saved.curve, about, path, fit.intervals() if known is not None else None)
    return Opened(kept.table, None, saved, Trained(saved, kept.data, table=kept.table), columns.targets[0])


def _told(classes: Any) -> tuple[Any, ...]:
    """Labels as ``Columns`` have them: all text, all booleans, or all numbers."""
    told = tuple(each.item() if hasattr(each, "item") else each for each in classes)
    return told if all(isinstance(each, (str, bool)) for each in told) else tuple(map(float, told))


def _of_numbers(names: list[str], x: np.ndarray, outputs: int) -> Columns:
    """Columns of plain numbers, and of one target or several."""
    targets = tuple(f"{_TARGET}{j + 1}" for j in range(outputs)) if outputs > 1 else (_TARGET,)
    uses = [ColumnUse(name, "number", "a number", (name,)) for name in names]
    uses += [ColumnUse(name, "target", "predicted", ()) for name in targets]
    plan = [
        {"kind": "number", "name": name, "mean": float(mean), "missing": False}
        for name, mean in zip(names, x.mean(axis=0), strict=True)
    ]
    return Columns(targets, tuple(uses), tuple(plan))


def _judged(kept: Trained, name: str, x: np.ndarray, y: np.ndarray) -> RowSet | ClassRows:
    predicted = kept.saved.fitted.predict(x)
    if kept.classes:
        return ClassRows(name, len(x), class_numbers_of(y), probabilities(predicted))
    return RowSet(name, len(x), y, predicted)
