"""Exports run by other programs: a C compiler, Octave, LibreOffice. Left out of a plain run; ``pytest -m external`` runs them."""

import csv
import ctypes
import datetime
import subprocess

import numpy as np
import openpyxl
import pytest

from fallline import export
from fallline.export.c_header import words_of
from fallline.export.program import identifiers, program_of

pytestmark = pytest.mark.external
EPOCH = datetime.datetime(1970, 1, 1)


def number(cell):
    """A cell as C and Octave take it: NaN where missing, dates as days since 1970."""
    if cell is None:
        return float("nan")
    return (cell - EPOCH) / datetime.timedelta(days=1) if isinstance(cell, datetime.datetime) else float(cell)


def test_c_predicts_as_the_model(case, tmp_path):
    (tmp_path / "m.h").write_text(export.c(case.model, "m"), encoding="utf-8")
    entries = program_of(case.model).entries
    words = words_of([entry["name"] for entry in entries])
    fill = " ".join(f"in.{word} = v[{i}];" for i, word in enumerate(words))
    categories = {i for i, entry in enumerate(entries) if entry["kind"] == "category"}
    known = " ".join(f"if (i == {i}) return m_{words[i]}_of(text);" for i in sorted(categories))
    (tmp_path / "m.c").write_text(
        f'#include "m.h"\nvoid go(const double *v, double *y) {{ m_input in; {fill} m_predict(&in, y); }}\n'
        f"double category(int i, const char *text) {{ {known} return -2.0; }}\n"
    )
    command = "gcc -std=c99 -pedantic -Wall -Wextra -Werror -O2 -shared -fPIC -o m.so m.c -lm"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(tmp_path / "m.so"))
    library.category.restype = ctypes.c_double
    found = []
    for row in case.records():
        cells = [row[entry["name"]] for entry in entries]
        values = [
            library.category(i, cell.encode()) if i in categories and cell is not None else number(cell)
            for i, cell in enumerate(cells)
        ]
        y = (ctypes.c_double * case.predicted.shape[1])()
        library.go((ctypes.c_double * len(values))(*values), y)
        found.append(list(y))
    np.testing.assert_allclose(found, case.predicted, rtol=1e-12, atol=1e-12)


def test_octave_predicts_as_the_model(case, tmp_path):
    (tmp_path / "m.m").write_text(export.matlab(case.model, "m"), encoding="utf-8")
    entries = program_of(case.model).entries
    lines = []
    for entry, word in zip(entries, identifiers(entry["name"] for entry in entries), strict=True):
        cells = [row[entry["name"]] for row in case.records()]
        if entry["kind"] == "category":
            texts = ["'" + (cell or "").replace("'", "''") + "'" for cell in cells]
            lines.append(f"T.{word} = {{{'; '.join(texts)}}};")
        else:
            lines.append(f"T.{word} = [{'; '.join(repr(number(cell)).replace('nan', 'NaN') for cell in cells)}];")
    script = "\n".join([*lines, "y = m(T);", "fid = fopen('y.txt', 'w'); fprintf(fid, '%.17g\\n', y); fclose(fid);"])
    (tmp_path / "go.m").write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["octave", "--no-gui", "--norc", "--quiet", "go.m"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = np.loadtxt(tmp_path / "y.txt").reshape(case.predicted.shape, order="F")
    np.testing.assert_allclose(found, case.predicted, rtol=1e-12, atol=1e-12)


def test_libreoffice_predicts_as_the_model(case, tmp_path):
    (tmp_path / "m.xlsx").write_bytes(export.excel(case.model))
    book = openpyxl.load_workbook(tmp_path / "m.xlsx")
    sheet = book["Predict"]
    entries = program_of(case.model).entries
    assert [sheet.cell(1, j + 1).value for j in range(len(entries))] == [entry["name"] for entry in entries]
    for i, row in enumerate(case.records()):
        for j, entry in enumerate(entries):
            cell = row[entry["name"]]
            # A spreadsheet keeps dates as days of its own count.
            sheet.cell(i + 2, j + 1).value = number(cell) + 25569 if isinstance(cell, datetime.datetime) else cell
    book.save(tmp_path / "filled.xlsx")
    # The values of the cells, not what they show: 44,34 is the separator and quote, 76 is UTF-8, the ninth part asks for values.
    how = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,1"
    command = [
        "soffice",
        f"-env:UserInstallation=file://{tmp_path}/home",
        "--headless",
        "--convert-to",
        how,
        "filled.xlsx",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [path] = tmp_path.glob("filled*.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1 : len(case.rows) + 1]
    found = np.array([[float(cell) for cell in row[len(entries) :]] for row in rows])
    # A spreadsheet keeps 15 digits: of 1e9 + 0.123456789 six behind the point.
    np.testing.assert_allclose(found, case.predicted, rtol=1e-6, atol=1e-6)
