"""The network as a function of MATLAB and Octave."""

from collections.abc import Iterable
from typing import Any

from fallline.export.program import Program, identifiers, number
from fallline.table.encoding import YEAR, Entry, encoded

_ACTIVATIONS = {
    "identity": "z",
    "logistic": "0.5 * tanh(0.5 * z) + 0.5",
    "tanh": "tanh(z)",
    "relu": "max(z, 0)",
    "leaky_relu": "max(z, 0) + 0.01 * min(z, 0)",
    "softplus": "max(z, 0) + log1p(exp(-abs(z)))",
    "softsign": "z ./ (1 + abs(z))",
    "elu": "max(z, 0) + expm1(min(z, 0))",
    "silu": "z .* (0.5 * tanh(0.5 * z) + 0.5)",
    "sine": "sin(z)",
    "gaussian": "exp(-z .^ 2)",
}
_RESERVED = {
    "break", "case", "catch", "classdef", "continue", "else", "elseif", "end", "for", "function", "global", "if",
    "otherwise", "parfor", "persistent", "return", "spmd", "switch", "try", "while", "do", "until", "unwind_protect",
    "endfunction",
}  # fmt: skip


def matlab_function(program: Program, name: str) -> str:
    """The text of the file, which has to be saved as ``name`` with the suffix .m."""
    words = identifiers((entry["name"] for entry in program.entries), _RESERVED)
    steps, at, said = [], 1, []
    for entry, word in zip(program.entries, words, strict=True):
        width = len(encoded(entry))
        steps.append(_encoding(entry, f"T.{word}", at, width))
        said.append(f"%     {word}: {_said(entry)}")
        at += width
    layers = []
    for layer, (coef, intercept) in enumerate(program.layers):
        f, linear = program.activation(layer)
        layers += [f"    W = {_matrix(coef)};", f"    z = a * W + {_matrix([intercept])};"]
        bent = _ACTIVATIONS[f]
        if linear:
            layers += [
                f"    bent = size(z, 2) - {linear};",
                f"    s = z(:, bent + 1:end); z = z(:, 1:bent); a = [{bent}, s];",
            ]
        else:
            layers.append(f"    a = {bent};")
    body, columns = "\n".join(layers), "\n".join(said)
    about = "".join(f"%   {_line(sentence)}\n" for sentence in program.about)
    outputs = ", ".join(map(_line, program.outputs))
    return f"""function y = {name}(T)
%{name.upper()} A network fitted by fallline: {_line(program.name)}.
{about}%   y = {name}(T) predicts {outputs}, one column each, for rows
%   whose columns are the fields of the struct T (of a table: table2struct(T, 'ToScalar', true)):
{columns}
%   y = {name}(X) takes the {len(program.inputs)} inputs of the network as a matrix, one row each.
    if isnumeric(T)
        x = T;
    else
        x = encoded(T);
    end
    a = x - {_matrix([program.centre])};
{body}
    y = a;{_probabilities(program)}
end

function x = encoded(T)
    fields = fieldnames(T);
    x = zeros(count(T.(fields{{1}})), {len(program.inputs)});
{"".join(steps)}end

function n = count(column)
    if ischar(column)
        n = 1;
    else
        n = numel(column);
    end
end
{_helpers(program)}"""


def _said(entry: Entry) -> str:
    gap = "NaN where missing"
    what = {
        "number": f"numbers; {gap}",
        "boolean": f"1 true, 0 false; {gap}",
        "category": "a cell array of texts, '' where missing",
        "date": f"days since 1970-01-01, with the time of day as a fraction; {gap}",
    }[entry["kind"]]
    return _line(f"{entry['name']}, {what}")


def _encoding(entry: Entry, column: str, at: int, width: int) -> str:
    kind = entry["kind"]
    if kind == "category":
        known = "{" + ", ".join(_text(category) for category in entry["categories"]) + "}"
        if "share" in entry:
            return f"    x(:, {at}) = of_two({column}, {known}, {number(entry['share'])});\n"
        return (
            f"    x(:, {at}:{at + width - 1}) = categories({column}, {known}, {str(entry['other']).lower()}, "
            f"{str(entry['missing']).lower()});\n"
        )
    gap = f"    x(:, {at + width - 1}) = isnan({column}(:));\n" if entry["missing"] else ""
    if kind != "date":
        return f"    x(:, {at}) = filled({column}, {number(entry['mean'])});\n{gap}"
    days = ", ".join(map(str, entry["weekdays"]))
    wide = width - bool(entry["missing"])
    return (
        f"    x(:, {at}:{at + wide - 1}) = dates({column}, {number(entry['origin'])}, {number(entry['mean'])}, "
        f"{str(entry['year']).lower()}, [{days}], {str(entry['clock']).lower()});\n{gap}"
    )


def _helpers(program: Program) -> str:
    kinds = {entry["kind"] for entry in program.entries}
    found = ""
    if kinds & {"number", "boolean"}:
        found += """
function x = filled(column, mean)
    x = double(column(:));
    x(isnan(x)) = mean;
end
"""
    if any("share" in entry for entry in program.entries):
        found += """
function x = of_two(column, known, share)
    column = cellstr(column);
    x = share * ones(numel(column), 1);
    x(strcmp(column(:), known{1})) = 0;
    x(strcmp(column(:), known{2})) = 1;
end
"""
    if any(entry["kind"] == "category" and "share" not in entry for entry in program.entries):
        found += """
function x = categories(column, known, other, missing)
    column = cellstr(column);
    [found, place] = ismember(column(:), known);
    gone = cellfun(@isempty, column(:));
    x = double(place == 1:numel(known));
    if other
        x = [x, double(~found & ~gone)];
    end
    if missing
        x = [x, double(gone)];
    end
end
"""
    if "date" in kinds:
        found += f"""
function x = dates(column, origin, mean, year, weekdays, clock)
    days = double(column(:));
    gone = isnan(days);
    x = days - origin;
    if year
        angle = 2 * pi * days / {YEAR!r};
        x = [x, sin(angle), cos(angle)];
    end
    if ~isempty(weekdays)
        x = [x, double(mod(floor(days) + 3, 7) == weekdays)];
    end
    if clock
        angle = 2 * pi * (days - floor(days));
        x = [x, sin(angle), cos(angle)];
    end
    x(gone, :) = 0;
    x(gone, 1) = mean - origin;
end
"""
    return found


def _probabilities(program: Program) -> str:
    if not program.classes:
        return ""
    if len(program.classes) == 2:
        return "\n    y = min(max(y, 0), 1);\n    y = [1 - y, y];"
    return """
    % the point of the simplex nearest to the outputs: nothing below 0, and 1 in all
    y = y - max(y, [], 2);
    falling = sort(y, 2, 'descend');
    over = (cumsum(falling, 2) - 1) ./ (1:size(y, 2));
    last = sum(falling > over, 2);
    y = max(y - over(sub2ind(size(over), (1:size(y, 1))', last)), 0);"""


def _matrix(rows: Iterable[Iterable[Any]]) -> str:
    return "[" + "; ".join(" ".join(number(value) for value in row) for row in rows) + "]"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''").replace("\n", " ") + "'"


def _line(text: object) -> str:
    return " ".join(str(text).split())
