"""The live page: take hold of gradient descent in a browser, on small examples and on a table of one's own.

``server.py`` has the routes and what it refuses, ``session.py`` one page at work, ``work.py`` its table and fit, ``messages.py``
what goes to and fro; each of the four places is a file. The page itself is ``static/``: modules with one job each. It draws, and
computes nothing of a descent: every number on it is asked of the rooms.
"""

import sys
import types
from typing import Any


def explore(of: Any = None, *, target: str | None = None, height: int = 760) -> Any:
    """Open the live page in a notebook: on a table, a model file, a ``SavedModel`` or a fitted estimator; or on nothing yet.

    of: the path of a table or of a model file, what ``load_model`` gave, or a ``NetworkRegressor`` or ``NetworkClassifier`` after
    ``fit``. target: the column of a table to predict. height: of the frame, in pixels.

    A server on the loopback address serves it until ``end()`` is called on what is returned, or Python ends. Raises TableError or
    ModelFileError for what cannot be read, SettingsError for what cannot be shown.
    """
    from fallline.explore.notebook import shown

    return shown(of, target, height)


class _Room(types.ModuleType):
    """``fallline.explore`` is this folder and the function of its name alike."""

    __call__ = staticmethod(explore)


sys.modules[__name__].__class__ = _Room
