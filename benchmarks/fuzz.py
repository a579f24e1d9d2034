"""Does hostile input ever bring anything but one of fallline's own sentences?

    python benchmarks/fuzz.py model|table|formula|messages [--inputs N] [--seconds S] [--seed K] [--keep FOLDER]

``model``: model files that were cut, flipped and spliced, and files with a right digest whose description or arrays were
changed; what is read as a model then shows itself, and one in eight predicts, finds its rows and is exported. ``table``: texts
of separated fields, JSON, dates and gzip: kind, encoding, layout and records of each, and of one in sixteen every cell.
``formula``: the grammar of ``fallline curve``. ``messages``: what a page may send to ``fallline explore``.

A failure is any exception but ``FalllineError``, a warning, an input that takes more than 20 s, and one that makes the process
hold 1 GiB more than before it. Failures are counted by kind; the shortest input of each is written to the folder of ``--keep``.
The same seed gives the same inputs. The last line says how many there were, how many were read as good, and how many failed.
``tests/test_fuzz.py`` runs a few hundred of each, and all of ``tests/data/fuzz``, which failed once.
"""

import argparse
import contextlib
import copy
import functools
import gzip
import io
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from fallline.exceptions import FalllineError

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "tests" / "data" / "models_0.1"
LONGEST, MORE = 20, 1 << 30  # seconds, and bytes beyond those held before
# Of so many tables one is read by DuckDB too, which takes a hundred times as long as fallline's own part of it, and of so many
# models one is used, which takes ten times as long as to read it.
WHOLE, USED = 16, 8

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**18, 10**400, 0.5, -0.0, 1e-300, 1e300, float("inf"), float("nan"),
    "", "a", "\0", "\ud800", "=1+1", "../../etc/passwd", "auto", "last", "evidence", "tanh", "a" * 5000, "<script>", [], {},
    [[]], [0], [1, 2, 3], ["a", "a"], {"a": {}}, {"": None}, [None] * 50,
)  # fmt: skip
TOKENS = (
    b'"', b'""', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\n\n", b"#", b"sep=;\n", b"1,234", b"1.234,5", b"-", b"nan",
    b"inf", b"NA", b"2020-02-30", b"31.12.2019", b"12/13/14", b"9999-99-99", b"0000", b"01:02", b"%", b"EUR 5", b"(3)", b"\0",
    b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"[", b"{", b'{"a": 1}', b"Total", b"=1+1", "é€−".encode(), b" ", b"_",
    b"PAR1", b"PK\x03\x04", b"'", b"\\", b"$", b"x" * 300, b"1" * 400, b"," * 50, b"\x85", b"\xc2\xa0", b"truefalse", b"--1",
)  # fmt: skip
PARTS = (
    "+", "-", "*", "/", "**", "^", "(", ")", ",", "`", "x", "b1", "exp(", "log(", "sqrt(", "1", ".5", "1.", " ", "==", "=", "\n",
    "abs(", "pi", "__import__('os')", "lambda", "x y", "`a b`", "max(", "é", "²", "−", "·", "[", "{", "'", ";", ":", "1j", "_",
    "((((((((((", "------", "\0", "if", "else", "for", "x.real", "~", "!", "%", "//", "1_000", "9" * 400, "b" * 300, "**-2",
)  # fmt: skip


class Target(NamedTuple):
    """What is fuzzed: ``make`` an input from a source of chance, and ``read`` it: True where it was good."""

    make: Callable[[random.Random], bytes]
    read: Callable[[bytes], bool]


def mutated(content: bytes, chance: random.Random, tokens: tuple[bytes, ...], others: list[bytes]) -> bytes:
    """The content with a few changes: bytes flipped, taken out, doubled, tokens put in, the end of another."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at, until = sorted(chance.randrange(len(found) + 1) for _ in range(2))
        until = min(until, at + chance.choice((1, 4, 40, 4000)))
        what = chance.randrange(7)
        if what == 0 and found:
            found[min(at, len(found) - 1)] = chance.randrange(256)
        elif what == 1:
            del found[at:until]
        elif what == 2:
            found[at:at] = found[at:until] * chance.choice((1, 2, 20))
        elif what in (3, 4):
            found[at:at] = chance.choice(tokens)
        elif what == 5:
            found[at:until] = chance.choice(tokens)
        else:
            other = chance.choice(others)
            found[at:] = other[min(at, len(other)) :]
    return bytes(found[: 1 << 20])


def changed(value: Any, chance: random.Random) -> Any:
    """JSON data with one part, anywhere in it, of another kind, gone, or twice there."""
    value = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []

    def walk(part: Any) -> None:
        items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, below in items:
            places.append((part, key))
            walk(below)

    walk(value)
    if not places:
        return chance.choice(ODD)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        part, key = chance.choice(places)
        what = chance.randrange(5)
        with contextlib.suppress(KeyError, IndexError):  # an earlier change has taken it away
            if what == 0:
                del part[key]
            elif what == 1 and isinstance(part, list):
                part.append(copy.deepcopy(part[key]))
            elif what == 2:
                there, name = chance.choice(places)
                part[key] = copy.deepcopy(there[name])
            else:
                part[key] = copy.deepcopy(chance.choice(ODD))
    return value


def _number(array: np.ndarray, chance: random.Random) -> np.ndarray:
    """The array with another shape, kind or value."""
    what = chance.randrange(7)
    if what == 0:
        with np.errstate(all="ignore"):
            return array.astype(chance.choice((np.float32, np.int64, np.int8, np.float16, np.bool_, np.uint64)))
    if what == 1:
        return array[: chance.randrange(len(array) + 1)] if array.ndim else array
    if what == 2:
        return np.concatenate([array, array]) if array.ndim else array
    if what == 3:
        return array[None]
    if what == 4:
        return np.zeros((0, *array.shape[1:]), array.dtype)
    if what == 5:
        return array.reshape(-1)
    array = array.copy()
    if array.size and array.dtype.kind == "f":
        odd = (np.nan, np.inf, -1.0, 0.0, 1e300, 1e-320, 1e19, 0.5)
        with np.errstate(all="ignore"):
            array.reshape(-1)[chance.randrange(array.size)] = chance.choice(odd)
    return array


def model_files() -> list[bytes]:
    """Small model files of every kind: of version 0.1, of numbers with intervals, of two and three classes, linear."""
    from fallline.cli.kept import saved_of
    from fallline.cli.rows import prepare
    from fallline.cli.table_fit import fit_table
    from fallline.model_file import save_model
    from fallline.table.read import read_table

    found = [path.read_bytes() for path in sorted(MODELS.glob("*.fallline"))]
    quick = {"hidden_layer_sizes": (2,), "n_starts": 2, "max_iter": 5}
    with tempfile.TemporaryDirectory() as folder:
        for targets, settings in (
            (["height"], {}), (["height"], quick), (["height", "girth"], quick | {"hidden_layer_sizes": ()}), (["kind"], quick),
        ):  # fmt: skip
            path = Path(folder) / "trees.csv"
            path.write_text(TREES)
            fit = fit_table(prepare(read_table(path), targets), **settings)
            save_model(saved_of(fit, "fallline fit", 0, path, Path(folder) / "m.fallline"), Path(folder) / "m.fallline")
            found.append((Path(folder) / "m.fallline").read_bytes())
    return found


TREES = "girth,kind,planted,height\n" + "".join(
    f"{2 + i % 7 + i / 50},{('oak', 'ash', 'fir')[i % 3]},{1 + i % 28:02d}.0{1 + i % 9}.2019,{5 + 2 * (i % 7) + (i % 3)}\n"
    for i in range(30)
)


def model() -> Target:
    from fallline.model_file import parse_model
    from fallline.table.read import read_table
    from fallline.walk.tree import digest_of

    files = model_files()
    said = [json.loads(_description(content)) for content in files]
    arrays = [safetensors.numpy.load(content) for content in files]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "trees.csv").write_text(TREES)
        trees = read_table(Path(folder) / "trees.csv")

    def make(chance: random.Random) -> bytes:
        at = chance.randrange(len(files))
        if chance.random() < 0.4:
            return mutated(files[at], chance, TOKENS, files)
        told, given = said[at], dict(arrays[at])
        if chance.random() < 0.7:
            told = changed(told, chance)
        for _ in range(chance.choice((0, 0, 1, 1, 3))):
            name = chance.choice(sorted(given) or ["weights"])
            if chance.random() < 0.15:
                given.pop(name, None)
            elif name in given:
                given[name] = np.ascontiguousarray(_number(given[name], chance))
        text = json.dumps(told)
        return safetensors.numpy.save(given, {"fallline": f"{digest_of(text, given)} {text}"})

    def read(content: bytes) -> bool:
        used(parse_model(content), trees, whole=not len(content) % USED)
        return True

    return Target(make, read)


def _description(content: bytes) -> str:
    (length,) = struct.unpack_from("<Q", content)
    return str(json.loads(content[8 : 8 + length])["__metadata__"]["fallline"].partition(" ")[2])


def used(saved: Any, trees: Any, *, whole: bool) -> None:
    """Do with a model what the commands do: show it, and if ``whole`` predict with it, find its rows, export it."""
    from fallline import export
    from fallline.cli import printing
    from fallline.cli.rows import column_lines, find_rows, read_otherwise
    from fallline.cli.show import _facts

    about = saved.about
    for table in (
        printing.columns_table(column_lines(saved.columns, about.get("read"))),
        printing.figures_table(about.get("figures", {}), saved.columns.targets), printing.facts(_facts(saved)),
    ):  # fmt: skip
        assert table.columns
    if not whole:
        return
    for use in (
        lambda: export.text(saved), lambda: export.python(saved), lambda: export.c(saved), lambda: _predicted(saved, trees),
        lambda: read_otherwise(saved.columns, about.get("reading"), trees), lambda: find_rows(saved, trees),
        lambda: saved.columns.spelled_otherwise(trees.blocks(), "trees"),
    ):  # fmt: skip
        with contextlib.suppress(FalllineError):
            use()


def _predicted(saved: Any, trees: Any) -> None:
    saved.columns.check(list(trees.columns))
    for block in trees.blocks():
        x = saved.columns.encode(block)
        saved.fitted.predict(x)
        if saved.intervals is not None:
            saved.intervals.interval(x, 0.9)


def table() -> Target:
    from fallline.table.content import source_of
    from fallline.table.dialect import Dialect
    from fallline.table.layout import layout_of
    from fallline.table.read import read_table
    from fallline.table.separated import _mended, _rows

    rows = [line.split(",") for line in TREES.splitlines()]
    texts = [("\n".join(sign.join(row) for row in rows)).encode() for sign in (",", ";", "\t", "|", " ")]
    texts += [
        b'a,b\n"1,5","x\ny"\n"2,5","z"\n',
        b"# c\nname value\n1 2\n3 4\n",
        "größe;y\n1,5;2\n2,5;3\n".encode("cp1252"),
    ]
    texts += [
        b'[{"a": 1, "b": "x"}, {"a": 2.5, "b": null}]',
        b'{"a": 1}\n{"a": 2}\n',
        TREES.encode("utf-16"),
        b"x\n1\n2\n3\n",
        b'a,b\n1,"\n',
    ]
    texts += [
        b"\t".join([b"v"] * 30) + b"\n" + (b"\t".join([b"1"] * 30) + b"\n") * 4,
        b"a,b,c\nkg,m,s\n1,2,3\n4,5,6\nTotal,7,9\n",
    ]

    def make(chance: random.Random) -> bytes:
        content = mutated(chance.choice(texts), chance, TOKENS, texts)
        return gzip.compress(content, 1) if chance.random() < 0.05 else content

    def read(content: bytes) -> bool:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            path = Path(folder) / ("t.json" if content[:1] in (b"[", b"{") else "t.csv")
            path.write_bytes(content)
            source = source_of(path)
            if source.kind == "text":
                layout = layout_of(source, Dialect())
                with contextlib.suppress(FalllineError):
                    _mended(path.name, _rows(source, layout).decode(), layout, last=True)
            if len(content) % WHOLE:
                return False
            found = read_table(path)
            assert all(len(values) == found.rows for values in found.columns.values())
            read_table(path, like=found.reading)
        return True

    return Target(make, read)


def formula() -> Target:
    from fallline.model.curve import Curve
    from fallline.model.formula import read_formula

    good = (
        "b1*(1 - exp(-b2*x))",
        "a + b*log(x)",
        "b1*exp(-b2*x) + b3*sin(x/b4)",
        "`a b`**2 / (1 + x)",
        "sqrt(abs(x))*k",
    )

    def make(chance: random.Random) -> bytes:
        if chance.random() < 0.3:
            return "".join(chance.choice(PARTS) for _ in range(chance.choice((1, 3, 8, 30, 300)))).encode()
        text = chance.choice(good)
        for _ in range(chance.choice((1, 2, 5))):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice(PARTS) + text[at + chance.choice((0, 0, 1, 3)) :]
        return text.encode()

    def read(content: bytes) -> bool:
        found = read_formula(content.decode("utf-8", "replace"))
        if "x" in found.names and len(found.names) > 1:
            curve = Curve(found, columns=("x",))
            x = np.array([[0.5], [1.0], [-2.0]])
            with np.errstate(all="ignore"):
                curve.predict(np.ones(curve.n_weights), x)
        return True

    return Target(make, read)


def messages() -> Target:
    from fallline.explore.messages import Given, read_frame
    from fallline.explore.session import LONG, SHORT, TRAIN
    from fallline.explore.work import Opened, Work

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    (folder / "trees.csv").write_text(TREES)
    opened = Opened.of(folder / "trees.csv", "height")
    both: Any = {
        "id": 1,
        "rate": 0.1,
        "momentum": 0.5,
        "start": [1, 1],
        "steps": 5,
        "activation": "tanh",
        "data": "table",
    }
    both |= {
        "first": "girth",
        "second": "height",
        "target": "height",
        "methods": ["plain"],
        "weights": [0, 0],
        "row": 1,
    }
    good = [
        both | {"do": "slope", "formula": "x**2 - 3*cos(x)", "window": [-2, 2], "x": 1.0}, both | {"do": "two-weights"},
        both | {"do": "two-weights walk"}, both | {"do": "two-weights row"}, both | {"do": "local-minima", "neuron": "bump"},
        both | {"do": "local-minima walk", "neuron": "bump"}, {"id": 2, "do": "network"}, {"id": 2, "do": "network stop"},
        {"id": 2, "do": "network what-if", "output": 0, "values": {"girth": 3}}, {"id": 3, "do": "network columns", "file": "a"},
    ]  # fmt: skip

    def make(chance: random.Random) -> bytes:
        found = changed(chance.choice(good), chance)
        if chance.random() < 0.5:
            found = found if isinstance(found, dict) else {}
            found["do"] = chance.choice((*SHORT, *LONG, TRAIN))
        text = json.dumps(found).encode()
        return mutated(text, chance, TOKENS, [text]) if chance.random() < 0.3 else text

    def read(content: bytes) -> bool:
        given = Given.read(content.decode("utf-8", "replace"))
        given.whole("id", 0, 1 << 53)
        what = given.choice("do", (*SHORT, *LONG, TRAIN))
        if what not in SHORT:
            return False
        work = Work(opened)
        session: Any = SimpleNamespace(work=work, ground=work.ground, tell=lambda *_, **__: None, folder=folder)
        read_frame(b" " * 16 + SHORT[what](given, session))
        return True

    return Target(make, read)


TARGETS: dict[str, Callable[[], Target]] = {"model": model, "table": table, "formula": formula, "messages": messages}


class Failure(NamedTuple):
    """What went wrong with an input: ``kind`` is the same for inputs that failed alike."""

    kind: str
    told: str


def tried(target: Target, content: bytes) -> bool | Failure:
    """Whether an input was read as good, or how it failed."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"longer than {LONGEST} s")

    before = _most_held()
    signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    try:
        # The arithmetic of numbers near 1e300 overflows, in whatever a model holds: its results are infinite, and no failure.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            good = target.read(content)
    except FalllineError as problem:
        good = False
        if not str(problem).strip():
            return Failure("an error without a sentence", repr(problem))
    except BaseException as problem:
        if isinstance(problem, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(problem.__traceback__)[-1]
        ours = [step for step in traceback.extract_tb(problem.__traceback__) if "fallline" in step.filename]
        place = (ours or [last])[-1]
        return Failure(f"{type(problem).__name__} in {Path(place.filename).name}, {place.name}", traceback.format_exc())
    finally:
        signal.alarm(0)
        _most_held.cache_clear()
    more = _most_held() - before
    return Failure("memory", f"{more / 1e6:.0f} MB more") if more > MORE else good


@functools.cache  # until an input was tried: to ask takes as long as to read most of them
def _most_held() -> int:
    """The most bytes that the process has ever held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def runs(
    name: str, inputs: int, seconds: float = float("inf"), seed: int = 0
) -> Iterator[tuple[bytes, bool | Failure]]:
    """Inputs of a target and what became of each."""
    target, chance, began = TARGETS[name](), random.Random(seed), time.monotonic()
    for _ in range(inputs):
        if time.monotonic() - began > seconds:
            return
        content = target.make(chance)
        yield content, tried(target, content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--inputs", type=int, default=sys.maxsize)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    failed: dict[str, list[Any]] = {}
    count = good = 0
    began = time.monotonic()
    for content, found in runs(asked.target, asked.inputs, asked.seconds, asked.seed):
        count += 1
        if not isinstance(found, Failure):
            good += found
            continue
        seen = failed.setdefault(found.kind, [0, content, found.told])
        seen[0] += 1
        if len(content) <= len(seen[1]):
            seen[1:] = [content, found.told]
    for number, (kind, (times, content, told)) in enumerate(sorted(failed.items(), key=lambda each: -each[1][0])):
        print(f"{times:,} × {kind}\n{told}")
        if asked.keep:
            asked.keep.mkdir(parents=True, exist_ok=True)
            (asked.keep / f"{asked.target}-{asked.seed}-{number}").write_bytes(content)
    most = _most_held() / 2**20
    print(
        f"{asked.target}, seed {asked.seed}: {count:,} inputs in {time.monotonic() - began:.0f} s, {good:,} read as good, "
        f"{sum(times for times, *_ in failed.values()):,} failed in {len(failed)} ways; {most:.0f} MiB at most"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
