"""A walk by mini-batches, epoch by epoch.

An epoch takes every row once, in an order fixed by (seed, epoch), a step for each batch, in one
compiled program. Beside these steps, which keep one core busy, the program sums E over all rows at
the weights where the epoch begins, and NumPy lays out the rows of the next epoch. So a point of the
path is known when the next epoch is done; the epoch that turns out to be one too many is not kept.
``descend`` in ``loop.py`` calls it.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fallline.descent import Stop
from fallline.descent.batches import decay_factor
from fallline.descent.penalty import Penalty, weight_decay
from fallline.descent.rate import first_direction, power_step, stability_limit
from fallline.error.sums import Block, Request, curvature_product
from fallline.exceptions import FalllineError
from fallline.model.network import ACTIVATIONS, Layer, Model, Network
from fallline.rows.memory import InMemory, Part, block_rows, check_fit, sum_over_rows
from fallline.threads import one_blas_thread
from fallline.walk.path import (
    EVERY_STEP_UP_TO,
    START_NOT_FINITE,
    THINNED_BYTES,
    DescentPath,
    Progress,
    stop_sentence,
)

# Of a small network every step is kept as long as all of them fit in these bytes.
_EVERY_STEP_BYTES = 256 << 20

# Batches are laid out so many bytes at a time, which stay in the cache while they are, …
_WINDOW_BYTES = 1 << 19
# … and for so many bytes to a program: a large table is not copied whole, and its epoch is cut in several programs.
_PIECE_BYTES = 16 << 20

# E over all rows costs nearly half of an epoch's arithmetic. Where an epoch is long it is summed after every fourth.
_LONG_EPOCH = 1e8  # rows · weights
_EPOCHS_BETWEEN_POINTS = 4

# The curvature is read from so many rows; at most this share of an epoch goes into it.
_READ_ROWS = 512
_FIRST_READS, _READS = 12, 2
_READ_SHARE = 0.1
_LIMIT_ROWS, _LIMIT_READS = 8192, 100
# Fraction of the stability limit: full batches go nearer to it, but a batch has a steeper curvature now and then.
_SHARE_PLAIN, _SHARE_MOMENTUM = 0.5, 0.3
_LEAST_CAUTION = 1e-4

# A batch whose error is so many times the lowest seen, and above the error at the start, will not come back by itself.
_RUNAWAY = 1e6

_SECONDS_BETWEEN_WORDS = 0.1


class _Moving(NamedTuple):
    """What changes from batch to batch: weights and memory as the descent sees them, and the steps taken."""

    weights: Any
    memory: Any
    taken: Any


@dataclass(frozen=True)
class Standing:
    """Where a walk by mini-batches stood, to go on from: arrays, the number of epochs, and what a rate was read from."""

    moving: _Moving
    epoch: int
    rate: float
    direction: Any
    caution: float
    seed: int


class _Now(NamedTuple):
    """Run-time values of one program: another number compiles nothing."""

    batches: Any  # in this piece of the epoch
    taken: Any  # in the pieces before
    share: Any  # of the epoch, that one batch is
    look: Any  # whether to sum E over all rows at the start of this epoch
    rows: Any  # Σ s over all rows
    rate: Any
    epoch: Any
    horizon: Any
    warm: Any  # whether the rate is raised slowly over the first epoch
    lowest: Any  # per row
    first: Any


class _Record(NamedTuple):
    """weights and gradient (n/Σs of the batch times its own, with penalty) at each step, or the first gradient alone."""

    weights: Any
    gradient: Any


class _Point(NamedTuple):
    """A point of the path."""

    epoch: int
    step: int
    error: float
    penalised: float
    gradient_norm: float
    passes: int
    rate: float
    watched: np.ndarray


class _Carry(NamedTuple):
    """What goes through the loops of an epoch."""

    moving: _Moving
    record: _Record
    lost: Any
    at: Any  # batches taken in this piece


def order_of(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch takes n rows: (n,) row numbers, the same for the same (n, seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def seed_of(seed: int | np.random.Generator | None) -> int:
    """The number that orders the rows, from what a person may give as a seed."""
    return (
        int(seed)
        if isinstance(seed, (int, np.integer))
        else int(np.random.default_rng(seed).integers(1 << 62))
    )


def _split(model: Model, weights: Any, layered: bool) -> Any:
    return model.layers(weights) if layered and isinstance(model, Network) else weights


def _joined(tree: Any) -> Any:
    """The tree of ``_split`` as one vector again."""
    parts = [leaf.reshape(-1) for leaf in jax.tree.leaves(tree)]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _predict(model: Model, weights: Any, x: Any) -> Any:
    """ŷ, rows lying across: x (inputs, batch), result (outputs, batch).

    So activations and biases run along the batch, which suits vector units whatever the widths of the layers.
    """
    if not isinstance(model, Network):
        return model.predict(weights, x.T, jnp).T
    layers: tuple[Layer, ...] = weights if isinstance(weights, tuple) else model.layers(weights)
    hidden, output = ACTIVATIONS[model.activation], ACTIVATIONS[model.output_activation]
    for number, (coef, intercept) in enumerate(layers):
        z = jax.lax.dot_general(coef, x, (((0,), (0,)), ((), ())))
        if intercept is not None:
            z = _raised(z, intercept)
        x = (output if number == len(layers) - 1 else hidden)(z, jnp)
    return x


@jax.custom_vjp
def _raised(z: Any, intercept: Any) -> Any:
    """z + intercept, (units, batch).

    Its derivative adds along the batch by a product with ones, which goes to the library for products: XLA's own sum takes
    three times longer.
    """
    return z + intercept[:, None]


def _raise(z: Any, intercept: Any) -> tuple[Any, None]:
    return _raised(z, intercept), None


def _sum_back(_: None, slope: Any) -> tuple[Any, Any]:
    return slope, slope @ jnp.ones(slope.shape[1], slope.dtype)


_raised.defvjp(_raise, _sum_back)


@functools.partial(jax.jit, static_argnames=("model", "blocks", "every"))
def _epoch(
    descent: Any,
    moving: _Moving,
    rows: Part,
    laid: Block,
    strength: Any,
    watched: tuple[Part, ...],
    now: _Now,
    *,
    model: Model,
    blocks: tuple[int, ...],
    every: bool,
) -> tuple[_Moving, Any, Any, Any, Any, _Record]:
    """An epoch or a piece of it: where it ends, E and the watched E where it began, the weights there, lost?, the record.

    laid: the batches as ``_Shuffled`` lays them, so that the loop over batches is made of whole arrays only.
    """
    dtype = rows.x.dtype
    flat = _joined(moving.weights)
    total = now.rows.astype(dtype)
    # The penalty's share of the gradient per row is added by hand: so the sum of the squares of all weights is saved.
    pull = _split(model, strength.astype(dtype), descent.layered)
    pull = jax.tree.map(lambda a: a / total, pull)

    def look() -> tuple[Any, Any]:
        request = Request(jnp.zeros((), jnp.int32), flat, flat[:0])
        errors = [
            sum_over_rows(model, ("error",), request, each, block).error
            for each, block in zip((rows, *watched), blocks, strict=True)
        ]
        return errors[0], jnp.stack(errors[1:]) if watched else jnp.zeros(0)

    def pass_by() -> tuple[Any, Any]:
        return jnp.full((), jnp.inf), jnp.full(len(watched), jnp.inf)

    error, others = jax.lax.cond(now.look, look, pass_by)

    def mean_error(weights: Any, batch: Block) -> Any:
        r = _predict(model, weights, batch.x) - batch.y
        return 0.5 * jnp.sum(r * r * batch.s)

    def gradient_of(weights: Any, at: Any) -> tuple[Any, Any]:
        part = Block(*(jax.lax.dynamic_index_in_dim(each, at, keepdims=False) for each in laid))
        value, gradient = jax.value_and_grad(mean_error)(weights, part)
        return value, jax.tree.map(lambda g, a, w: g + a * w, gradient, pull, weights)

    def one_batch(carry: _Carry) -> _Carry:
        moving, record, _, at = carry
        value, gradient = gradient_of(moving.weights, at)
        if every:
            record = _Record(
                record.weights.at[at].set(_joined(moving.weights)),
                record.gradient.at[at].set(total * _joined(gradient)),
            )
        wide = value.astype(jnp.float64)
        lost = ~jnp.isfinite(wide) | ((wide > _RUNAWAY * now.lowest) & (wide > now.first))
        epochs = now.epoch + (now.taken + at).astype(jnp.float64) * now.share
        rate = now.rate * decay_factor(getattr(descent, "decay", "none"), epochs, now.horizon)
        rate = jnp.where(now.warm, jnp.minimum(1.0, epochs + now.share), 1.0) * rate
        if not descent.layered:
            value = value + 0.5 * jnp.sum(pull * moving.weights * moving.weights)
        memory, weights = descent.move(moving.memory, moving.weights, gradient, rate.astype(dtype), value)
        return _Carry(_Moving(weights, memory, moving.taken), record, lost, at + 1)

    if every:
        empty = jnp.zeros((laid.x.shape[0], model.n_weights), dtype)
        record = _Record(empty, empty)
    else:  # made once more than the steps need, and the loop is spared a question
        first = total * _joined(gradient_of(moving.weights, 0)[1])[None]
        record = _Record(first[:0], first)
    carry = _Carry(moving, record, jnp.zeros((), bool), jnp.zeros((), jnp.int64))
    ended = jax.lax.while_loop(lambda c: (c.at < now.batches) & ~c.lost, one_batch, carry)
    there = ended.moving._replace(taken=moving.taken + ended.at)
    return there, error, others, flat, ended.lost, ended.record


@functools.partial(jax.jit, static_argnames=("model",))
def _at_rest(descent: Any, weights: Any, *, model: Model) -> tuple[Any, Any]:
    """The weights as the descent sees them, and its memory before the first step."""
    tree = _split(model, weights, descent.layered)
    return tree, descent.remember(tree)


@functools.partial(jax.jit, static_argnames=("model",))
def _steepest(
    weights: Any, strength: Any, block: Block, n: Any, direction: Any, reads: Any, *, model: Model
) -> Any:
    """λ_max of (G + penalty)/n over a block of rows, by ``reads`` power iterations, and its direction."""
    counts = jnp.maximum(jnp.sum(block.s, dtype=jnp.float64), 1e-300)

    def read(_: Any, carry: Any) -> Any:
        direction = carry[1]
        product = curvature_product(model, weights, block, direction.astype(block.x.dtype)).astype(
            jnp.float64
        )
        return power_step(product / counts + strength * direction / n)

    return jax.lax.fori_loop(0, reads, read, (jnp.zeros(()), direction))


def epochs_of_decay(descent: Any, max_iter: int) -> float | None:
    """The epochs after which the learning rate has decayed to zero, or None where it never does."""
    decay = getattr(descent, "decay", "none")
    if decay == "cosine":
        return max_iter
    return None if isinstance(decay, str) else min(decay, max_iter)


class _Rate:
    """The learning rate: given, or read off the curvature of some rows now and then."""

    def __init__(
        self, descent: Any, model: Model, rows: Part, n: int, count: float, strength: np.ndarray
    ) -> None:
        self.reads = bool(getattr(descent, "reads_curvature", False))
        self.rate = 0.0 if self.reads else float(getattr(descent, "learning_rate", 0.0))
        self.momentum = float(getattr(descent, "momentum", 0.0))
        self.nesterov = bool(getattr(descent, "nesterov", False))
        self.caution, self.cost = 1.0, 0.0  # in passes
        self.direction: Any = np.asarray(first_direction(model.n_weights)) if self.reads else np.zeros(0)
        self.begun = False
        self._model, self._rows, self._n, self._count, self._strength = model, rows, n, count, strength
        size = min(_READ_ROWS, rows.x.shape[0])
        self._size, self._between = size, max(1, math.ceil(_READS * size / (_READ_SHARE * n)))
        self._length = 0.0

    def limit(self, curvature: float) -> float:
        """The largest stable rate at that curvature."""
        return float(stability_limit(curvature, self.momentum, self.nesterov))

    def at(self, epoch: int, weights: Any, order: np.ndarray) -> float:
        if not self.reads or (self.begun and epoch % self._between):
            return self.rate
        reads = _READS if self.begun else _FIRST_READS
        picked = np.resize(order[: self._n], self._size)
        rows = Block(*(each[picked] for each in self._rows[:3]))
        length, self.direction = _steepest(
            _joined(weights), self._strength, rows, self._count, self.direction, reads, model=self._model
        )
        self.begun, self._length = True, float(length)
        self.cost += reads * self._size / self._n
        self._renew()
        return self.rate

    def _renew(self) -> None:
        share = _SHARE_MOMENTUM if self.momentum > 0 else _SHARE_PLAIN
        # No curvature at all (saturated units, a zero gradient): any rate does, and 1 is finite.
        self.rate = self.caution * share * self.limit(self._length) if self._length > 0 else 1.0

    def more_cautious(self) -> bool:
        """Whether a smaller rate is worth another try after the error has grown without bound."""
        self.caution *= 0.5
        self.begun = False
        return self.reads and self.caution > _LEAST_CAUTION


class _Plan(NamedTuple):
    """How an epoch is cut: rows to a batch, batches, batches to a piece, and what is kept."""

    batch: int
    batches: int
    piece: int
    every: bool  # every step is kept
    kept_every: int  # … or every so-manyeth point
    stride: int  # epochs from point to point


def _plan(model: Model, held: tuple[Part, ...], n: int, batch_size: int, max_iter: int) -> _Plan:
    p, most = model.n_weights, held[0].x.shape[0]
    batch = min(batch_size, most)
    batches = -(-n // batch)
    return _Plan(
        batch=batch,
        batches=batches,
        # The capacity, not n, says how many: tables of 900 and 1 000 rows share their programs.
        piece=min(-(-most // batch), max(_PIECE_BYTES // _bytes_of_batch(held[0], batch), 1)),
        every=p <= EVERY_STEP_UP_TO and 16 * p * (batches * max_iter + 1) <= _EVERY_STEP_BYTES,
        kept_every=max(1, math.ceil((max_iter + 1) * 16 * p / THINNED_BYTES)),
        stride=1 if n * p <= _LONG_EPOCH else _EPOCHS_BETWEEN_POINTS,
    )


def _bytes_of_batch(rows: Part, batch: int) -> int:
    return batch * (rows.x.shape[1] + rows.y.shape[1] + 1) * rows.x.dtype.itemsize


class _Shuffled:
    """The rows of an epoch in its order, batch by batch, rows lying across, a piece of the epoch at a time.

    NumPy copies whole rows and then turns each batch, in a third of the time that XLA takes for the two. A program reads
    a piece where it lies, and the next but one is laid in the same place: so one program at a time.
    """

    def __init__(self, rows: Part, n: int, plan: _Plan, seed: int) -> None:
        self.order = np.zeros(0, int)
        self._table = tuple(np.asarray(each) for each in rows[:3])
        self._n, self._plan, self._seed, self._epoch = n, plan, seed, -1
        self._places: list[Block] = []
        window = min(max(_WINDOW_BYTES // _bytes_of_batch(rows, plan.batch), 1), plan.piece)
        self._window = Block(
            *(np.empty((window * plan.batch, *each.shape[1:]), each.dtype) for each in self._table)
        )
        self._turn = 1

    def _place(self) -> Block:
        """Where the next piece is laid: room for it, aligned so that JAX reads it without a copy."""
        self._turn = 1 - self._turn
        if len(self._places) < 2:
            shape, dtype = (self._plan.piece, self._plan.batch), self._table[0].dtype
            x, y = (each.shape[1] for each in self._table[:2])
            self._places.append(Block(*(_aligned((shape[0], width, shape[1]), dtype) for width in (x, y, 1))))
        return self._places[self._turn]

    def lay(self, epoch: int, first: int, batches: int) -> Block:
        """The batches of that epoch from number ``first`` on; each count divided by the sum of its batch."""
        if epoch != self._epoch:
            self.order, self._epoch = order_of(self._n, self._seed, epoch), epoch
        batch, place = self._plan.batch, self._place()
        step = len(self._window.s) // batch
        for at in range(0, batches, step):
            number = min(step, batches - at)
            rows = self.order[(first + at) * batch : (first + at + number) * batch]
            for table, window, laid in zip(self._table, self._window, place, strict=True):
                picked = window[: number * batch]
                np.take(
                    table, rows, axis=0, out=picked[: len(rows)], mode="clip"
                )  # other modes copy once more
                picked[len(rows) :] = table[rows[0]]  # the last batch may lack rows: these count for nothing
                laid[at : at + number] = picked.reshape(number, batch, -1).swapaxes(1, 2)
            counts = place.s[at : at + number]
            counts.reshape(-1)[len(rows) :] = 0
            counts /= np.maximum(counts.sum(axis=2, keepdims=True), np.finfo(counts.dtype).tiny)
        return place


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory not filled, at a multiple of 64 bytes."""
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def run_epochs(
    model: Model,
    rows: InMemory,
    descent: Any,
    start: np.ndarray,
    penalty: Penalty,
    *,
    seed: int,
    max_iter: int,
    tol: float = 0.0,
    patience: int = 10,
    watched: dict[str, InMemory] | None = None,
    judge: str | None = None,
    progress: Callable[[Progress], Any] | None = None,
    every_step: bool = False,
    alpha: float | str = 0.0,
    before: Standing | None = None,
) -> tuple[DescentPath, Standing]:
    """Walk by mini-batches for ``max_iter`` epochs at most; the way, and where it stands. 64-bit JAX must be in force.

    ``before``: go on from there, with its memory, instead of from ``start``.
    """
    began = time.perf_counter()
    sets = watched or {}
    p, n, dtype, count = model.n_weights, len(rows.x), rows.x.dtype, rows.count
    strength = np.asarray(penalty.strength)
    held = tuple(each.padded_row_by_row() for each in (rows, *sets.values()))
    plan = _plan(model, held, n, int(descent.batch_size), max_iter)
    batches, every = plan.batches, plan.every
    watched_rows = {name: each.count for name, each in sets.items()}
    static = {
        "model": model,
        "blocks": tuple(block_rows(model, ("error",), each) for each in held),
        "every": every,
    }
    stride = 1 if sets or every_step else plan.stride
    horizon = epochs_of_decay(descent, max_iter)
    end = max_iter if horizon is None else min(math.ceil(horizon), max_iter)

    def from_rest(weights: Any, taken: int) -> _Moving:
        tree, memory = _at_rest(descent, np.asarray(weights, dtype), model=model)
        return _Moving(tree, memory, np.int64(taken))

    rate = _Rate(descent, model, held[0], n, count, strength)
    moving, behind = from_rest(start, 0), 0
    if before is not None:
        moving, behind = before.moving, before.epoch
        rate.caution, rate.direction = before.caution, before.direction
        rate.begun = rate.reads and before.rate > 0
        rate.rate = before.rate if rate.reads else rate.rate

    points: list[_Point] = []
    kept: list[tuple[np.ndarray, ...]] = []  # steps, weights, gradient
    lowest = _Lowest()
    passes, epoch, stop, spoken = 0.0, 0, Stop.GOING_ON, 0.0
    standing, lost_at = moving, 0
    final: tuple[np.ndarray, ...] = (np.zeros(0, int), np.zeros((0, p)), np.zeros((0, p)))
    shuffled = _Shuffled(held[0], n, plan, seed)
    first_piece = shuffled.lay(behind, 0, min(plan.piece, batches if end > 0 else 1))
    while stop == Stop.GOING_ON:
        last = epoch >= end
        look = last or epoch % stride == 0
        try:
            rate_now = rate.at(epoch, moving.weights, shuffled.order)
            now = _Now(
                batches=np.int64(1 if last else min(plan.piece, batches)),
                taken=np.int64(0),
                share=np.float64(1.0 / batches),
                look=np.bool_(look),
                rows=np.float64(count),
                rate=np.float64(rate_now),
                epoch=np.float64(behind + epoch),
                horizon=np.float64(max(horizon or 1.0, 1e-9)),
                warm=np.bool_(rate.reads),
                lowest=np.float64(lowest.penalised / count),
                first=np.float64(lowest.first / count),
            )
            result = _epoch(descent, moving, held[0], first_piece, strength, held[1:], now, **static)
            there, error, others, flat, lost, record = result
            records = [record]
            for taken in range(plan.piece, 1 if last else batches, plan.piece):
                number = min(plan.piece, batches - taken)
                piece = shuffled.lay(behind + epoch, taken, number)  # while the program runs
                if bool(lost):
                    break
                now = now._replace(batches=np.int64(number), taken=np.int64(taken), look=np.bool_(False))
                there, _, _, _, lost, record = _epoch(
                    descent, there, held[0], piece, strength, held[1:], now, **static
                )
                records.append(record)
            if not last:
                first_piece = shuffled.lay(
                    behind + epoch + 1, 0, 1 if epoch + 1 >= end else min(plan.piece, batches)
                )
            jax.block_until_ready((there, lost))
        except KeyboardInterrupt:
            if not points:
                raise  # before the error at the start was known: there is nothing to keep
            stop = Stop.INTERRUPTED
            break
        step, weights, lost = int(moving.taken), np.asarray(flat, np.float64), bool(lost)
        passes += bool(look) + (not last)
        gradient = np.asarray(records[0].gradient[:1], np.float64)
        if look:
            error = float(error)
            with np.errstate(over="ignore", invalid="ignore"):
                penalised = error + 0.5 * float(strength @ (weights * weights))
            if not points and not np.isfinite(penalised):
                raise FalllineError(START_NOT_FINITE)
            astray = not np.isfinite(penalised) or (
                penalised > _RUNAWAY * lowest.penalised and penalised > lowest.first
            )
            lost = lost or astray
            if not astray:
                spent = math.ceil(passes + rate.cost - (not last) - 1e-9)
                norm, seen = float(np.linalg.norm(gradient)), np.asarray(others)
                points.append(_Point(behind + epoch, step, error, penalised, norm, spent, rate_now, seen))
                lowest.tell(
                    epoch,
                    step,
                    error,
                    penalised,
                    weights,
                    tol,
                    seen[list(sets).index(judge)] if judge else None,
                )
                final = (np.array([step]), weights[None], gradient)
                if not every and (len(points) - 1) % plan.kept_every == 0:
                    kept.append(final)
        if every:
            used = 1 if last or lost else batches
            arrays = (
                np.concatenate([np.asarray(a, np.float64) for a in each])[:used]
                for each in zip(*records, strict=True)
            )
            kept.append((step + np.arange(used), *arrays))
        standing = moving
        if lost and not last:
            lost_at = int(there.taken) - 1
            if not rate.more_cautious():
                stop = Stop.DIVERGED
            # A rate that was read off too late: back to the lowest point, from rest.
            moving = from_rest(lowest.weights, max(lost_at, step + 1))
        elif lost:
            stop, lost_at = Stop.DIVERGED, step
        elif look:
            stop = _why(lowest, epoch, end, max_iter, tol, patience, judge, horizon)
            moving = moving if last else there
        else:
            moving = there
        if look and points and progress is not None:
            clock = time.perf_counter()
            if every_step or stop != Stop.GOING_ON or clock - spoken > _SECONDS_BETWEEN_WORDS:
                spoken = clock
                here = points[-1]
                others = dict(zip(sets, here.watched.tolist(), strict=True))
                said = Progress(
                    here.step, max_iter, here.passes, here.error, count, others, watched_rows,
                    lowest.chosen(judge)[0], stop, here.epoch,
                )  # fmt: skip
                try:
                    asked = progress(said)
                except KeyboardInterrupt:
                    stop = Stop.INTERRUPTED
                else:
                    stop = Stop.ASKED if asked and stop == Stop.GOING_ON else stop
        epoch += stop == Stop.GOING_ON

    limit = None
    if stop == Stop.DIVERGED and hasattr(descent, "momentum"):
        curvature, _ = _steepest(
            jnp.asarray(lowest.weights, dtype), strength, Block(*(each[:_LIMIT_ROWS] for each in held[0][:3])), count,
            np.asarray(first_direction(p)), _LIMIT_READS, model=model,
        )  # fmt: skip
        limit = rate.limit(float(curvature)) if curvature > 0 else None
    return _path(
        model, descent, points, kept, lowest, judge, stop, passes, rate, limit, lost_at,
        tol=tol, patience=patience, names=list(sets), watched_rows=watched_rows, count=count,
        began=began, alpha=alpha, strength=strength, final=final,
    ), Standing(
        jax.tree.map(np.asarray, standing), behind + epoch, rate.rate, np.asarray(rate.direction), rate.caution, seed
    )  # fmt: skip


def one_epoch(
    model: Model,
    rows: InMemory,
    descent: Any,
    start: np.ndarray,
    *,
    seed: int,
    alpha: float = 0.0,
    before: Standing | None = None,
) -> tuple[DescentPath, Standing]:
    """One epoch over the rows, going on from ``before`` with its memory, or from ``start``.

    A decay towards zero is left out: nobody knows when the last of these epochs comes.
    """
    check_fit(model, rows)
    decay = getattr(descent, "decay", "none")
    if decay not in ("none", "inverse"):
        descent = dataclasses.replace(descent, decay="none")
    descent.check()
    penalty = weight_decay(model, alpha)
    seed = seed if before is None else before.seed
    with jax.enable_x64(True), one_blas_thread():
        return run_epochs(
            model, rows, descent, start, penalty, seed=seed, max_iter=1, alpha=alpha, before=before
        )


class _Lowest:
    """The lowest points so far, and how long there has been no news: what decides about stopping."""

    def __init__(self) -> None:
        self.first = self.penalised = self.error = self.reference = self.judged = math.inf
        self.step = self.news_at = self.judged_step = self.judged_at = self.epoch = 0
        self.weights: Any = None
        self.judged_weights: Any = None

    def tell(
        self, epoch: int, step: int, error: float, penalised: float, weights: Any, tol: float, judged: Any
    ) -> None:
        self.epoch = epoch
        self.first = penalised if self.weights is None else self.first
        if penalised < self.penalised:
            self.penalised, self.error, self.step, self.weights = penalised, error, step, weights
        if self.reference - penalised > tol * min(self.reference, penalised):
            self.reference, self.news_at = penalised, epoch
        if judged is not None and judged < self.judged:
            self.judged, self.judged_step, self.judged_at = float(judged), step, epoch
            self.judged_weights = weights

    def chosen(self, judge: str | None) -> tuple[np.ndarray, int, float]:
        """The weights to keep, their step and the error they were chosen by."""
        if judge and self.judged_weights is not None:
            return self.judged_weights, self.judged_step, self.judged
        return self.weights, self.step, self.error


def _why(
    lowest: _Lowest,
    epoch: int,
    end: int,
    max_iter: int,
    tol: float,
    patience: int,
    judge: str | None,
    horizon: float | None,
) -> Stop:
    """The reason to stop after a look, if there is one. While a rate decays towards zero a lull is no reason."""
    if judge and epoch - lowest.judged_at >= patience:
        return Stop.VALIDATION
    if tol > 0 and horizon is None and epoch - lowest.news_at >= patience:
        return Stop.NO_CHANGE
    if epoch < end:
        return Stop.GOING_ON
    return Stop.MAX_ITER if end == max_iter else Stop.DECAYED


def _path(
    model: Model,
    descent: Any,
    points: list[_Point],
    kept: list[Any],
    lowest: _Lowest,
    judge: str | None,
    stop: Stop,
    passes: float,
    rate: _Rate,
    limit: float | None,
    lost_at: int,
    *,
    tol: float,
    patience: int,
    names: list[str],
    watched_rows: dict[str, float],
    count: float,
    began: float,
    alpha: float | str,
    strength: np.ndarray,
    final: tuple[np.ndarray, ...],
) -> DescentPath:
    epochs, steps, error, penalised, norms, spent, rates, seen = (
        np.array(column) for column in zip(*points, strict=True)
    )
    weight_steps, weights, gradient = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    within = weight_steps < steps[-1]  # the last point is always kept, and nothing beyond it
    weight_steps, weights, gradient = (
        np.concatenate([part[within], end])
        for part, end in zip((weight_steps, weights, gradient), final, strict=True)
    )
    best_weights, best_step, best_error = lowest.chosen(judge)
    shown = descent.shows(None)
    return DescentPath(
        model=model,
        descent=descent,
        steps=steps,
        error=error,
        penalised_error=penalised,
        gradient_norm=norms,
        passes=spent,
        shown=dict.fromkeys(shown, rates),
        watched={name: seen[:, i] for i, name in enumerate(names)},
        watched_rows=watched_rows,
        n_rows=count,
        weight_steps=weight_steps,
        weights=weights,
        gradient=gradient,
        best_weights=best_weights,
        best_step=best_step,
        stop=stop,
        stop_message=stop_sentence(
            stop,
            descent,
            lost_at if stop == Stop.DIVERGED else int(steps[-1]),
            best_step,
            best_error,
            tol,
            patience,
            judge,
            limit,
            epochs=int(epochs[-1] - epochs[0]),
        ),
        n_passes=math.ceil(passes + rate.cost - 1e-9),
        seconds=time.perf_counter() - began,
        alpha=alpha,
        strength=strength,
        epochs=epochs,
    )
