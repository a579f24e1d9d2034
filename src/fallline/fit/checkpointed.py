"""The checkpoint of a fit: what determines it, and its seed where nobody gave one."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from fallline.arrays import to_numpy
from fallline.fit.fitted import FittedNetwork
from fallline.fit.settings import Settings
from fallline.identity import digest
from fallline.rows.rows import Rows
from fallline.walk.checkpoint import Checkpoint, opened
from fallline.walk.path import DescentPath

_APART = ("checkpoint", "max_seconds", "n_jobs", "input_names")  # what a fit may go on with another one of


@contextlib.contextmanager
def checkpointed(
    settings: Settings, rows: Mapping[str, Any], also: Mapping[str, Any], drawn: int | None = None
) -> Iterator[Settings]:
    """The settings of a fit to rows, {name: arrays}, with their checkpoint open, if they name a folder.

    ``also``: what else determines the fit, by name. A fit without a seed has the one that was drawn when it was begun, ``drawn``
    if it begins now.
    """
    if not is_folder(settings):
        yield settings if settings.seed is not None else dataclasses.replace(settings, seed=drawn)
        return
    if settings.seed is None and drawn is None:
        drawn = int(np.random.default_rng().integers(1 << 62))

    def about() -> dict[str, Any]:
        fields = [field.name for field in dataclasses.fields(settings) if field.name not in _APART]
        return content_said(rows) | {name: getattr(settings, name) for name in fields} | dict(also)

    with opened(settings.checkpoint, about, drawn=drawn if settings.seed is None else None) as checkpoint:
        assert checkpoint is not None
        seed = checkpoint.drawn if settings.seed is None else settings.seed
        yield dataclasses.replace(settings, checkpoint=checkpoint, seed=seed)


def fit_in_folder(
    fit: Callable[[Settings], tuple[FittedNetwork, DescentPath]],
    settings: Settings,
    rows: Mapping[str, Any],
    also: Mapping[str, Any],
) -> tuple[FittedNetwork, DescentPath]:
    """What ``fit`` gives with the checkpoint of its settings open, whose folder is told how it ended; see ``checkpointed``."""
    with checkpointed(settings, rows, also) as kept:
        fitted, path = fit(kept)
        kept.checkpoint.ended(path.stop)
    return fitted, path


def is_folder(settings: Settings) -> bool:
    """Whether the settings name a folder as the checkpoint, which is still to be opened."""
    return settings.checkpoint is not None and not isinstance(settings.checkpoint, Checkpoint)


def content_said(rows: Mapping[str, Any]) -> dict[str, str]:
    """Rows by name, ``Rows`` or arrays of which the first is x: how many, and eight letters of a digest of all they hold."""

    def said(given: Any) -> str:
        if isinstance(given, Rows):
            return f"{len(given)} rows, content {given.content[:8]}"
        arrays: list[Any] = [each if each is None else to_numpy(each) for each in given]
        return f"{arrays[0].shape[0]} rows, content {digest(arrays)[:8]}"

    return {name: said(given) for name, given in rows.items()}
