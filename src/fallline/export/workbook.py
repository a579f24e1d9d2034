"""The network as a spreadsheet whose cells compute it."""

import io
from typing import Any

import numpy as np

from fallline.export.program import Program
from fallline.table.encoding import YEAR, Entry, encoded

_ROWS = 100  # rows to fill in
_ACTIVATIONS = {
    "identity": "({z})",
    "logistic": "(0.5*TANH(0.5*({z}))+0.5)",
    "tanh": "TANH({z})",
    "relu": "(0.5*(({z})+ABS({z})))",
    "leaky_relu": "(0.505*({z})+0.495*ABS({z}))",
    "softplus": "(0.5*(({z})+ABS({z}))+LN(1+EXP(-ABS({z}))))",
    "softsign": "(({z})/(1+ABS({z})))",
    "elu": "(0.5*(({z})+ABS({z}))+EXP(0.5*(({z})-ABS({z})))-1)",
    "silu": "(({z})*(0.5*TANH(0.5*({z}))+0.5))",
    "sine": "SIN({z})",
    "gaussian": "EXP(-(({z})*({z})))",
}


def workbook(program: Program) -> bytes:
    """The bytes of an .xlsx file: rows to fill in on its first sheet, and the predictions behind them."""
    import xlsxwriter

    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet, inputs, weights = (book.add_worksheet(name) for name in ("Predict", "Inputs", "Weights"))
        bold, date = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        given = program.entries
        for j, entry in enumerate(given):
            sheet.write_string(0, j, entry["name"], bold)
            if entry["kind"] == "date":
                sheet.set_column(j, j, 16, date)
        for j, name in enumerate(program.inputs):
            inputs.write_string(0, j, name, bold)
        ranges = _write_weights(book, weights, program)
        for row in range(1, _ROWS + 1):
            _write_row(book, sheet, inputs, program, ranges, row)
        first = len(given)
        for j, name in enumerate(program.outputs):
            what = f"probability {name}" if program.classes else f"predicted {name}"
            sheet.write_string(0, first + j, what, bold)
        sheet.freeze_panes(1, 0)
        notes = book.add_worksheet("About")
        lines = [f"A network fitted by fallline: {program.name}.", *program.about]
        lines.append(
            f"Fill in the rows of the sheet Predict, up to {_ROWS}; an empty cell is a missing value. Copy its last row for more."
        )
        for i, line in enumerate(lines):
            notes.write_string(i, 0, line)
    return out.getvalue()


def _write_weights(book: Any, sheet: Any, program: Program) -> list[tuple[str, str, str]]:
    """Of each layer the ranges of its weights, biases, and of 1 where a unit is bent and 0 where it is linear."""
    found, row = [], 0
    last = len(program.layers) - 1
    for layer, (coef, intercept) in enumerate(program.layers):
        _, linear = program.activation(layer)
        block = coef.T if layer == last else coef  # of the last layer a row for each output
        bent = np.ones(coef.shape[1])
        bent[coef.shape[1] - linear :] = 0.0
        ranges = []
        for values in (block, intercept[None], bent[None]):
            ranges.append(_cells(sheet.get_name(), row, 0, *np.shape(values)))
            for line in np.asarray(values):
                sheet.write_row(row, 0, line.tolist())
                row += 1
        found.append((ranges[0], ranges[1], ranges[2]))
        row += 1
    return found


def _cells(sheet: str, row: int, column: int, rows: int, columns: int) -> str:
    from xlsxwriter.utility import xl_range_abs

    return f"{sheet}!{xl_range_abs(row, column, row + rows - 1, column + columns - 1)}"


def _write_row(book: Any, sheet: Any, inputs: Any, program: Program, ranges: Any, row: int) -> None:
    """The formulas of a row: its inputs, less their centre, and what the network makes of them."""
    from xlsxwriter.utility import xl_range, xl_rowcol_to_cell

    at = 0
    for j, entry in enumerate(program.entries):
        width = len(encoded(entry))
        for offset, formula in enumerate(_encoding(entry, f"Predict!{xl_rowcol_to_cell(row, j)}")):
            centre = float(program.centre[at + offset])
            inputs.write_formula(row, at + offset, f"={formula}" if centre == 0 else f"=({formula})-({centre!r})")
        at += width
    given = xl_range(row, 0, row, len(program.entries) - 1)
    first = len(program.entries)
    a = f"Inputs!{xl_range(row, 0, row, at - 1)}"
    for layer, (weights, biases, bent) in enumerate(ranges[:-1]):
        f, linear = program.activation(layer)
        z = f"MMULT({a},{weights})+{biases}"
        a = _ACTIVATIONS[f].format(z=z)
        a = f"({a}*{bent}+({z})*(1-{bent}))" if linear else a
    outputs = _outputs(program, ranges, a)
    if program.classes:
        k = len(program.classes)
        raw = [f"Inputs!{xl_rowcol_to_cell(row, at + 1 + i)}" for i in range(len(outputs))]
        for i, formula in enumerate(outputs):
            inputs.write_formula(row, at + 1 + i, f"={formula}")
        if k == 2:
            second = f"MAX(0,MIN(1,{raw[0]}))"
            outputs = [f"1-{second}", second]
        else:
            whole = f"Inputs!{xl_range(row, at + 1, row, at + k)}"
            sums = [f"({'+'.join(f'LARGE({whole},{i})' for i in range(1, m + 1))}-1)/{m}" for m in range(1, k + 1)]
            inputs.write_formula(row, at + 1 + k, f"=MAX({','.join(sums)})")
            level = f"Inputs!{xl_rowcol_to_cell(row, at + 1 + k)}"
            outputs = [f"MAX({cell}-{level},0)" for cell in raw]
    for i, formula in enumerate(outputs):
        sheet.write_formula(row, first + i, f'=IF(COUNTA({given})=0,"",{formula})', None, "")


def _outputs(program: Program, ranges: Any, a: str) -> list[str]:
    """The formula of each output, for the array of what enters the last layer."""
    from xlsxwriter.utility import xl_cell_to_rowcol, xl_range_abs, xl_rowcol_to_cell

    weights, biases, _ = (text.partition("!")[2].replace("$", "") for text in ranges[-1])
    f, _ = program.activation(len(ranges) - 1)
    top, left = xl_cell_to_rowcol(weights.partition(":")[0])
    right = xl_cell_to_rowcol(weights.rpartition(":")[2])[1]
    bias_row = xl_cell_to_rowcol(biases.partition(":")[0])[0]
    found = []
    for j in range(program.layers[-1][0].shape[1]):
        own = f"Weights!{xl_range_abs(top + j, left, top + j, right)}"
        bias = f"Weights!{xl_rowcol_to_cell(bias_row, j, row_abs=True, col_abs=True)}"
        found.append(_ACTIVATIONS[f].format(z=f"SUMPRODUCT({a},{own})+{bias}"))
    return found


def _encoding(entry: Entry, cell: str) -> list[str]:
    """The formulas of the inputs that a cell becomes."""
    kind = entry["kind"]
    if kind == "category":
        marks = [f'IF({cell}&""={_text(category)},1,0)' for category in entry["categories"]]
        none = f"1-({'+'.join(marks)})"
        if "share" in entry:
            return [f"{marks[1]}+({none})*{entry['share']!r}"]
        gone = f'IF({cell}="",1,0)'
        return marks + [f"({none})-{gone}"] * entry["other"] + [gone] * entry["missing"]
    there = f"ISNUMBER({cell})"
    gap = [f'IF({cell}="",1,0)'] * entry["missing"]
    if kind != "date":
        return [f'IF({cell}="",{entry["mean"]!r},N({cell}))', *gap]
    days = f"({cell}-25569)"  # spreadsheets count days from 1899-12-30
    found = [f"IF({there},{days}-({entry['origin']!r}),{entry['mean'] - entry['origin']!r})"]
    turns = [f"{days}/{YEAR!r}"] * entry["year"]
    found += [f"IF({there},{f}(2*PI()*{turn}),0)" for turn in turns for f in ("SIN", "COS")]
    found += [f"IF({there},IF(MOD(INT({days})+3,7)={day},1,0),0)" for day in entry["weekdays"]]
    turns = [f"({days}-INT({days}))"] * entry["clock"]
    found += [f"IF({there},{f}(2*PI()*{turn}),0)" for turn in turns for f in ("SIN", "COS")]
    return found + gap


def _text(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
