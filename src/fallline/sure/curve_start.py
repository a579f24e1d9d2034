"""Where the fit of a curve starts, if nobody says: points drawn from what formula and rows suggest, tried, and improved.

Parameters in which ŷ is linear follow from the others by least squares (variable projection: Golub & Pereyra 1973, SIAM J.
Numer. Anal. 10:413). Of the others a formula says in which units they are: sizes lie between spacing and range of the inputs,
what shifts the curve puts it at a row, what turns it takes a frequency that the periodogram of the rows shows. Where a
function says nothing, each of these is tried for each parameter.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.error.sums import Block
from fallline.exceptions import FalllineError, SettingsError
from fallline.model.curve import Curve
from fallline.model.dimensions import angles, shifts, units
from fallline.model.formula import Formula
from fallline.model.grouped_curve import GroupedCurve
from fallline.rows.memory import InMemory
from fallline.threads import one_blas_thread
from fallline.walk.loop import descend

# So many points are tried; a few of the best are changed in part, some times over; the best few, none like another, are
# descended from for so many steps.
_CANDIDATES, _PARENTS, _CHANGED, _ROUNDS, _DESCENDED, _FIRST_STEPS = 384, 16, 8, 3, 8, 60
_OPAQUE = 2  # times as many of a function that no formula can be read from
_ROWS_TRIED, _ROWS_TIMED = 1024, 512
_DECADES = 2.0  # to either side of what is suggested
_BLIND = 0.25  # share of the points drawn without regard to the formula
_SAME = 1e-8  # relative change of a column that is rounding
_ALIKE = 0.02  # curves nearer than this share of their residuals lead to one end
_LEVEL = 1e-6  # errors nearer than this share are level: aliases on an even grid
_MOST_PEAKS, _FINEST = 12, 1 << 16  # of a periodogram: peaks drawn from, frequencies looked at
_TURNS = 2 * np.pi * np.array([1.0, 1.0, 1.0, 1.0, 0.5, 2.0])  # a curve may turn at half or twice what is seen

Box = tuple[np.ndarray, np.ndarray]


def find_start(
    model: Curve, rows: InMemory, descent: Descent, known: Mapping[str, float | None], box: Box, seed: int = 0
) -> np.ndarray:
    """Weights to start from (n_weights,): those that are known, the others where they can be found.

    Where all unknown ones are linear nothing is drawn. Raises SettingsError where no point gives a number in every row.
    """
    unknown = np.array([known[name] is None for name in model.free])
    first = np.clip(model.initial(), *box)
    first = np.where(unknown, first, [known[name] or 0.0 for name in model.free])
    if not unknown.any():
        return first
    random = np.random.default_rng(seed)
    some = np.arange(len(rows))
    block = next(rows.batches(some, len(some)))
    columns = block.x[:, : len(model.columns)].T  # of all rows: some of them lie further apart
    if len(rows) > _ROWS_TRIED:  # by chance: rows at even steps would hide what is quicker than these
        some = np.sort(random.choice(len(rows), _ROWS_TRIED, replace=False))
        block = next(rows.batches(some, len(some)))
    with one_blas_thread(), np.errstate(all="ignore"):
        draws = _Draws(model, block, columns, box, random)
        tried = draws.points(np.tile(first, (64, 1)), unknown)
        tried[0] = first
        linear = _linear(model, tried, unknown, block.x)
        searched = unknown & ~linear
        points, errors = _solved(model, tried[:1], linear, box, block)
        if not searched.any():
            return np.asarray(points[0]) if np.isfinite(errors[0]) else first
        drawn = draws.points(np.tile(first, (_CANDIDATES * (1 if draws.formula else _OPAQUE), 1)), searched)
        points, errors = _better(points, errors, *_solved(model, drawn, linear, box, block))
        for _ in range(_ROUNDS if np.isfinite(errors).any() else 0):
            parents = np.repeat(points[:_PARENTS], _CHANGED * (1 if draws.formula else _OPAQUE), axis=0)
            draws.look_at(block.y[:, 0] - model.predict(points[0], block.x)[:, 0])
            changed = searched & (random.uniform(size=parents.shape) < 0.5)
            changed |= searched & ~changed.any(axis=1, keepdims=True)
            points, errors = _better(
                points, errors, *_solved(model, draws.points(parents, changed), linear, box, block)
            )
        points = points[np.isfinite(errors)]
        slower = np.array([not draws.is_alias(point) for point in points], bool)
        points = _unlike(model, points[slower] if slower.any() else points, block)
    if not len(points):
        raise SettingsError(
            "no start was found at which the curve is a number in every row, such as no logarithm of 0 is: say where to start, "
            f"start={{{', '.join(f'{name!r}: …' for name, at in zip(model.free, unknown, strict=True) if at)}}}, or give bounds."
        )
    few = rows if len(some) == len(rows) else InMemory(block.x, block.y, block.s, np.float64)
    ends = []
    for point in points:
        path = descend(model, few, descent, weights=point, max_iter=_FIRST_STEPS)
        if path.stop == Stop.INTERRUPTED:
            raise KeyboardInterrupt
        ends.append(path)
    errors = np.array([path.penalised_error.min() for path in ends])
    level = np.flatnonzero(errors <= errors.min() * (1 + _LEVEL))
    best = int(level[np.argmin([_restless(model, ends[i].best_weights, block) for i in level])])
    # From a few of the rows another step may lead elsewhere: then it goes on from where these led.
    return np.asarray(points[best] if few is rows else ends[best].best_weights)


def find_group_start(
    model: GroupedCurve, rows: InMemory, descent: Descent, known: Mapping[str, float | None], box: Box, seed: int = 0
) -> np.ndarray:
    """The same for several groups: once by what all rows give as one group, once by what the largest gives.

    Each time the other groups start from the shared parameters found so, their own ones looked for among their own rows; what
    ends lowest is the start.
    """
    block = next(rows.batches(np.arange(len(rows)), len(rows)))
    whole = np.array([np.nan] * len(model.names))
    lower, upper = np.full(len(whole), -np.inf), np.full(len(whole), np.inf)
    free = np.array([name in model.free for name in model.names])
    whole[free] = [np.nan if value is None else value for value in known.values()]
    lower[free], upper[free] = box
    whole[~free] = block.x[0, len(model.columns) :]
    each, k = model.each, len(model.each.columns)
    members = [np.flatnonzero(block.x[:, k] == g) for g in range(len(model.groups))]

    def started(which: np.ndarray, at: np.ndarray, given: np.ndarray) -> np.ndarray:
        """The parameters of one group, or of all as one, from some rows and those that are known there."""
        there = InMemory(block.x[which, :k], block.y[which], None if block.s is None else block.s[which], np.float64)
        own = {name: None if np.isnan(v) else float(v) for name, v in zip(each.names, given, strict=True)}
        settings = LevenbergMarquardt.for_curves(tuple(lower[at].tolist()), tuple(upper[at].tolist()))
        begin = find_start(each.afresh(), there, settings, own, (lower[at], upper[at]), seed)
        if np.isnan(given).any():
            begin = descend(each.afresh(), there, settings, weights=begin, max_iter=_FIRST_STEPS).best_weights
        return np.where(np.isnan(given), begin, given)

    largest = int(np.argmax([len(own) for own in members]))
    ends: list[tuple[float, int, np.ndarray]] = []
    for which in (np.arange(len(rows)), members[largest]):
        first = started(which, model.places[largest], whole[model.places[largest]])
        shared = np.array([name in model.shared for name in each.names])
        point = whole.copy()
        for at, own in zip(model.places, members, strict=True):
            given = np.where(shared & np.isnan(whole[at]), first, whole[at])
            try:
                point[at] = started(own, at, given)
            except FalllineError:  # too few rows to say anything
                point[at] = np.where(np.isnan(given), first, given)
        try:
            path = descend(model, rows, descent, weights=point[free], max_iter=_FIRST_STEPS)
        except FalllineError:
            continue
        ends.append((float(path.penalised_error.min()), len(ends), point[free]))
    if not ends:
        raise SettingsError("no start was found from which all groups have a number in every row: say where to start.")
    return min(ends)[2]


class _Draws:
    """Draws points from what a formula says of its parameters and what the rows show."""

    def __init__(self, model: Curve, block: Block, columns: np.ndarray, box: Box, random: np.random.Generator) -> None:
        self.model, self.block, self.box, self.random = model, block, box, random
        self.x = block.x[:, : len(model.columns)]
        sizes = [_sizes(column) for column in (*self.x.T, block.y[:, 0])]
        self.low, self.high = (np.log(side) for side in np.moveaxis(np.array(sizes), 2, 0))  # (k + 1, 2) each
        # On an even grid what turns more than half a turn a step passes for something slower.
        steps = [spacing(column) for column in columns]
        self.fastest = {name: np.pi / step for name, step in zip(model.columns, steps, strict=True) if step}
        self.highest = [highest_frequency(x) for x in columns]
        self.units, self.shifts, self.angles = np.zeros((model.n_weights, len(sizes))), [], []
        formula = model.formula(model.initial(), block.x)
        self.formula = formula
        if formula is not None:
            names = (*model.free, *model.given)
            self.units = units(formula, model.columns, names)[: model.n_weights]
            self.shifts = [each for each in shifts(formula, model.columns, names) if each.name in model.free]
            self.angles = angles(formula, model.columns)
        # Sines of −f are those of f, and those of any phase of one within half a turn: what is easier to read.
        within = {name for angle in self.angles for name in angle.names}
        united, shifting = np.abs(self.units).max(axis=1) > 0.1, {shift.name for shift in self.shifts}
        self.quick, self.phases = (
            [i for i, name in enumerate(model.free) if name in within and (united[i], name in shifting) == kind]
            for kind in ((True, False), (False, True))
        )
        turning = {name for angle in self.angles for name in angle.names} if formula else set(model.columns)
        self.turning = [j for j, name in enumerate(model.columns) if name in turning]
        self.seen = self._seen(block.y[:, 0] - np.median(block.y[:, 0]))
        self.looked_at = self.seen

    def _seen(self, residual: np.ndarray) -> tuple[np.ndarray, dict[int, tuple[np.ndarray, np.ndarray]]]:
        """How far each row is off, (n,) adding up to 1, and of each column what the periodogram shows."""
        off = residual**2 if np.any(residual) else np.ones(len(residual))
        shown = {j: _peaks(self.x[:, j], residual, self.highest[j]) for j in self.turning}
        return off / off.sum(), {j: found for j, found in shown.items() if len(found[0])}

    def look_at(self, residual: np.ndarray) -> None:
        """Draw half of the rows and frequencies from now on from what a first curve leaves (n,)."""
        self.looked_at = self._seen(residual)

    def points(self, points: np.ndarray, changed: np.ndarray) -> np.ndarray:
        """The points (m, p), their parameters of ``changed``, (p,) or (m, p), drawn anew."""
        changed = np.broadcast_to(changed, points.shape)
        m, p = points.shape
        spread = self.random.uniform(-1.0, 1.0, (m, p))
        which = self.random.integers(0, 2, (m, p, self.units.shape[1]))
        at = self.random.uniform(size=which.shape)
        low, high = (
            np.take_along_axis(side[None, None], which[..., None], 3)[..., 0] for side in (self.low, self.high)
        )
        size = np.exp(np.einsum("mpk,pk->mp", low + at * (high - low), self.units))
        sized = size * 10.0 ** (_DECADES * spread * np.abs(spread))
        blind = self.random.choice(np.exp([0.0, *self.high.ravel(), *-self.high.ravel()]), (m, p))
        blind *= 10.0 ** (_DECADES * spread)
        aware = (self.formula is not None) & (self.random.uniform(size=(m, 1)) >= _BLIND)
        # Curves are written so that most parameters are positive.
        values = np.where(aware, sized, blind) * self.random.choice([1.0, 1.0, -1.0], (m, p))
        found = np.where(changed, self._within(values), points)
        for point, free, by_formula in zip(found, changed, np.broadcast_to(aware, (m, 1))[:, 0], strict=True):
            (self._placed if by_formula else self._guessed)(point, free)
        found[:, self.quick] = np.abs(found[:, self.quick])
        found[:, self.phases] = np.remainder(found[:, self.phases] + np.pi, 2 * np.pi) - np.pi
        return np.where(changed, self._within(found), points)

    def is_alias(self, point: np.ndarray) -> bool:
        """Whether the curve turns more than half a turn between neighbours of an even grid."""
        if self.formula is None or not self.fastest or not self.angles:
            return False
        turning = speeds(self.formula, self.model.named(point, self.block.x), self.model.columns)
        return any(turning.get(name, 0.0) > fastest * (1 + 1e-6) for name, fastest in self.fastest.items())

    def _placed(self, point: np.ndarray, free: np.ndarray) -> None:
        """Give what turns the curve a frequency, what shifts it a place."""
        places = {name: i for i, name in enumerate(self.model.free)}
        shifting, done = {shift.name for shift in self.shifts}, set()
        for angle in self.angles:
            j = self.random.choice([j for j in self.turning if self.model.columns[j] in angle.names])
            taking = [
                i for name, i in places.items() if name in angle.names and free[i] and abs(self.units[i, j]) > 0.1
            ]
            taking = [i for i in taking if i not in done and self.model.free[i] not in shifting]
            speed = angle.slopes(self.model.named(point, self.block.x), (self.model.columns[j],))[0]
            faster = self._frequency(j) / float(np.median(np.abs(speed)))
            if taking and np.isfinite(faster) and faster > 0:
                point[taking] *= faster ** -self.units[taking, j]
                done.update(taking)
        for shift in self.shifts:
            i = places[shift.name]
            if free[i] and i not in done:
                point[i] = shift.sign * shift.other(self.model.named(point, self._row()))[0]
                done.add(i)

    def _guessed(self, point: np.ndarray, free: np.ndarray) -> None:
        """The same for some of the parameters, whatever they do."""
        for i in np.flatnonzero(free & (self.random.uniform(size=len(free)) < 0.5)):
            j = int(self.random.integers(self.x.shape[1]))
            frequency = self._frequency(j)
            choice = self.random.integers(5)
            period = 2 * np.pi / frequency
            point[i] = (self._row()[0, j], frequency, 1 / period, period, 1 / frequency)[choice]

    def _frequency(self, j: int) -> float:
        """An angle for each unit of column j."""
        shown = (self.seen, self.looked_at)[self.random.integers(2)][1].get(j)
        if shown is None:
            return float(2 * np.pi / np.exp(self.random.uniform(self.low[j, 0], self.high[j, 0])))
        return float(self.random.choice(_TURNS) * self.random.choice(shown[0], p=shown[1]))

    def _row(self) -> np.ndarray:
        """A place for the curve to be shifted to, as one row (1, inputs): where the rows are off, within them, or beside."""
        row = self.block.x[:1].copy()
        kind = self.random.uniform()
        k = self.x.shape[1]
        low, high = self.x.min(axis=0), self.x.max(axis=0)
        if kind < 0.5:
            off = (self.seen, self.looked_at)[self.random.integers(2)][0]
            row[0, :k] = self.x[self.random.choice(len(off), p=off)]
        elif kind < 0.85:
            row[0, :k] = low + self.random.uniform(size=k) * (high - low)
        else:
            beyond = (high - low) * 10.0 ** self.random.uniform(-2.0, 1.0, k)
            row[0, :k] = np.where(self.random.uniform(size=k) < 0.5, low - beyond, high + beyond)
        return row

    def _within(self, values: np.ndarray) -> np.ndarray:
        """Values (m, p) within the bounds: those outside anywhere between two, or as far on the other side of one."""
        lower, upper = self.box
        both = np.isfinite(lower) & np.isfinite(upper)
        low, wide = np.where(both, lower, 0.0), np.where(both, upper - np.where(both, lower, 0.0), 0.0)
        outside = (values < lower) | (values > upper)
        values = np.where(both & outside, low + wide * self.random.uniform(size=values.shape), values)
        values = np.where(values < lower, 2.0 * lower - values, values)
        values = np.where(values > upper, 2.0 * upper - values, values)
        return np.clip(values, lower, upper)


def speeds(formula: Formula, named: Mapping[str, Any], columns: Sequence[str]) -> dict[str, float]:
    """For each column that sines are taken of, the largest angle for each unit of it, over the rows its median."""
    found: dict[str, float] = {}
    for angle in angles(formula, columns):
        for name in set(angle.names) & set(columns):
            speed = float(np.median(np.abs(angle.slopes(named, (name,))[0])))
            found[name] = max(speed, found.get(name, 0.0))
    return found


def _sizes(values: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """The smallest and the largest size that values (n,) suggest: of their differences, and of themselves."""
    steps = np.diff(np.unique(values))
    sizes = np.abs(values[values != 0])
    of_steps = (float(np.median(steps)), float(steps.sum())) if len(steps) else (1.0, 1.0)
    return of_steps, (float(sizes.min()), float(sizes.max())) if len(sizes) else of_steps


def spacing(values: np.ndarray) -> float | None:
    """The step of values (n,) that lie on an even grid, gaps allowed; None of others."""
    ordered = np.unique(values)
    steps = np.diff(ordered)
    if len(steps) < 5:
        return None
    wide = float(ordered[-1] - ordered[0])
    count = round(wide / float(steps.min()))
    at = (ordered - ordered[0]) * count / wide
    return wide / count if np.abs(at - np.round(at)).max() < 0.05 else None


def highest_frequency(values: np.ndarray) -> float:
    """The highest frequency that is looked for over values (n,).

    On an even grid it is half a turn a step, where aliases begin; beyond some turns for each row chance alone would fit.
    """
    if step := spacing(values):
        return 0.5 / step
    steps = np.diff(np.unique(values))
    return float(min(0.5 / np.quantile(steps, 0.1), 2.0 * len(steps) / steps.sum())) if len(steps) else 1.0


def periodogram(x: np.ndarray, y: np.ndarray, highest: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies up to ``highest``, a fifth of a turn over all x (n,) apart, and the share of Σ y² that each takes away.

    A straight line is taken off y (n,) before.

    Least squares with a mean beside the sine, at any spacing. SciPy's ``lombscargle`` gives the same; it is slower, and
    so is its import.
    Source: Lomb (1976), Astrophys. Space Sci. 39:447; Zechmeister & Kürster (2009), Astron. Astrophys. 496:577.
    """
    # By chance: rows at even steps would hide what is quicker than these.
    some = np.random.default_rng(0).permutation(len(x))[:_ROWS_TIMED]
    x, y, n = x[some] - x[some].min(), y[some], len(some)
    apart = 0.2 / (float(x.max()) or 1.0)
    y = y - np.polynomial.Polynomial.fit(x, y, 1)(x)
    count = int(min(highest / apart, _FINEST))
    many = min(count, 256)
    turned = np.exp(2j * np.pi * apart * np.arange(1, many + 1)[:, None] * x)
    further = np.exp(2j * np.pi * apart * many * x)
    power = np.zeros(0)
    while len(power) < count:
        of_y, mean, twice = turned @ y, turned.mean(axis=1), np.einsum("fn,fn->f", turned, turned)
        cc, ss = (0.5 * (n + sign * twice.real) - n * part**2 for sign, part in ((1, mean.real), (-1, mean.imag)))
        cs = 0.5 * twice.imag - n * mean.real * mean.imag
        both = cc * ss - cs**2
        taken = of_y.real**2 * ss + of_y.imag**2 * cc - 2 * of_y.real * of_y.imag * cs
        power = np.concatenate([power, np.where(both > _SAME * n**2, taken / np.where(both > 0, both, 1.0), 0.0)])
        turned *= further
    return apart * np.arange(1, count + 1), power[:count] / (float(y @ y) or 1.0)


def _peaks(x: np.ndarray, y: np.ndarray, highest: float) -> tuple[np.ndarray, np.ndarray]:
    """The frequencies at which y (n,) over x (n,) turns most, and with which chance each is to be drawn."""
    if len(np.unique(x)) < 6 or not np.isfinite(y).all():
        return np.zeros(0), np.zeros(0)
    frequencies, power = periodogram(x, y, highest)
    edge = np.concatenate([[-np.inf], power, [-np.inf]])
    peaks = np.flatnonzero((power >= edge[:-2]) & (power > edge[2:]) & (power > 0))
    peaks = peaks[np.argsort(-power[peaks])[:_MOST_PEAKS]]
    chance = np.sqrt(power[peaks])
    return frequencies[peaks], chance / chance.sum()


def _better(*found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and errors, and others: the best of all of them, the best first."""
    points, errors = np.concatenate(found[::2]), np.concatenate(found[1::2])
    order = np.argsort(errors, kind="stable")[:_CANDIDATES]
    return points[order], errors[order]


def _unlike(model: Curve, points: np.ndarray, block: Block) -> np.ndarray:
    """The first few of the points (m, p) whose curves have slopes and are not alike."""
    taken: list[np.ndarray] = []
    curves: list[np.ndarray] = []
    for point in points:
        if not np.isfinite(model.jacobian(point, block.x)).all():
            continue
        curve = model.predict(point, block.x)[:, 0]
        apart = _ALIKE * np.sum((curve - block.y[:, 0]) ** 2)
        if all(np.sum((curve - other) ** 2) > apart for other in curves):
            taken.append(point)
            curves.append(curve)
        if len(taken) == _DESCENDED:
            break
    return np.array(taken)


def _restless(model: Curve, point: np.ndarray, block: Block) -> float:
    """How far the curve strays between rows that are neighbours in the first column."""
    x = block.x[np.argsort(block.x[:, 0], kind="stable")]
    ends = model.predict(point, x)[:, 0]
    apart = model.predict(point, 0.5 * (x[1:] + x[:-1]))[:, 0] - 0.5 * (ends[1:] + ends[:-1])
    return float(np.sum(np.where(np.isfinite(apart), apart, np.inf) ** 2))


def _linear(model: Curve, candidates: np.ndarray, unknown: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which unknown parameters are linear in ŷ together, (p,) bool: where the columns of none change with any.

    Read off points where ŷ is finite, not off the formula, so that it holds for a function too.
    """

    def columns(points: np.ndarray) -> np.ndarray:
        return np.stack([model.jacobian(point, x)[:, 0] for point in points])

    linear = np.zeros(len(unknown), bool)
    points = candidates[:64]
    here = columns(points)
    for i in np.flatnonzero(unknown):
        tried = linear.copy()
        tried[i] = True
        there = columns(np.where(tried, np.roll(points, 1, axis=0), points))[:, :, tried]
        size = np.abs(here[:, :, tried]).max(axis=1, keepdims=True)
        sound = (np.isfinite(here[:, :, tried]) & np.isfinite(there)).all(axis=(1, 2))
        same = np.abs(here[:, :, tried] - there) <= _SAME * size
        linear[i] = sound.sum() >= 3 and bool(same[sound].all())
    return linear


def _solved(
    model: Curve, candidates: np.ndarray, linear: np.ndarray, box: tuple[np.ndarray, np.ndarray], block: Block
) -> tuple[np.ndarray, np.ndarray]:
    """The points with their linear parameters by least squares, within bounds, and E of each, ∞ where it is no number."""
    y, root = block.y[:, 0], 1.0 if block.s is None else np.sqrt(block.s)
    solved, errors = candidates.copy(), np.full(len(candidates), np.inf)
    for k, point in enumerate(np.where(linear, 0.0, candidates)):
        residual = root * (y - model.predict(point, block.x)[:, 0])
        part = (root * model.jacobian(point, block.x)[:, 0, linear].T).T
        if not (np.isfinite(residual).all() and np.isfinite(part).all()):
            continue
        size = np.linalg.norm(part, axis=0)
        size = np.where(size > 0, size, 1.0)
        found = np.linalg.lstsq(part / size, residual, rcond=None)[0] / size
        solved[k, linear] = np.clip(found, box[0][linear], box[1][linear])
        errors[k] = 0.5 * np.sum((residual - part @ solved[k, linear]) ** 2)
    return solved, np.where(np.isfinite(errors), errors, np.inf)
