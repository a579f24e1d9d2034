"""Rows on disk that do not fit in memory: how fast a pass is, how much memory it takes, and how soon it is at the optimum.

    python benchmarks/streams.py make FILE.parquet ROWS
    python benchmarks/streams.py pass FILE.parquet
    python benchmarks/streams.py memory FILE.parquet
    python benchmarks/streams.py peers FILE.parquet
    python benchmarks/streams.py default FILE.parquet

``make`` writes nine float inputs, correlated and of sizes from 0.01 to 1000, and a float target, not linear in them. ``pass``:
E and its gradient over all rows, in turn with DuckDB fetching all columns as Arrow batches and dropping them, and with a pass
over the same rows in memory; medians of 7. ``memory``: the highest memory of a descent above that of a process that has imported
everything and read a few rows. ``peers``: seconds from the file to within 1 % of the least-squares optimum, for ``descend``,
scikit-learn's ``SGDRegressor.partial_fit`` on columns standardised by a pass of ``StandardScaler.partial_fit``, and Vowpal Wabbit
(``pip install vowpalwabbit``), which gets standardised columns as text, written before its time is taken. ``default``: the
default fit of the whole file.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import nanoarrow
import numpy as np

from fallline import GradientDescent, InMemory, Network, descend
from fallline.error.sums import Request
from fallline.fit import streamed
from fallline.rows.moments import error_at, moments_of
from fallline.rows.stream import Streamed

INPUTS = 9
NAMES = [f"x{k}" for k in range(INPUTS)]
NEAR, ROUNDS = 1.01, 7


class Parquet:
    """Rows of a Parquet file of float columns, the last the target; ``most`` of them."""

    inputs, outputs = INPUTS, 1

    def __init__(self, path: str, most: int | None = None) -> None:
        self.question = f"select * from '{path}'" + (f" limit {most}" if most else "")

    def batches(self) -> Iterator[list[np.ndarray]]:
        """The columns of each Arrow batch, where they lie."""
        with duckdb.connect() as connection:
            for batch in nanoarrow.ArrayStream(connection.sql(self.question)):
                columns = batch.iter_children()
                yield [np.frombuffer(c.buffers[1], np.float32)[c.offset : c.offset + len(c)] for c in columns]

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, None]]:
        for *inputs, y in self.batches():
            x = np.empty((len(y), INPUTS), np.float32)
            for k, column in enumerate(inputs):
                x[:, k] = column
            yield x, y[:, None], None


def rows_of(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (count, 9), y (count, 1) with noise, and y without."""
    z = 0.9 * random.standard_normal((count, 1)) + np.sqrt(1 - 0.81) * random.standard_normal((count, INPUTS))
    x = z * np.geomspace(1e-2, 1e3, INPUTS) + np.linspace(-3, 3, INPUTS) * np.geomspace(1e-2, 1e3, INPUTS)
    y = np.sin(2 * z[:, :1] - z[:, 1:2]) + 0.5 * z[:, 2:3] * z[:, 3:4] + z @ np.linspace(-0.6, 0.8, INPUTS)[:, None]
    return x.astype(np.float32), (y + 0.3 * random.standard_normal(y.shape)).astype(np.float32), y


def make(path: str, count: int) -> None:
    random = np.random.default_rng(0)
    with duckdb.connect() as connection:
        connection.execute(f"create table t ({', '.join(f'{name} float' for name in [*NAMES, 'y'])})")
        for at in range(0, count, 1 << 20):
            x, y, _ = rows_of(random, min(1 << 20, count - at))
            block = {name: np.ascontiguousarray(column) for name, column in zip(NAMES, x.T, strict=True)} | {
                "y": y[:, 0]
            }
            connection.register("block", block)
            connection.execute("insert into t select * from block")
        connection.execute(f"copy t to '{path}' (format parquet)")


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def passes(path: str) -> None:
    source = Parquet(path)
    with duckdb.connect() as connection:
        connection.sql("select 1").fetchall()

    def fetched() -> int:
        with duckdb.connect() as connection:
            return sum(len(batch) for batch in nanoarrow.ArrayStream(connection.sql(source.question)))

    rows = Streamed(source)
    memory = InMemory(*rows.each(lambda block: (block.x, block.y)))
    turns: dict[str, Callable[[], object]] = {"fetched and dropped": fetched}
    networks = {name: Network(tuple(map(int, name.split("-")))) for name in ("9-1", "9-20-1", "9-64-64-1")}
    for name, network in networks.items():
        request = Request("gradient", network.initial(0) * 1e-3)
        for where, held in (("streamed", rows), ("in memory", memory)):
            turns[f"{name}, {where}"] = lambda held=held, request=request, network=network: held.total(request, network)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(ROUNDS):
        for name, turn in turns.items():
            seconds[name].append(timed(turn))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    print(f"{len(rows):,} × {INPUTS + 1} float32, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    for name, median in medians.items():
        print(f"{name:24} {median:7.3f} s ({min(seconds[name]):.3f} to {max(seconds[name]):.3f})")
    for name in networks:
        own, held = medians[f"{name}, streamed"], medians[f"{name}, in memory"]
        print(
            f"{name}: {medians['fetched and dropped'] / own:.0%} of the rate of fetching, {held / own:.0%} of that in memory"
        )


def megabytes(which: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[which].split()[0]) / 1024


def memory(path: str) -> None:
    network = Network((INPUTS, 20, 1))

    def go(rows: Streamed) -> None:
        descend(network, rows.scaled(rows.scaling_for()), "levenberg-marquardt", seed=0, max_iter=2)

    go(Streamed(Parquet(path, 1000)))
    base = megabytes("VmRSS")
    rows = Streamed(Parquet(path))
    go(rows)
    print(f"{len(rows):,} rows: {base:.0f} MB before, at the peak {megabytes('VmHWM') - base:.0f} MB above that")


def peers(path: str) -> None:
    from sklearn.linear_model import SGDRegressor
    from sklearn.preprocessing import StandardScaler

    source, network = Parquet(path), Network((INPUTS, 1))
    rows = Streamed(source)
    moments = moments_of(network, rows)
    assert moments is not None
    least = moments.least

    def ratio(coef: np.ndarray, intercept: float, scaler: "StandardScaler | None") -> float:
        if scaler is not None:
            coef = coef / scaler.scale_
            intercept = intercept - float(scaler.mean_ @ coef)
        return float(error_at(moments, np.append(coef, intercept)[:, None])) / least

    def fallline() -> tuple[np.ndarray, float]:
        rows = Streamed(source)
        scaling = rows.scaling_for()
        path = descend(network, rows.scaled(scaling), GradientDescent(momentum="auto"), seed=0, max_iter=1000)
        ((coef, intercept),) = scaling.fold(network.layers(path.weights[-1]))
        return coef[:, 0], float(intercept[0])

    own = [timed(fallline) for _ in range(3)]
    found = fallline()
    print(f"{len(rows):,} rows; E/E_min where fallline ends {ratio(*found, None):.9f}; load {os.getloadavg()[0]:.1f}")
    print(f"fallline, one pass              {statistics.median(own):7.2f} s ({min(own):.2f} to {max(own):.2f})")

    start, scaler = time.perf_counter(), StandardScaler()
    for x, _, _ in source.blocks():
        scaler.partial_fit(x)
    scaled = time.perf_counter() - start
    model, spent, seen, worth = SGDRegressor(alpha=0.0, random_state=0), scaled, 0, np.inf
    while worth > NEAR and spent < 60 + 20 * own[0]:
        for x, y, _ in source.blocks():
            spent += timed(lambda x=x, y=y: model.partial_fit(scaler.transform(x), y[:, 0]))
            seen += len(y)
            worth = ratio(model.coef_, float(model.intercept_[0]), scaler)
            if worth <= NEAR:
                break
    print(
        f"SGDRegressor.partial_fit        {spent:7.2f} s, of which {scaled:.2f} s the scaler; {seen:,} rows, E/E_min {worth:.4f}"
    )
    try:
        from vowpalwabbit import Workspace
    except ImportError:
        return print("Vowpal Wabbit is not installed")
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "rows.vw")
        with text.open("w") as file:
            for x, y, _ in source.blocks():
                table = np.column_stack([y, scaler.transform(x)])
                shape = "%.6g | " + " ".join(f"{name}:%.6g" for name in NAMES)
                np.savetxt(file, table, fmt=shape)
        for epochs in (1, 2, 4, 8):
            more = f"--passes {epochs} -k --holdout_off --cache_file {folder}/cache{epochs}" if epochs > 1 else ""
            start = time.perf_counter()
            vw = Workspace(f"-d {text} --quiet {more}")
            spent = time.perf_counter() - start
            coef = np.array([vw.get_weight_from_name(name) for name in NAMES])
            worth = ratio(
                coef, vw.get_weight_from_name("Constant") or float(rows.scaled(None)._spread.mean[-1]), scaler
            )
            vw.finish()
            print(f"Vowpal Wabbit, {epochs} passes         {spent:7.2f} s of text; E/E_min {worth:.4f}")
            if worth <= NEAR:
                break
    return None


def default(path: str) -> None:
    random, inner = np.random.default_rng(99), streamed.fit_network
    x, y, truth = rows_of(random, 200_000)
    start = time.perf_counter()

    def said(name: str, found: tuple) -> tuple:
        off = float(np.sqrt(np.mean((found[0].predict(x) - truth) ** 2)))
        print(f"{name}: {time.perf_counter() - start:.0f} s, RMSE to the truth {off:.4f}. {found[1].stop_message}")
        return found

    streamed.fit_network = lambda *given, **named: said("some rows", inner(*given, **named))
    said("all rows", streamed.fit_streamed(Parquet(path), seed=0))
    print(f"the noise is 0.3, the target's spread {np.std(y):.3f}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what == "make":
        make(given[0], int(given[1]))
    else:
        {"pass": passes, "memory": memory, "peers": peers, "default": default}[what](given[0])
