"""Files as people have them, and files that are no tables."""

import datetime
import decimal
import gzip
import io
import json
import os
import struct
import subprocess
import sys
import zlib

import duckdb
import nanoarrow
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from fallline.exceptions import OutputError, TableError
from fallline.files import atomic_write
from fallline.table.frames import table_from_frame
from fallline.table.read import read_table
from fallline.table.table import Table
from fallline.table.write import write_csv, write_table

NAN = float("nan")


def saved(tmp_path, content, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read(tmp_path, content, name="table.csv"):
    return read_table(saved(tmp_path, content, name))


def cells(values):
    """Cells as plain Python, with None where a number or date is missing."""
    return [None if value is None or value != value else value for value in np.asarray(values).tolist()]


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def day(*ymd):
    return datetime.datetime(*ymd)


# ----------------------------------------------------------------------------------------------------
# Separators, quotes, headers


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "], ids=["comma", "semicolon", "tab", "bar", "space"])
def test_the_separator_is_found(tmp_path, separator):
    text = "\n".join(separator.join(line) for line in (["a", "b", "c"], ["1", "2.5", "x"], ["3", "-4e2", "y"]))
    table = read(tmp_path, text)
    assert list(table.columns) == ["a", "b", "c"]
    assert table.columns["a"].tolist() == [1.0, 3.0]
    assert table.columns["b"].tolist() == [2.5, -400.0]
    assert table.columns["c"].tolist() == ["x", "y"]
    assert table.notes == {}


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
def test_line_ends_of_every_kind_are_read(tmp_path, ends, last):
    table = read(tmp_path, ends.join(["a,b", "1,x", "", "2,y"]) + (ends if last else ""))
    assert table.columns["a"].tolist() == [1.0, 2.0]
    assert table.columns["b"].tolist() == ["x", "y"]


def test_line_ends_may_be_mixed(tmp_path):
    assert read(tmp_path, "a,b\r\n1,2\n3,4\r\n").columns["b"].tolist() == [2.0, 4.0]


def test_columns_aligned_with_blanks_are_read(tmp_path):
    table = read(tmp_path, '  mpg   hp  name\n 18.0  130 "chevrolet  malibu"\n  9.5   70\t"vw"\n', "auto.data")
    assert table.columns["mpg"].tolist() == [18.0, 9.5]
    assert table.columns["name"].tolist() == ["chevrolet  malibu", "vw"]


def test_quoted_fields_may_hold_separators_line_ends_and_quotes(tmp_path):
    table = read(tmp_path, 'x,"a ""long""\nname",y\n1,"one, two\nand ""three""",5\n2,plain,6\n')
    assert list(table.columns) == ["x", 'a "long" name', "y"]
    assert table.columns['a "long" name'].tolist() == ['one, two\nand "three"', "plain"]


def test_a_stray_quotation_mark_is_text(tmp_path):
    table = read(tmp_path, 'size,y\n5" pipe,1\n"6" pipe,2\n')
    assert table.columns["size"].tolist() == ['5" pipe', "6 pipe"]


def test_header_names_are_stripped_filled_and_made_unique(tmp_path):
    table = read(tmp_path, " x ,x,,y,x\n1,2,3,4,5\n6,7,8,9,0\n")
    assert list(table.columns) == ["x", "x_2", "column_3", "y", "x_3"]
    assert table.columns["x_3"].tolist() == [5.0, 0.0]
    assert "second column named `x`" in table.notes["x_2"]


def test_a_made_up_name_does_not_take_a_given_one(tmp_path):
    assert list(read(tmp_path, "x,x,x_2\n1,2,3\n4,5,6\n").columns) == ["x", "x_3", "x_2"]


def test_without_a_header_the_columns_are_numbered(tmp_path):
    table = read(tmp_path, "1.5,2,3\n1.5,2,3\n4,5,6\n")
    assert list(table.columns) == ["column_1", "column_2", "column_3"]
    assert table.columns["column_1"].tolist() == [1.5, 1.5, 4.0]
    assert "no header" in table.notes["column_2"]


def test_a_header_of_years_beside_a_name_is_a_header(tmp_path):
    assert list(read(tmp_path, "country,2019,2020\nA,1,2\nB,3,4\n").columns) == ["country", "2019", "2020"]


def test_one_column_and_one_row_are_read(tmp_path):
    assert read(tmp_path, "x\n1\n\n2\n\n").columns["x"].tolist() == [1.0, 2.0]
    assert read(tmp_path, "x,y\n1,2\n").rows == 1


def test_a_separator_that_ends_every_line_makes_no_trouble(tmp_path):
    table = read(tmp_path, "a;b;\n1;2;\n3;4;\n")
    assert cells(table.columns["b"]) == [2.0, 4.0]
    assert cells(table.columns["column_3"]) == [None, None]
    assert read(tmp_path, "a;b\n1;2;\n3;4;\n").columns["b"].tolist() == [2.0, 4.0]


def test_fields_that_are_empty_in_every_row_may_be_left_out_at_the_end(tmp_path):
    table = read(tmp_path, "a;b;c\n1;2;\n3;4\n5;6;\n")
    assert table.columns["b"].tolist() == [2.0, 4.0, 6.0]
    assert cells(table.columns["c"]) == [None, None, None]


def test_commas_inside_text_do_not_hide_the_separator(tmp_path):
    table = read(tmp_path, "name, first;size\nSmith, John;1,5\nDoe, Jane;2,5\n")
    assert list(table.columns) == ["name, first", "size"]
    assert table.columns["size"].tolist() == [1.5, 2.5]


# ----------------------------------------------------------------------------------------------------
# Encodings and packing


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["unix", "windows"])
def test_encodings_are_recognised(tmp_path, encoding, ends):
    text = ends.join(["température;größe", "1,5;Zürich", "2,5;Malmö", ""])
    table = read(tmp_path, text.encode(encoding))
    assert list(table.columns) == ["température", "größe"]
    assert table.columns["größe"].tolist() == ["Zürich", "Malmö"]
    assert table.columns["température"].tolist() == [1.5, 2.5]


def test_the_euro_sign_of_windows_is_read(tmp_path):
    assert read(tmp_path, "price €;x\n1;“a”\n2;b\n".encode("cp1252")).columns["x"].tolist() == ["“a”", "b"]


def test_unicode_headers_and_cells_are_kept(tmp_path):
    table = read(tmp_path, "高さ,Δ¹³C,🐧\n1,2,a\n3,4,ñ\n")
    assert list(table.columns) == ["高さ", "Δ¹³C", "🐧"]


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv", "t.gz"])
def test_gzip_is_unpacked_whatever_the_name(tmp_path, name):
    assert read(tmp_path, gzip.compress(b"a,b\n1,2\n3,4\n"), name).columns["a"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("name", ["a[1].csv", "a*.csv", "a b'c.csv", 'x="1".csv', "{a}.csv", "ä?.csv"])
def test_a_file_name_is_a_name_and_not_a_pattern(tmp_path, name):
    saved(tmp_path, "a,b\n9,9\n", "a1.csv")
    assert read(tmp_path, "a,b\n1,2\n", name).columns["a"].tolist() == [1.0]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.json"])
def test_a_folder_named_like_a_partition_adds_no_column(tmp_path, name):
    folder = tmp_path / "year=2020"
    folder.mkdir()
    write_table(folder / "t.csv", {"a": np.array([1.0]), "b": np.array([2.0])})
    write_table(folder / "t.parquet", {"a": np.array([1.0]), "b": np.array([2.0])})
    saved(folder, '{"a":1,"b":2}\n', "t.json")
    assert list(read_table(folder / name).columns) == ["a", "b"]


def test_a_parquet_file_name_is_a_name_and_not_a_pattern(tmp_path):
    write_table(tmp_path / "a1.parquet", {"a": np.array([9.0])})
    write_table(tmp_path / "a[1].parquet", {"a": np.array([1.0])})
    assert read_table(tmp_path / "a[1].parquet").columns["a"].tolist() == [1.0]


# ----------------------------------------------------------------------------------------------------
# Cells


@pytest.mark.parametrize(
    "marker",
    ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "-", "?", ".", "#N/A", "missing", '"NA"', " NA "],
)
def test_missing_markers_are_missing_among_numbers_and_texts(tmp_path, marker):
    table = read(tmp_path, f"x,s,y\n1,a,1\n{marker},{marker},2\n3,c,3\n")
    assert cells(table.columns["x"]) == [1.0, None, 3.0]
    assert table.columns["s"].tolist() == ["a", None, "c"]


NUMBERS = {
    "plain": (["1", "+2.5", "-3e-2", ".5", "7."], [1, 2.5, -0.03, 0.5, 7], ""),
    "decimal comma": (["1,5", "2", "-0,25", "3,125"], [1.5, 2, -0.25, 3.125], "decimal commas"),
    "comma marks": (["1,234", "12,345,678", "7"], [1234, 12345678, 7], "thousands marks"),
    "comma marks and point": (["1,234.5", "2", "3.25"], [1234.5, 2, 3.25], "thousands marks"),
    "dot marks and comma": (["1.234,5", "2,25", "1.234.567"], [1234.5, 2.25, 1234567], "thousands marks and decimal"),
    "blank marks": (["1 234.5", "2", "12 345"], [1234.5, 2, 12345], "thousands marks"),
    "thin blank marks": (["1\u202f234,5", "2", "1\u00a0234"], [1234.5, 2, 1234], "thousands marks and decimal"),
    "apostrophe marks": (["1'234.5", "2", "1’234"], [1234.5, 2, 1234], "thousands marks"),
    "percent": (["12 %", "3.5%", "0%"], [12, 3.5, 0], "percent"),
    "minus sign": (["−1.5", "2", "3"], [-1.5, 2, 3], ""),
    "infinite": (["inf", "-Infinity", "1"], [np.inf, -np.inf, 1], ""),
    "exponent": (["1E5", "1e+5", "2"], [1e5, 1e5, 2], ""),
    "years": (["2019", "2020", "2021"], [2019, 2020, 2021], ""),
    "blanks around": ([" 1", "2 ", " 3 "], [1, 2, 3], ""),
}


@pytest.mark.parametrize(("texts", "numbers", "note"), NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_are_read_in_every_spelling(tmp_path, texts, numbers, note):
    table = read(tmp_path, "".join(f"{line}\n" for line in ["k;x"] + [f"k{i};{t}" for i, t in enumerate(texts)]))
    assert table.columns["x"].dtype == np.float64
    assert table.columns["x"].tolist() == numbers
    assert note in table.notes.get("x", "")


TEXTS = {
    "codes": ["00123", "04567", "99999"],
    "codes with a gap": ["007", "NA", "123"],
    "underscores": ["1_000", "2_000", "3"],
    "mixed": ["1", "2", "x"],
    "hexadecimal": ["0x1F", "0x2A", "0x3B"],
    "units": ["5 kg", "6 kg", "7"],
    "two decimal marks": ["1,5", "2.5", "3"],
    "badly grouped": ["1,2345", "12,3456,789", "3"],
    "versions": ["1.2.3", "1.2.30", "10.0.1a"],
    "impossible date": ["2020-02-31", "2020-01-01", "2020-01-02"],
    "late minute": ["25:70", "1:00", "2:00"],
    "day or month": ["13/01/2020", "01/13/2020", "01/01/2020"],
    "none is a category": ["none", "mild", "severe"],
}


@pytest.mark.parametrize("texts", TEXTS.values(), ids=TEXTS.keys())
def test_what_is_no_number_or_date_throughout_stays_text(tmp_path, texts):
    column = read(tmp_path, "".join(f"{line}\n" for line in ["k;x"] + [f"k;{t}" for t in texts])).columns["x"]
    assert column.tolist() == [None if text == "NA" else text for text in texts]


def test_whole_numbers_above_2_to_the_53_are_noted(tmp_path):
    table = read(tmp_path, "t,y\n1600000000000000001,1\n1600000000000000002,2\n")
    assert table.columns["t"].dtype == np.float64
    assert "2^53" in table.notes["t"]


@pytest.mark.parametrize(
    ("other", "numbers"),
    [("k,1\nl,2\n", [1234, 5678]), ("k,1.5\nl,2.5\n", [1234, 5678]), ('k,"1,5"\nl,"2,25"\n', [1.234, 5.678])],
    ids=["no hint", "decimal points elsewhere", "decimal commas elsewhere"],
)
def test_a_comma_before_three_digits_is_read_as_in_the_other_columns(tmp_path, other, numbers):
    first, second = other.splitlines()
    table = read(tmp_path, f'k,y,x\n{first},"1,234"\n{second},"5,678"\n')
    assert table.columns["x"].tolist() == numbers


def test_a_cell_that_cannot_be_thousands_makes_the_comma_decimal(tmp_path):
    assert read(tmp_path, "k;x\na;0,123\nb;1,234\n").columns["x"].tolist() == [0.123, 1.234]


def test_beside_decimal_commas_a_dot_marks_thousands(tmp_path):
    table = read(tmp_path, "a;b\n1,5;1.234\n2,5;12.345\n")
    assert table.columns["b"].tolist() == [1234.0, 12345.0]
    assert "thousands" in table.notes["b"]


DATES = {
    "iso": (["2020-01-31", "2020-02-01"], [day(2020, 1, 31), day(2020, 2, 1)], ""),
    "iso with time": (["2020-01-31 10:20", "2020-02-01T23:59:59.5"], [day(2020, 1, 31, 10, 20), None], ""),
    "zone": (["2020-01-31T10:00:00+02:00", "2020-01-31T10:00:00Z"], [day(2020, 1, 31, 8), day(2020, 1, 31, 10)], ""),
    "slashed iso": (["2020/1/31", "2020/2/1"], [day(2020, 1, 31), day(2020, 2, 1)], ""),
    "day first": (["31/01/2020", "01/02/2020"], [day(2020, 1, 31), day(2020, 2, 1)], "day/month/year"),
    "month first": (["01/31/2020", "2/1/2020"], [day(2020, 1, 31), day(2020, 2, 1)], "month/day/year"),
    "dots": (["31.1.2020", "1.2.2020"], [day(2020, 1, 31), day(2020, 2, 1)], "day/month/year"),
    "dashes": (["31-01-2020", "01-02-2020"], [day(2020, 1, 31), day(2020, 2, 1)], "day/month/year"),
    "short year": (["31/01/20", "01/02/98"], [day(2020, 1, 31), day(1998, 2, 1)], "day/month/year"),
    "half days": (["1/31/2020 1:05 PM", "2/1/2020 12:00 AM"], [day(2020, 1, 31, 13, 5), day(2020, 2, 1)], "month/day"),
    "month names": (["31 Jan 2020", "1 February 2020"], [day(2020, 1, 31), day(2020, 2, 1)], "month names"),
    "english": (["January 31, 2020", "Feb 1, 2020"], [day(2020, 1, 31), day(2020, 2, 1)], "month names"),
    "excel": (["31-Jan-20", "01-Feb-20"], [day(2020, 1, 31), day(2020, 2, 1)], "month names"),
    "year-month": (["2020-01", "2020-02"], [day(2020, 1, 1), day(2020, 2, 1)], "year-month"),
    "two forms": (["2020-01-31", "13/02/2020"], [day(2020, 1, 31), day(2020, 2, 13)], "two forms"),
    "times": (["9:05", "23:59:59"], [day(1970, 1, 1, 9, 5), day(1970, 1, 1, 23, 59, 59)], "times of day"),
    "gap": (["2020-01-31", "NA"], [day(2020, 1, 31), None], ""),
}
DATES["iso with time"][1][1] = datetime.datetime(2020, 2, 1, 23, 59, 59, 500000)


@pytest.mark.parametrize(("texts", "moments", "note"), DATES.values(), ids=DATES.keys())
def test_dates_are_read_in_every_spelling(tmp_path, texts, moments, note):
    table = read(tmp_path, "k;d\n" + "".join(f'k;"{text}"\n' for text in texts))
    assert table.columns["d"].dtype == np.dtype("datetime64[us]")
    assert table.columns["d"].tolist() == moments
    assert note in table.notes.get("d", "")


def test_dates_are_in_utc_whatever_the_zone_of_the_machine(tmp_path):
    path = saved(tmp_path, "d,y\n2020-06-01 10:00,1\n2020-06-01T10:00:00+02:00,2\n")
    code = f"from fallline.table.read import read_table; print(read_table({str(path)!r}).columns['d'].tolist())"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TZ": "America/New_York"}, capture_output=True, text=True
    )
    assert ran.stdout.strip() == "[datetime.datetime(2020, 6, 1, 10, 0), datetime.datetime(2020, 6, 1, 8, 0)]"


@pytest.mark.parametrize(
    ("dates", "second", "note"),
    [
        (["01/02/2020", "02/02/2020", "03/02/2020"], day(2020, 2, 2), "day/month/year"),
        (["02/01/2020", "02/02/2020", "02/03/2020"], day(2020, 2, 2), "no date shows"),
        (["02/01/2020", "02/12/2020", "03/01/2020"], day(2020, 2, 12), "month/day/year"),
    ],
    ids=["days in order", "either in order", "months in order"],
)
def test_dates_that_could_be_either_are_read_so_that_the_rows_go_forward(tmp_path, dates, second, note):
    table = read(tmp_path, "d,y\n" + "".join(f"{date},1\n" for date in dates))
    assert table.columns["d"][1] == np.datetime64(second)
    assert note in table.notes["d"]


def test_dates_that_could_be_either_follow_the_other_column(tmp_path):
    table = read(tmp_path, "a,b\n01/02/2020,12/31/2020\n02/01/2020,12/30/2020\n")
    assert table.columns["a"].tolist() == [day(2020, 1, 2), day(2020, 2, 1)]


@pytest.mark.parametrize(("true", "false"), [("true", "false"), ("True", "False"), ("TRUE", "FALSE")])
def test_truth_values_are_booleans(tmp_path, true, false):
    table = read(tmp_path, f"b,c,y\n{true},{true},1\n{false},NA,2\n")
    assert table.columns["b"].dtype == bool
    assert table.columns["b"].tolist() == [True, False]
    assert table.columns["c"].tolist() == [True, None]


def test_an_empty_column_is_numbers_without_values(tmp_path):
    assert np.isnan(read(tmp_path, "a,b\n1,\n2,NA\n").columns["b"]).all()


def test_a_late_text_is_one_missing_cell_and_quoted(tmp_path):
    lines = [f"{i},{i}" for i in range(60_000)] + ["60000,late"]
    table = read(tmp_path, "a,b\n" + "\n".join(lines) + "\n")
    assert table.columns["a"].tolist() == [float(i) for i in range(60_001)]
    assert table.columns["b"][:2].tolist() == [0.0, 1.0]
    assert np.isnan(table.columns["b"][-1])
    assert "1 cell that could not be read so" in table.notes["b"]
    assert "'late'" in table.notes["b"]


def test_rows_keep_their_order_in_a_long_file(tmp_path):
    numbers = np.random.default_rng(0).permutation(300_000)
    table = read(tmp_path, "a,b\n" + "\n".join(f"{i},t{i}" for i in numbers))
    np.testing.assert_array_equal(table.columns["a"], numbers)
    assert table.columns["b"][[0, -1]].tolist() == [f"t{numbers[0]}", f"t{numbers[-1]}"]


def test_floats_are_read_to_the_last_digit(tmp_path):
    numbers = np.random.default_rng(1).normal(size=2000) * 10.0 ** np.random.default_rng(2).integers(-300, 300, 2000)
    assert read(tmp_path, "x,y\n" + "".join(f"{x!r},1\n" for x in numbers.tolist())).columns["x"].tolist() == (
        numbers.tolist()
    )


def test_a_table_like_a_city_publishes_it(tmp_path):
    text = (
        "Date;Berri 1;Brébeuf (données non disponibles);du Parc;St-Urbain (données non disponibles)\r\n"
        "01/01/2012;35;;26;\r\n02/01/2012;83;;53;\r\n13/01/2012;;;89;\r\n16/01/2012;168;;1\r\n"
    )
    table = read(tmp_path, text.encode("latin-1"), "bikes.csv")
    assert table.rows == 4
    assert cells(table.columns["Berri 1"]) == [35.0, 83.0, None, 168.0]
    assert cells(table.columns["Brébeuf (données non disponibles)"]) == [None] * 4
    assert table.columns["Date"][1] == np.datetime64("2012-01-02")
    assert table.notes == {"Date": "day/month/year dates"}


# ----------------------------------------------------------------------------------------------------
# JSON and Parquet


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.jsonl", '{"a":1,"b":"x","c":true}\n{"a":2.5,"b":null,"c":false}\n'),
        ("t.ndjson", '{"a":1,"b":"x","c":true}\n\n{"a":2.5,"c":false}\n'),
        ("t.json", '[{"a":1,"b":"x","c":true},{"a":2.5,"b":null,"c":false}]'),
        ("t.txt", '[{"a":1,"b":"x","c":true},{"a":2.5,"b":null,"c":false}]'),
        ("t.json", '[\n  {"a": 1,\n   "b": "x", "c": true},\n  {"a": 2.5, "c": false}\n]\n'),
    ],
    ids=["lines", "lines with gaps", "array", "another name", "array over lines"],
)
def test_json_is_read(tmp_path, name, text):
    table = read(tmp_path, text, name)
    assert table.columns["a"].tolist() == [1.0, 2.5]
    assert table.columns["b"].tolist() == ["x", None]
    assert table.columns["c"].tolist() == [True, False]


def test_json_of_mixed_types_dates_and_packing_is_read(tmp_path):
    rows = [{"d": "2020-01-31", "n": "1.5", "m": 1}, {"d": "2020-02-01", "n": "2", "m": "one"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    table = read(tmp_path, gzip.compress(text.encode()), "t.jsonl.gz")
    assert table.columns["d"].tolist() == [day(2020, 1, 31), day(2020, 2, 1)]
    assert table.columns["n"].tolist() == [1.5, 2.0]
    assert table.columns["m"].tolist() == ["1", "one"]


def test_parquet_keeps_its_types(tmp_path):
    frame = pa.table(
        {
            "i": pa.array([1, None, 3], pa.int32()),
            "f": pa.array([1.5, NAN, None], pa.float32()),
            "m": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("2")], pa.decimal128(9, 2)),
            "s": ["1", None, "x"],
            "n": ["1", "2", "3"],
            "c": pa.array(["a", "b", "a"]).dictionary_encode(),
            "b": [True, None, False],
            "d": pa.array([datetime.date(2020, 1, 31), None, datetime.date(2020, 2, 1)]),
            "z": pa.array([day(2020, 1, 1, 10)] * 3, pa.timestamp("ns", "Europe/Zurich")),
            "t": pa.array([datetime.time(9, 5), None, datetime.time(10)], pa.time64("us")),
            "none": pa.nulls(3),
        }
    )
    pyarrow.parquet.write_table(frame, tmp_path / "t.parquet")
    columns = read_table(tmp_path / "t.parquet").columns
    assert cells(columns["i"]) == [1.0, None, 3.0]
    assert cells(columns["f"]) == [1.5, None, None]
    assert cells(columns["m"]) == [1.25, None, 2.0]
    assert columns["s"].tolist() == ["1", None, "x"]
    assert columns["n"].tolist() == ["1", "2", "3"]
    assert columns["c"].tolist() == ["a", "b", "a"]
    assert columns["b"].tolist() == [True, None, False]
    assert columns["d"].tolist() == [day(2020, 1, 31), None, day(2020, 2, 1)]
    assert columns["z"][0] == np.datetime64("2020-01-01T10:00")
    assert columns["t"].tolist() == [day(1970, 1, 1, 9, 5), None, day(1970, 1, 1, 10)]
    assert np.isnan(columns["none"]).all()


# ----------------------------------------------------------------------------------------------------
# What is no table: one sentence each


def refusal(tmp_path, content, name="table.csv"):
    with pytest.raises(TableError) as caught:
        read(tmp_path, content, name)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_file_is_named_with_the_nearest(tmp_path):
    saved(tmp_path, "a,b\n1,2\n", "concrete.csv")
    with pytest.raises(TableError, match=r"There is no file .*conrete\.csv\. Did you mean .*concrete\.csv\?"):
        read_table(tmp_path / "conrete.csv")
    with pytest.raises(TableError, match=r"There is no file .*\. Check the name"):
        read_table(tmp_path / "zebra.tsv")
    with pytest.raises(TableError, match=r"the folder .*nowhere does not exist"):
        read_table(tmp_path / "nowhere" / "concrete.csv")
    with pytest.raises(TableError, match="There is no file"):
        read_table(tmp_path / ("x" * 300))
    with pytest.raises(TableError, match="There is no file"):
        read_table("https://example.org/table.csv")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"is a folder, .* name a file in it"):
        read_table(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(tmp_path, content):
    assert "is empty" in refusal(tmp_path, content)


@pytest.mark.parametrize("content", ["a,b,c\n", "a,b,c", "a\n", "\ufeffa;b\r\n"])
def test_a_header_alone_is_refused(tmp_path, content):
    assert "has a header and no rows" in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("line", "fields"),
    [("4,5", 2), ("4", 1), ("4,5,6,7", 4), ('"4,5",6', 2)],
    ids=["one too few", "two too few", "one too many", "quoted"],
)
def test_a_ragged_line_is_named(tmp_path, line, fields):
    message = refusal(tmp_path, f'a,b,c\n"x\ny",2,3\n{line}\n7,8,9\n')
    assert message.startswith(f"Line 4 of table.csv has {fields} field")
    assert "3 are expected" in message


def test_a_ragged_line_late_in_a_long_file_is_named(tmp_path):
    lines = ["1,2,3"] * 50_000
    lines[40_000] = "1,2"
    assert refusal(tmp_path, "a,b,c\n" + "\n".join(lines)).startswith("Line 40002 ")


@pytest.mark.parametrize("rest", ["4\n5,6\n7,8\n", "4", "4\n"], ids=["lines follow", "cut off", "ended"])
def test_an_open_quotation_mark_is_named(tmp_path, rest):
    assert "quotation mark opened in line 3" in refusal(tmp_path, f'a,b\n1,2\n3,"{rest}')


PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + bytes(13)
NOISE = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (NOISE, "not text"),
        (NOISE.replace(b"\0", b""), "not text"),
        (PNG, "PNG picture"),
        (b"PK\x03\x04" + NOISE, "as CSV"),
        (b"\xd0\xcf\x11\xe0" + NOISE, "as CSV"),
        (b"SQLite format 3\0" + NOISE, "SQLite"),
        (b"\x28\xb5\x2f\xfd" + NOISE, "zstd"),
        (gzip.compress(NOISE), "not text"),
        (bytes(1000), "not text"),
        (b"a,b\n1,2\n\0\0\0\n", "not text"),
    ],
    ids=[
        "noise",
        "noise without zeros",
        "png",
        "xlsx",
        "xls",
        "sqlite",
        "zstd",
        "packed noise",
        "zeros",
        "zeros inside",
    ],
)
def test_what_is_not_text_is_refused(tmp_path, content, words):
    assert words in refusal(tmp_path, content)


@pytest.mark.parametrize("cut", [15, 30, -4], ids=["in the header", "in the data", "in the checksum"])
def test_a_cut_off_gzip_is_refused(tmp_path, cut):
    assert "damaged or cut-off gzip" in refusal(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 999)[:cut], "t.csv.gz")


def test_a_damaged_gzip_is_refused(tmp_path):
    packed = bytearray(gzip.compress(NOISE))
    packed[200] ^= 0xFF
    assert "damaged or cut-off gzip" in refusal(tmp_path, bytes(packed), "t.csv.gz")
    assert zlib.crc32(NOISE)  # the checksum is what tells


def test_damaged_parquet_is_refused(tmp_path):
    pyarrow.parquet.write_table(pa.table({"a": list(range(1000))}), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    assert "damaged or cut-off Parquet" in refusal(tmp_path, whole[:-30], "cut.parquet")
    assert "damaged or cut-off Parquet" in refusal(tmp_path, whole[:-30], "cut.csv")
    assert "not a Parquet file" in refusal(tmp_path, b"a,b\n1,2\n", "text.parquet")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a":1}\n{"a":\n', "damaged JSON near line"),
        ('[{"a":1},{"a":]', "damaged JSON"),
        ('{"a":1}\n{"a":[1,2]}\n', "Column `a` of t.json is of type array"),
        ("a,b\n1,2\n", "not a JSON table"),
        ("[1,2,3]", "rows"),
        ("[]", "no rows"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path, text, words):
    assert words in refusal(tmp_path, text, "t.json")


def test_a_list_column_of_parquet_is_refused(tmp_path):
    pyarrow.parquet.write_table(pa.table({"a": [1], "l": [[1, 2]]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"Column `l` of t.parquet is of type .*\[\]"):
        read_table(tmp_path / "t.parquet")


def test_reading_leaves_the_folder_and_the_default_database_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, "a;b\r\n1;é\r\n".encode("latin-1"))
    before = duckdb.execute("select count(*) from duckdb_tables()").fetchone()
    read_table(path)
    assert names_in(tmp_path) == ["table.csv"]
    assert duckdb.execute("select count(*) from duckdb_tables()").fetchone() == before


# ----------------------------------------------------------------------------------------------------
# Table


def test_blocks_and_take_give_the_rows_asked_for(tmp_path):
    table = Table("t", {"x": np.arange(10.0), "s": np.array(list("abcdefghij"), dtype=object)}, {"x": "noted"})
    assert [len(block["x"]) for block in table.blocks(4)] == [4, 4, 2]
    assert np.concatenate([block["s"] for block in table.blocks(3)]).tolist() == list("abcdefghij")
    assert table.take([3, 1, 1]).columns["s"].tolist() == ["d", "b", "b"]
    assert table.take(table.columns["x"] > 7).columns["x"].tolist() == [8.0, 9.0]
    assert table.take([]).rows == 0
    assert table.take(slice(2, 4)).notes == {"x": "noted"}


# ----------------------------------------------------------------------------------------------------
# Data frames

ROWS = {
    "i": [1, None, 3],
    "f": [1.5, None, 2.0],
    "s": ["1", None, "x"],
    "b": [True, None, False],
    "d": [datetime.date(2020, 1, 31), None, datetime.date(2020, 2, 1)],
    "t": [day(2020, 1, 31, 10), None, day(2020, 2, 1)],
    "z": [datetime.datetime(2020, 1, 1, 10, tzinfo=datetime.timezone(datetime.timedelta(hours=2))), None, None],
    "span": [datetime.timedelta(seconds=90), None, datetime.timedelta(0)],
    "m": [decimal.Decimal("1.25"), None, decimal.Decimal("2")],
    "clock": [datetime.time(9, 5), None, datetime.time(10)],
    "none": [None, None, None],
}
EXPECTED = {
    "i": [1.0, None, 3.0],
    "f": [1.5, None, 2.0],
    "s": ["1", None, "x"],
    "b": [True, None, False],
    "d": [day(2020, 1, 31), None, day(2020, 2, 1)],
    "t": [day(2020, 1, 31, 10), None, day(2020, 2, 1)],
    "z": [day(2020, 1, 1, 8), None, None],
    "span": [90.0, None, 0.0],
    "m": [1.25, None, 2.0],
    "clock": [day(1970, 1, 1, 9, 5), None, day(1970, 1, 1, 10)],
    "none": [None, None, None],
}


def relation():
    return duckdb.connect().from_arrow(pa.table(ROWS))


FRAMES = {
    "polars": lambda: pl.DataFrame(ROWS),
    "polars lazy": lambda: pl.DataFrame(ROWS).lazy(),
    "pandas": lambda: pd.DataFrame(ROWS),
    "pandas nullable": lambda: pd.DataFrame(ROWS).convert_dtypes(),
    "pandas arrow": lambda: pa.table(ROWS).to_pandas(types_mapper=pd.ArrowDtype),
    "pyarrow": lambda: pa.table(ROWS),
    "duckdb": relation,
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_frames_of_every_library_give_the_same_columns(frame):
    table = table_from_frame(frame())
    assert {name: cells(values) for name, values in table.columns.items()} == EXPECTED
    assert table.columns["i"].dtype == np.float64
    assert table.columns["t"].dtype == np.dtype("datetime64[us]")


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"c": ["a", "b", "a"]}, schema={"c": pl.Categorical}),
        pl.DataFrame({"c": ["a", "b", "a"]}, schema={"c": pl.Enum(["b", "a"])}),
        pd.DataFrame({"c": pd.Categorical(["a", "b", "a"])}),
        pd.DataFrame({"c": np.array(["a", "b", "a"], dtype=object)}),
        pa.table({"c": pa.array(["a", "b", "a"]).dictionary_encode()}),
    ],
    ids=["polars categorical", "polars enum", "pandas categorical", "pandas object", "arrow dictionary"],
)
def test_categories_are_text(frame):
    assert table_from_frame(frame).columns["c"].tolist() == ["a", "b", "a"]


def test_booleans_without_gaps_are_bool_and_numbered_columns_get_text_names():
    assert table_from_frame(pl.DataFrame({"b": [True, False]})).columns["b"].dtype == bool
    assert list(table_from_frame(pd.DataFrame(np.ones((2, 2)))).columns) == ["0", "1"]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pl.DataFrame({"l": [[1], [2]]}), r"Column `l` of the data frame is of type List\(Int64\)"),
        (pl.DataFrame({"l": [{"a": 1}]}), "Column `l` .* Struct"),
        (pa.table({"l": [[1]]}), "Column `l` .* List"),
        (pd.DataFrame({"l": [1, "x"]}), r"Column `l` .* \(int, str\)"),
        (pd.DataFrame({"l": [[1], [2]]}), r"Column `l` .* \(list\)"),
        (pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]), "same name"),
        (pl.DataFrame(), "no columns"),
        (pl.DataFrame({"a": []}), "no rows"),
        ([1, 2], "type list is not a table"),
        (pd.Series([1, 2]), "type Series is not a table"),
    ],
    ids=[
        "list",
        "struct",
        "arrow list",
        "mixed",
        "pandas lists",
        "same names",
        "no columns",
        "no rows",
        "python",
        "series",
    ],
)
def test_frames_that_are_no_table_are_refused(frame, words):
    with pytest.raises(TableError, match=words):
        table_from_frame(frame)


def test_a_list_of_a_relation_is_refused():
    with pytest.raises(TableError, match=r"Column `l` of the data frame is of type INTEGER\[\]"):
        table_from_frame(duckdb.connect().sql("select [1] as l"))


# ----------------------------------------------------------------------------------------------------
# Files out

OUT = {
    "f": np.array([1.5, NAN, 1 / 3]),
    "i": np.array([1.0, NAN, 3.0]),
    "big": np.array([2.0**60, 1e300, -5e-324]),
    "inf": np.array([np.inf, -np.inf, 0.1]),
    's"x': np.array(['a,"b', None, "é\nx"], dtype=object),
    "b": np.array([True, None, False], dtype=object),
    "bb": np.array([True, True, False]),
    "d": np.array(["2020-01-31", "NaT", "2020-02-01"], dtype="datetime64[us]"),
    "t": np.array(["2020-01-31T10:11:12", "NaT", "2020-02-01T00:00:00.5"], dtype="datetime64[us]"),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".CSV"])
def test_what_is_written_is_read_back_to_the_last_digit(tmp_path, suffix):
    write_table(tmp_path / f"out{suffix}", OUT)
    table = read_table(tmp_path / f"out{suffix}")
    assert {name: cells(values) for name, values in table.columns.items()} == {
        name: cells(values) for name, values in OUT.items()
    }
    assert len(names_in(tmp_path)) == 1


def test_csv_is_written_as_a_person_would(tmp_path):
    write_table(tmp_path / "out.csv", {name: OUT[name] for name in ("f", "i", "b", "d", "t")})
    assert (tmp_path / "out.csv").read_bytes().decode() == (
        "f,i,b,d,t\n1.5,1,true,2020-01-31,2020-01-31T10:11:12\n,,,,\n"
        "0.3333333333333333,3,false,2020-02-01,2020-02-01T00:00:00.500000\n"
    )


def test_csv_goes_to_an_open_file_alike(tmp_path):
    write_table(tmp_path / "out.csv", OUT)
    stream = io.StringIO()
    write_csv(stream, OUT)
    assert stream.getvalue() == (tmp_path / "out.csv").read_bytes().decode()


def test_parquet_is_written_with_types_and_nulls(tmp_path):
    late = np.array([None] * 5000 + ["text"], dtype=object)
    write_table(tmp_path / "out.parquet", {"late": late, "f": np.r_[np.full(5000, NAN), 1.0]})
    frame = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert frame.schema.field("late").type == pa.string()
    assert frame.column("f").null_count == 5000
    assert frame.column("late")[5000].as_py() == "text"


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"out\.xlsx ends in \.xlsx, but tables are written as \.csv or \.parquet"):
        write_table(tmp_path / "out.xlsx", OUT)
    with pytest.raises(TableError, match="one length"):
        write_table(tmp_path / "out.csv", {"a": np.zeros(2), "b": np.zeros(3)})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_folder_is_named(tmp_path, suffix):
    with pytest.raises(OutputError, match=r"cannot be written: there is no folder .*nowhere. Make it first"):
        write_table(tmp_path / "nowhere" / f"out{suffix}", OUT)
    saved(tmp_path, "text", "file")
    with pytest.raises(OutputError, match="file is not a folder"):
        write_table(tmp_path / "file" / f"out{suffix}", OUT)
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_table(tmp_path / f"folder{suffix}", OUT)


@pytest.mark.parametrize(
    ("problem", "words"),
    [(PermissionError(13, "Permission denied"), "does not allow it"), (OSError(28, "No space left"), "disk is full")],
    ids=["locked folder", "full disk"],
)
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, problem, words):
    (tmp_path / "out.csv").write_bytes(b"old")

    def refuse(*_):
        raise problem

    monkeypatch.setattr("fallline.table.write.write_csv", refuse)
    with pytest.raises(OutputError, match=words):
        write_table(tmp_path / "out.csv", OUT)
    assert (tmp_path / "out.csv").read_bytes() == b"old"
    assert names_in(tmp_path) == ["out.csv"]


def test_an_interruption_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fallline.table.write._csv_cells", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path / "out.csv", OUT)
    assert names_in(tmp_path) == []


def test_bytes_are_written_whole_with_the_mode_of_the_file_they_replace(tmp_path):
    atomic_write(tmp_path / "m", b"first")
    (tmp_path / "m").chmod(0o640)
    atomic_write(tmp_path / "m", b"second")
    assert (tmp_path / "m").read_bytes() == b"second"
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o640


def test_importing_the_module_imports_no_reader():
    readers = ("duckdb", "nanoarrow", "narwhals", "pandas")
    ours = "fallline.table.frames, fallline.table.read, fallline.table.write"
    code = f"import sys, {ours}; print([m for m in {readers} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert nanoarrow.__version__


def test_between_semicolons_a_comma_before_three_digits_is_decimal(tmp_path):
    path = tmp_path / "three.csv"
    path.write_text("age;height\n12,345;1,500\n3,250;22,125\n")
    np.testing.assert_array_equal(read_table(path).columns["height"], [1.5, 22.125])
