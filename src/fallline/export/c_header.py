"""The network as one C99 header."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fallline.export.program import Program, identifiers, number
from fallline.table.encoding import YEAR, Entry, encoded

_ACTIVATIONS = {
    "identity": "z",
    "logistic": "0.5 * tanh(0.5 * z) + 0.5",
    "tanh": "tanh(z)",
    "relu": "z > 0.0 ? z : 0.0",
    "leaky_relu": "z > 0.0 ? z : 0.01 * z",
    "softplus": "(z > 0.0 ? z : 0.0) + log1p(exp(-fabs(z)))",
    "softsign": "z / (1.0 + fabs(z))",
    "elu": "z > 0.0 ? z : expm1(z)",
    "silu": "z * (0.5 * tanh(0.5 * z) + 0.5)",
    "sine": "sin(z)",
    "gaussian": "exp(-z * z)",
}
_RESERVED = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "main",
}  # fmt: skip
_SIMPLEX = """
    /* the point of the simplex nearest to the outputs: nothing below 0, and 1 in all */
    {
        double sorted[%(k)d], total = 0.0, over = 0.0, top = y[0];
        for (i = 1; i < %(k)d; i++) if (y[i] > top) top = y[i];
        for (i = 0; i < %(k)d; i++) {
            double value = y[i] -= top;
            for (j = i; j > 0 && sorted[j - 1] < value; j--) sorted[j] = sorted[j - 1];
            sorted[j] = value;
        }
        for (i = 0; i < %(k)d; i++) {
            total += sorted[i];
            if (sorted[i] > (total - 1.0) / (i + 1)) over = (total - 1.0) / (i + 1);
        }
        for (i = 0; i < %(k)d; i++) y[i] = y[i] > over ? y[i] - over : 0.0;
    }"""


def c_header(program: Program, name: str) -> str:
    """The text of the header; its names begin with ``name``, made a word of C."""
    [prefix] = identifiers([name], _RESERVED)
    words = identifiers((entry["name"] for entry in program.entries), _RESERVED)
    members = "\n".join(
        f"    double {word}; /* {_said(entry, prefix, word)} */"
        for entry, word in zip(program.entries, words, strict=True)
    )
    lookups = "".join(
        _lookup(entry, prefix, word)
        for entry, word in zip(program.entries, words, strict=True)
        if entry["kind"] == "category"
    )
    steps, at = [], 0
    for entry, word in zip(program.entries, words, strict=True):
        steps.append(_encoding(entry, f"in->{word}", at))
        at += len(encoded(entry))
    k = len(program.outputs)
    outputs = ", ".join(f"y[{j}]: {_safe(output)}" for j, output in enumerate(program.outputs))
    about = "".join(f"\n   {_safe(sentence)}" for sentence in program.about)
    return f"""/* A network fitted by fallline: {_safe(program.name)}.{about}

   {prefix}_input holds the columns of one row in their own units, and {prefix}_predict writes
   {outputs}. C99; link with -lm. */
#ifndef {prefix.upper()}_H
#define {prefix.upper()}_H

#include <math.h>
#include <string.h>

#define {prefix.upper()}_OUTPUTS {k}

typedef struct {{
{members}
}} {prefix}_input;
{lookups}
/* The {len(program.inputs)} inputs of the network for one row. */
static inline void {prefix}_encode(const {prefix}_input *in, double *x)
{{
    int i;
    for (i = 0; i < {len(program.inputs)}; i++) x[i] = 0.0;
{"".join(steps)}}}

/* The outputs of the network for its inputs, x[{len(program.inputs)}]. */
static inline void {prefix}_outputs(const double *x, double *y)
{{
{_arrays(program)}
    int i, j;
{_forward(program)}}}

/* The predictions y[{k}] for one row. */
static inline void {prefix}_predict(const {prefix}_input *in, double *y)
{{
    double x[{len(program.inputs)}];
    {prefix}_encode(in, x);
    {prefix}_outputs(x, y);{_probabilities(program)}
}}

#endif
"""


def _said(entry: Entry, prefix: str, word: str) -> str:
    gap = "NAN where missing"
    what = {
        "number": f"{entry['name']}; {gap}",
        "boolean": f"{entry['name']}: 1 true, 0 false; {gap}",
        "category": f"{entry['name']}: {prefix}_{word}_of(text); {gap}",
        "date": f"{entry['name']}: days since 1970-01-01, with the time of day as a fraction; {gap}",
    }[entry["kind"]]
    return _safe(what)


def _lookup(entry: Entry, prefix: str, word: str) -> str:
    texts = ", ".join(_string(category) for category in entry["categories"])
    count = len(entry["categories"])
    return f"""
/* The number of a category of {_safe(entry["name"])}, spelled as here; -1 of any other. */
static inline double {prefix}_{word}_of(const char *text)
{{
    static const char *const known[{count}] = {{{texts}}};
    int i;
    for (i = 0; i < {count}; i++) if (strcmp(text, known[i]) == 0) return i;
    return -1.0;
}}
"""


def _encoding(entry: Entry, cell: str, at: int) -> str:
    """C that writes the inputs of a column, from x[at] on, which are 0."""
    kind, width = entry["kind"], len(encoded(entry))
    if kind == "category":
        count = len(entry["categories"])
        if "share" in entry:
            return f"    x[{at}] = {cell} == 1.0 ? 1.0 : {cell} == 0.0 ? 0.0 : {number(entry['share'])};\n"
        steps = f"    if ({cell} >= 0.0 && {cell} < {count}.0) x[{at} + (int){cell}] = 1.0;\n"
        if entry["other"]:
            steps += f"    else if (!isnan({cell})) x[{at + count}] = 1.0;\n"
        if entry["missing"]:
            steps += f"    if (isnan({cell})) x[{at + width - 1}] = 1.0;\n"
        return steps
    gap = f"    if (isnan({cell})) x[{at + width - 1}] = 1.0;\n" if entry["missing"] else ""
    if kind != "date":
        return f"    x[{at}] = isnan({cell}) ? {number(entry['mean'])} : {cell};\n{gap}"
    origin, place = number(entry["origin"]), at + 1
    inner = f"x[{at}] = {cell} - {origin};"
    if entry["year"]:
        angle = f"2.0 * 3.14159265358979323846 * {cell} / {YEAR!r}"
        inner += f" x[{place}] = sin({angle}); x[{place + 1}] = cos({angle});"
        place += 2
    for day in entry["weekdays"]:
        inner += f" x[{place}] = fmod(fmod(floor({cell}) + 3.0, 7.0) + 7.0, 7.0) == {day}.0;"
        place += 1
    if entry["clock"]:
        angle = f"2.0 * 3.14159265358979323846 * ({cell} - floor({cell}))"
        inner += f" x[{place}] = sin({angle}); x[{place + 1}] = cos({angle});"
    return f"    if (isnan({cell})) x[{at}] = {number(entry['mean'] - entry['origin'])};\n    else {{ {inner} }}\n{gap}"


def _arrays(program: Program) -> str:
    lines = [f"    static const double centre[{len(program.centre)}] = {_numbers(program.centre)};"]
    for layer, (coef, intercept) in enumerate(program.layers):
        inputs, units = coef.shape
        lines.append(f"    static const double w{layer}[{units}][{inputs}] = {{{', '.join(map(_numbers, coef.T))}}};")
        lines.append(f"    static const double b{layer}[{units}] = {_numbers(intercept)};")
    lines += [f"    double a{layer}[{coef.shape[1]}];" for layer, (coef, _) in enumerate(program.layers[:-1])]
    return "\n".join(lines)


def _forward(program: Program) -> str:
    steps = ""
    for layer, (coef, _) in enumerate(program.layers):
        inputs, units = coef.shape
        f, linear = program.activation(layer)
        to = "y" if layer == len(program.layers) - 1 else f"a{layer}"
        before = "(x[j] - centre[j])" if layer == 0 else f"a{layer - 1}[j]"
        bent = f"i < {units - linear} ? ({_ACTIVATIONS[f]}) : z" if linear else _ACTIVATIONS[f]
        steps += (
            f"    for (i = 0; i < {units}; i++) {{\n        double z = b{layer}[i];\n"
            f"        for (j = 0; j < {inputs}; j++) z += w{layer}[i][j] * {before};\n        {to}[i] = {bent};\n    }}\n"
        )
    return steps


def _probabilities(program: Program) -> str:
    if not program.classes:
        return ""
    if len(program.classes) == 2:
        return "\n    y[1] = y[0] < 0.0 ? 0.0 : y[0] > 1.0 ? 1.0 : y[0];\n    y[0] = 1.0 - y[1];"
    return "\n    int i, j;" + _SIMPLEX % {"k": len(program.classes)}


def _numbers(values: Iterable[Any]) -> str:
    return f"{{{', '.join(number(value) for value in values)}}}"


def _string(text: str) -> str:
    """A text as C writes it: bytes of UTF-8 in octal, so that no digit after them is taken for theirs."""
    return (
        '"'
        + "".join(
            chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
        )
        + '"'
    )


def _safe(text: str) -> str:
    """A text inside a comment."""
    return re.sub(r"\*/", "* /", re.sub(r"/\*", "/ *", " ".join(str(text).split())))


def words_of(names: Sequence[str]) -> list[str]:
    """The members of the struct for columns of these names."""
    return identifiers(names, _RESERVED)
