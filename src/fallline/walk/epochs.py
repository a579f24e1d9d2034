"""A walk by mini-batches, epoch by epoch.

An epoch takes every row once, in an order fixed by (seed, epoch), a step for each batch. A point of the path is the end of
an epoch, with E over all rows; where an epoch is long, of every fourth. The gradient of a point is that of the batch that the
next step goes by.
"""

import math
import time
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fallline.descent import Stop
from fallline.descent.batches import decay_factor
from fallline.descent.penalty import Penalty
from fallline.descent.rate import first_direction, power_step, stability_limit
from fallline.error.sums import Block, Request, sums_of_block
from fallline.model.network import Model
from fallline.rows.rows import Rows
from fallline.threads import stopping
from fallline.walk.path import EVERY_STEP_UP_TO
from fallline.walk.recorder import Point
from fallline.walk.walker import Walker

# Of a small network every step is kept as long as all of them fit in these bytes.
_EVERY_STEP_BYTES = 256 << 20

# E over all rows costs nearly half of an epoch's arithmetic. Where an epoch is long it is summed after every fourth.
_LONG_EPOCH = 1e8  # rows · weights
_EPOCHS_BETWEEN_POINTS = 4

# The curvature is read from so many rows; at most this share of an epoch goes into it.
_READ_ROWS = 512
_FIRST_READS, _READS = 12, 2
_READ_SHARE = 0.1
# Fraction of the stability limit: full batches go nearer to it, but a batch has a steeper curvature now and then.
_SHARE_PLAIN, _SHARE_MOMENTUM = 0.5, 0.3
_LEAST_CAUTION = 1e-4

# A batch whose error is so many times the lowest seen, and above the error at the start, will not come back by itself.
_RUNAWAY = 1e6
_SECONDS_OF_CALL = 0.05  # that many batches are one call of C

# What a checkpoint keeps of a walk, beside its standing.
_KEPT = (
    "_turn", "_since", "_made", "_plain", "_passes", "_first", "_lowest", "_lowest_weights", "_read_at", "_pointed_at", "lost_at",
)  # fmt: skip


@dataclass
class Standing:
    """Where a walk by mini-batches stands: all that it needs to go on."""

    weights: np.ndarray
    memory: Any
    taken: int  # steps
    epoch: int
    rate: float
    direction: np.ndarray
    caution: float
    seed: int


def order_of(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch takes n rows: (n,) row numbers, the same for the same (n, seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def seed_of(seed: int | np.random.Generator | None) -> int:
    """The number that orders the rows, from what a person may give as a seed."""
    if isinstance(seed, (int, np.integer)):
        return int(seed)
    return int(np.random.default_rng(seed).integers(1 << 62))


def epochs_of_decay(descent: Any, max_iter: float) -> float | None:
    """The epochs after which the learning rate has decayed to zero, or None where it never does."""
    decay = getattr(descent, "decay", "none")
    if decay == "cosine":
        return max_iter
    return None if isinstance(decay, str) else min(decay, max_iter)


class _Rate:
    """The learning rate: given, or read off the curvature of some rows now and then."""

    def __init__(self, model: Model, rows: Rows, descent: Any, penalty: Penalty) -> None:
        self._model, self._rows, self._penalty = model, rows, penalty
        self.reads = bool(getattr(descent, "reads_curvature", False))
        self.momentum = float(getattr(descent, "momentum", 0.0))
        self.nesterov = bool(getattr(descent, "nesterov", False))
        self._given = 0.0 if self.reads else float(getattr(descent, "learning_rate", 0.0))
        self._size = min(_READ_ROWS, len(rows))
        self._between = max(1, math.ceil(_READS * self._size / (_READ_SHARE * len(rows))))
        self.begun, self.cost = False, 0.0  # in passes

    def at(self, epoch: int, standing: Standing, order: np.ndarray) -> float:
        """The rate of an epoch whose rows come in that order."""
        if not self.reads:
            return self._given
        if self.begun and epoch % self._between:
            return standing.rate
        reads = _READS if self.begun else _FIRST_READS
        some = next(self._rows.batches(np.resize(order, self._size), self._size))
        length, weights, direction = 0.0, standing.weights.astype(np.float64), standing.direction
        for _ in range(reads):
            sums = sums_of_block(self._model, Request("curvature", weights, direction), some)
            pull = self._penalty.strength * direction / self._rows.count
            length, direction = power_step(sums.product / max(sums.rows, 1e-300) + pull)
        self.begun, standing.direction = True, direction
        self.cost += reads * self._size / len(self._rows)
        # No curvature at all (saturated units, a zero gradient): any rate does, and 1 is finite.
        share = _SHARE_MOMENTUM if self.momentum > 0 else _SHARE_PLAIN
        limit = float(stability_limit(length, self.momentum, self.nesterov)) if length > 0 else 0.0
        return standing.caution * share * limit if limit else 1.0


class Epochs(Walker):
    """Walks by mini-batches; a turn is an epoch. Where every step is kept, those between its points are noted, too."""

    by_epochs = True

    def __init__(
        self,
        model: Model,
        rows: Rows,
        descent: Any,
        start: np.ndarray,
        penalty: Penalty,
        *,
        seed: int,
        max_iter: int,
        every_point: bool = False,
        before: Standing | None = None,
    ) -> None:
        self._model, self._rows, self._descent, self.penalty = model, rows, descent, penalty
        self._dtype, self._n = rows.dtype, len(rows)
        self._batch = min(int(descent.batch_size), self._n)
        self._batches = -(-self._n // self._batch)
        self._stride = 1 if every_point or self._n * model.n_weights <= _LONG_EPOCH else _EPOCHS_BETWEEN_POINTS
        self._rate = _Rate(model, rows, descent, penalty)
        if before is None:
            weights = np.asarray(start, self._dtype)
            direction = first_direction(model.n_weights)
            before = Standing(weights, descent.remember(weights), 0, 0, 0.0, direction, 1.0, seed)
        else:
            self._rate.begun = self._rate.reads and before.rate > 0
        self.standing, self._turn = before, 0
        self._since = self._made = 0  # epochs since the last point, batches of this epoch so far
        self._plain = False  # whether Python sees to the rest of this epoch
        horizon = epochs_of_decay(descent, max_iter)
        self._horizon = max(horizon or 1.0, 1e-9)
        self.end = max_iter if horizon is None else min(math.ceil(horizon), max_iter)
        self.end_stop = Stop.MAX_ITER if self.end == max_iter else Stop.DECAYED
        self.heeds_tol = horizon is None  # while a rate decays towards zero a lull is no reason to end
        self._passes = 0.0
        self._first = self._lowest = math.inf
        self._read_at = self._pointed_at = -1  # the turn whose rate is known, the step of the last point
        self._lowest_weights = before.weights
        p = model.n_weights
        self.keeps_all = p <= EVERY_STEP_UP_TO and 16 * p * (self._batches * max_iter + 1) <= _EVERY_STEP_BYTES
        self.shows = descent.shows(None)

    @property
    def passes(self) -> int:  # type: ignore[override]
        """Sums over the rows so far: an epoch is one, and so is the E of a point."""
        return math.ceil(self._passes + self._rate.cost - 1e-9)

    def kept(self) -> Any:
        standing = tuple(getattr(self.standing, field.name) for field in fields(self.standing))
        memory = self._descent.kept(self.standing.memory)
        own = {name: getattr(self, name) for name in _KEPT}
        return {"standing": (standing[0], memory, *standing[2:]), "rate": (self._rate.begun, self._rate.cost), **own}

    def go_on(self, kept: Any) -> None:
        weights, memory, *others = kept["standing"]
        self.standing = Standing(weights, self._descent.again(memory, weights), *others)
        self._rate.begun, self._rate.cost = kept["rate"]
        for name in _KEPT:
            setattr(self, name, kept[name])

    def go(self) -> Point | None:
        """On to the next point; None where the walk was lost and has gone back to its lowest point, or is there already."""
        while self._passes and self._since < self._stride and self._turn < self.end:
            if self._late():
                self._leave()
                break
            if not self._one_epoch():
                return None
        if self.standing.taken == self._pointed_at and self._late():
            return None
        return self._look()

    def _late(self) -> bool:
        return time.perf_counter() >= self.until

    def _leave(self) -> None:
        """Have the walk kept before the point that its time still allows, which is none of a walk without a limit."""
        if not self.left:
            self.pause(True)
        self.left = True

    def _look(self) -> Point | None:
        """The point where the walk stands: E over all rows."""
        standing, start = self.standing, not self._passes
        self._since = 0
        weights = standing.weights.astype(np.float64)
        error = self._rows.total(Request("error", weights), self._model).error
        penalised = self.penalty.on(error, weights)
        self._passes += 1
        if start:
            self._first = penalised
            if not math.isfinite(penalised):
                self.stop = Stop.NOT_FINITE
                return None
        elif not math.isfinite(penalised) or (penalised > _RUNAWAY * self._lowest and penalised > self._first):
            self._lose(standing.taken)
            return None
        if penalised < self._lowest:
            self._lowest, self._lowest_weights = penalised, standing.weights
        order = order_of(self._n, standing.seed, standing.epoch)
        self._read_rate(order)
        batch = next(self._rows.batches(order[: self._batch], self._batch))
        gradient = self._rows.count * self._gradient(standing.weights, batch)[1]
        shown = (standing.rate,) if self.shows else ()
        self._pointed_at = standing.taken
        return Point(
            standing.taken, self._turn, self.passes, weights, error, penalised, gradient.astype(np.float64), shown,
            epoch=standing.epoch,
        )  # fmt: skip

    def _read_rate(self, order: np.ndarray) -> None:
        if self._read_at != self._turn:
            self.standing.rate, self._read_at = self._rate.at(self._turn, self.standing, order), self._turn

    def _gradient(self, weights: np.ndarray, batch: Block) -> tuple[float, np.ndarray]:
        """The error of a batch per row, without the penalty, and the gradient of F/n (p,)."""
        sums = sums_of_block(self._model, Request("gradient", weights), batch)
        rows = max(sums.rows, 1e-300)
        pull = self.penalty.strength * weights / self._rows.count
        return sums.error / rows, (sums.gradient / rows + pull).astype(self._dtype)

    def _one_epoch(self) -> bool:
        """A step for each batch, as long as there is time; False where the error grew without bound."""
        standing, descent = self.standing, self._descent
        count = self._rows.count
        lowest, first, wants_penalty = self._lowest / count, self._first / count, not self.shows
        order = order_of(self._n, standing.seed, standing.epoch)
        self._read_rate(order)
        self._in_c(order, lowest, first)
        rest = order[self._made * self._batch :]
        for at, batch in enumerate(self._rows.batches(rest, self._batch), self._made):
            self._pause()
            if self._late():
                self._leave()
                self._passes += at / self._batches
                return True
            self._plain = True
            error, gradient = self._gradient(standing.weights, batch)
            if not math.isfinite(error) or (error > _RUNAWAY * lowest and error > first):
                self._passes += 1
                self._lose(standing.taken)
                return False
            if self.keeps_all and standing.taken != self._pointed_at:
                self.between(standing.taken, standing.weights, count * gradient)
            rate = self._rate_of(at)
            if wants_penalty:
                error = self.penalty.on(error * count, standing.weights) / count
            standing.memory, standing.weights = descent.move(standing.memory, standing.weights, gradient, rate, error)
            standing.taken += 1
            self._made = at + 1
        self._next_epoch()
        self._passes += 1
        return True

    def _next_epoch(self) -> None:
        self.standing.epoch += 1
        self._turn += 1
        self._since += 1
        self._made, self._plain = 0, False

    def _pause(self) -> None:
        """Between two batches: the walk may be kept, and is to end after Ctrl-C."""
        heard = stopping()
        self.pause(heard)
        if heard:
            raise KeyboardInterrupt

    def _rate_of(self, at: int) -> float:
        """The learning rate of a batch of this epoch."""
        epochs = self.standing.epoch + at / self._batches
        rate = self.standing.rate * decay_factor(getattr(self._descent, "decay", "none"), epochs, self._horizon)
        # One that was read off is raised slowly over the first epoch.
        return rate * min(1.0, epochs + 1.0 / self._batches) if self._rate.reads else rate

    def _in_c(self, order: np.ndarray, lowest: float, first: float) -> None:
        """Steps by the batches of an epoch, in C, as far as there is C and it knows them; Python sees to the others."""
        standing, packed = self.standing, self._descent.packed(self.standing.memory)
        if packed is None or self._plain:
            return
        at, stride = self._made, 1
        rule, memory, seen = packed
        settings = (*rule, lowest, first, _RUNAWAY, self._rows.count)
        rates = np.array([self._rate_of(at) for at in range(self._batches)])
        weights = standing.weights.copy()
        while at < self._batches and not self._late():
            self._pause()
            end, clock = min(at + stride, self._batches), time.perf_counter()
            kept = np.empty((2, end - at, len(weights))) if self.keeps_all else None
            reached = self._rows.epoch(
                self._model, self.penalty.strength, self._descent.adaptive, settings, order, self._batch, (at, end), rates,
                weights, memory, seen, kept,
            )  # fmt: skip
            if reached is None:
                return
            if kept is not None:
                for k, (before, gradient) in enumerate(zip(*kept[:, : reached - at], strict=True)):
                    if standing.taken + k != self._pointed_at:
                        self.between(standing.taken + k, before, gradient)
            made, seen = reached - at, seen + reached - at
            stride = min(max(int(made * _SECONDS_OF_CALL / (time.perf_counter() - clock)), 1), 2 * stride)
            standing.weights, standing.memory = weights.copy(), self._descent.unpacked(memory.copy(), seen)
            standing.taken, at = standing.taken + made, reached
            self._made = at
            if reached < end:
                break  # the next batch is one that Python has to see to

    def _lose(self, step: int) -> None:
        """A rate that was read off too late: back to the lowest point, from rest; a rate that was given ends the walk."""
        standing = self.standing
        self.lost_at = step
        standing.caution *= 0.5
        self._rate.begun = False
        standing.weights = self._lowest_weights
        standing.memory = self._descent.remember(standing.weights)
        self._next_epoch()
        self._since = 0
        if not (self._rate.reads and standing.caution > _LEAST_CAUTION) or self._turn > self.end:
            self.stop = Stop.DIVERGED
