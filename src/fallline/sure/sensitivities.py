"""Sensitivities: ∂ŷ/∂x, how steeply a prediction changes with a column, in every row and in the units of the table.

The chain rule by hand, through the whole combined network with its linear units, its scores and its scaling: nothing is fitted,
differenced or drawn here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.error.dense import Dense
from fallline.exceptions import SettingsError, ShapeError
from fallline.fit.fitted import FittedNetwork
from fallline.sure.effects import SHARE

_NUMBERS = 1 << 22  # of ∂ŷ/∂z of one block of rows


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """∂ŷ/∂x of k targets with respect to c columns of numbers, in n rows: units of the target for one unit of the column.

    ``names`` (c,) of the columns; ``at`` (n, c), their values; ``slopes`` (n, c, k), NaN in rows where the column is missing.
    ``low`` and ``high`` hold between them the slopes of the middle ``share`` of the rows: a band over the rows, that says where
    a column does more or less, not how sure that is.
    """

    names: tuple[str, ...]
    at: np.ndarray
    slopes: np.ndarray
    share: float = SHARE

    @property
    def mean(self) -> np.ndarray:
        """The mean slope over the rows, (c, k)."""
        return self._over_rows(np.nanmean)

    @property
    def low(self) -> np.ndarray:
        """The lower end of the band, (c, k)."""
        return self._over_rows(lambda slopes, axis: np.nanquantile(slopes, 0.5 - self.share / 2, axis=axis))

    @property
    def high(self) -> np.ndarray:
        """The upper end of the band, (c, k)."""
        return self._over_rows(lambda slopes, axis: np.nanquantile(slopes, 0.5 + self.share / 2, axis=axis))

    @property
    def rising(self) -> np.ndarray:
        """The share of the rows in which the prediction rises with the column, (c, k)."""
        return self._over_rows(
            lambda slopes, axis: np.nanmean(np.where(np.isnan(slopes), np.nan, slopes > 0), axis=axis)
        )

    def _over_rows(self, of: Any) -> np.ndarray:
        known = ~np.isnan(self.slopes).all(axis=0)  # a column may be missing in every row
        found = np.full(known.shape, np.nan)
        found[known] = of(self.slopes[:, known], axis=0)
        return found


def sensitivities(
    fitted: FittedNetwork, x: Any, columns: Mapping[str, Sequence[int]] | None = None, *, share: float = SHARE
) -> Sensitivity:
    """∂ŷ/∂x of a fitted network in rows x (n, inputs), in the units of the table.

    columns: by name, the input that holds a column's numbers and, where there is one, the input that is 1 where it was missing;
    all inputs, x1, x2, …, without. Categories and dates have no slope: the differences between their values are what
    ``partial_dependence`` says. Of classes it is the slope of an output before it is made a probability.
    Raises ShapeError for rows that do not fit, SettingsError for a share outside (0, 1).

    >>> import numpy as np
    >>> from fallline import load_model, sensitivities
    >>> model = load_model("concrete-strength.fallline")  # doctest: +SKIP
    >>> sensitivities(model.fitted, np.array([[540, 0, 0, 162, 2.5, 1040, 676, 28]])).mean  # doctest: +SKIP

    Source: Rumelhart, Hinton & Williams (1986), Nature 323:533 (the chain rule, taken down to the inputs).
    """
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != fitted.network.inputs or not len(x):
        raise ShapeError(
            f"x has shape {x.shape}; expected one row or more of the network's inputs: (rows, {fitted.network.inputs})."
        )
    if not 0 < share < 1:
        raise SettingsError(f"share={share!r} is not possible: give a share of the rows between 0 and 1, such as 0.8.")
    places = {f"x{i + 1}": [i] for i in range(x.shape[1])} if columns is None else columns
    first = [inputs[0] for inputs in places.values()]
    slopes = np.moveaxis(_slopes(fitted, x, first), 1, 2)
    for c, (_, *indicator) in enumerate(places.values()):
        slopes[(x[:, indicator] == 1).any(axis=1), c] = np.nan
    return Sensitivity(tuple(places), x[:, first], slopes, share)


def _slopes(fitted: FittedNetwork, x: np.ndarray, inputs: Sequence[int]) -> np.ndarray:
    """∂ŷ/∂x, (n, outputs, len(inputs)), block by block."""
    network, scaling = fitted.network, fitted.scaling
    size = max(_NUMBERS // (network.outputs * max(network.sizes)), 1)
    parts = []
    for at in range(0, len(x), size):
        slopes = Dense(network, fitted.weights, scaling.x(x[at : at + size])).to_inputs()
        if scaling.scores is not None:
            slopes = scaling.scores @ slopes
        parts.append(np.moveaxis(slopes[:, list(inputs), :], 2, 0))
    units = scaling.y_scale[:, None] / scaling.x_scale[None, list(inputs)]
    return np.asarray(np.concatenate(parts) * units)
