"""What can go wrong, in words the user can act on.

Every message says what was wrong, what was expected and what to do. ``errors``
would be the wrong name for this file: error is E here.
"""


class FalllineError(Exception):
    """Anything fallline refuses, with one sentence that says what to do."""


class ShapeError(FalllineError, ValueError):
    """Arrays whose shapes do not fit each other or the network."""


class SettingsError(FalllineError, ValueError):
    """A setting outside what it may be: an unknown activation, a negative rate."""


class TableError(FalllineError, ValueError):
    """A table that cannot be read, or has no column, row or value that is needed."""


class ModelFileError(FalllineError, ValueError):
    """A model file that is missing, damaged, truncated or not fallline's."""


class CheckpointError(FalllineError, ValueError):
    """A checkpoint of another fit, in use by another process, or in a folder of other files."""


class OutputError(FalllineError, OSError):
    """A file or folder that cannot be written."""


class ClusterError(FalllineError, ConnectionError):
    """A cluster that is not there, is gone, or whose workers cannot do what is asked."""


class DescentWarning(UserWarning):
    """A descent that ended early, with the lowest-error weights kept: rate too large, interrupted, NaN."""
