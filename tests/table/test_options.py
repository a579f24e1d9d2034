"""What a person may say of a file, what a later file takes over from the fit's, and tables inside other files."""

import datetime
import sqlite3

import duckdb
import numpy as np
import openpyxl
import pytest

from fallline.exceptions import SettingsError, TableError
from fallline.table.read import read_table


def written(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def cells(values):
    return [None if value is None or value != value else value for value in values.tolist()]


# ----------------------------------------------------------------------------------------------------
# Options, each against what would be read without it

NAN = None
ASKED = {
    "skip": ("made,by,hand\n1,2,3\na,b,c\n4,5,6\n7,8,9\n", {"skip": 2}, {"a": [4, 7], "b": [5, 8], "c": [6, 9]}),
    "delimiter": ("a;b,c\n1;2,5\n3;4,5\n", {"delimiter": ","}, {"a;b": ["1;2", "3;4"], "c": [5, 5]}),
    "delimiter by name": ("a,b\tc\n1,2\t3\n4,5\t6\n", {"delimiter": "comma"}, {"a": [1, 4], "b\tc": ["2\t3", "5\t6"]}),
    "a rare delimiter": ("a:b\n1:2.5\n3:4.5\n", {"delimiter": ":"}, {"a": [1, 3], "b": [2.5, 4.5]}),
    "decimal comma": ('a,b\n"1,234",1\n"5,678",2\n', {"decimal": ","}, {"a": [1.234, 5.678], "b": [1, 2]}),
    "decimal point": ("a;b\n1,234;1\n5,678;2\n", {"decimal": "."}, {"a": [1234, 5678], "b": [1, 2]}),
    "thousands": ("a;b\n1.234;1\n5.678;2\n", {"thousands": "."}, {"a": [1234, 5678], "b": [1, 2]}),
    "no thousands": ("a;b\n1.234;1\n5.678;2\n", {"thousands": "none", "decimal": "."}, {"a": [1.234, 5.678], "b": [1, 2]}),
    "na": ("a,b\n1,x\n-999,y\n3,unknown\n", {"na": ["-999", "unknown"]}, {"a": [1, NAN, 3], "b": ["x", "y", NAN]}),
    "na as a number is written": ("a,b\n1,x\n-999.00,y\n3,z\n", {"na": "-999"}, {"a": [1, NAN, 3], "b": ["x", "y", "z"]}),
    "date format": (
        "d,y\n01/02/2024,1\n03/02/2024,2\n", {"date_format": "%m/%d/%Y"},
        {"d": [datetime.datetime(2024, 1, 2), datetime.datetime(2024, 3, 2)], "y": [1, 2]},
    ),
    "an unusual date format": (
        "d,y\n2024_05_17,1\n2024_12_01,2\n", {"date_format": "%Y_%m_%d"},
        {"d": [datetime.datetime(2024, 5, 17), datetime.datetime(2024, 12, 1)], "y": [1, 2]},
    ),
    "no header": ("a,b\nc,d\n", {"header": 0}, {"column_1": ["a", "c"], "column_2": ["b", "d"]}),
    "one line of header": (
        "a,b\n°C,kW\n1,2\n3,4\n", {"header": 1, "na": ["°C", "kW"]}, {"a": [NAN, 1, 3], "b": [NAN, 2, 4]}),
    "two lines of header": ("inlet,outlet\ntemperature,flow rate\n1,2\n3,4\n", {"header": 2},
                            {"inlet temperature": [1, 3], "outlet flow rate": [2, 4]}),
}  # fmt: skip


@pytest.mark.parametrize("case", ASKED)
def test_an_option_decides(tmp_path, case):
    text, asked, right = ASKED[case]
    path = written(tmp_path, text)
    table = read_table(path, **asked)
    assert {name: cells(values) for name, values in table.columns.items()} == right
    assert table.doubts == ()
    with_none = read_table(path)
    assert {name: cells(values) for name, values in with_none.columns.items()} != right or with_none.doubts


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"skip": -1}, "skip=-1 .* a number of lines"),
        ({"skip": 1.5}, "skip=1.5"),
        ({"delimiter": "ab"}, "delimiter='ab' .* one sign"),
        ({"delimiter": "1"}, "delimiter='1'"),
        ({"decimal": ";"}, "decimal=';' .* expected"),
        ({"thousands": "--"}, "thousands='--'"),
        ({"thousands": ",", "decimal": ","}, "thousands=',' .* other than the decimal mark"),
        ({"header": 3}, "header=3 .* 0, 1 or 2"),
        ({"date_format": "%d.%m"}, r"date_format='%d.%m' .* such as %d.%m.%Y"),
        ({"date_format": "%Q%d%m%Y"}, "date_format"),
    ],
)
def test_an_option_that_cannot_be_gets_a_sentence(tmp_path, asked, words):
    with pytest.raises(SettingsError, match=words):
        read_table(written(tmp_path, "a,b\n1,2\n"), **asked)


# ----------------------------------------------------------------------------------------------------
# Read as the fit's file was


def as_first(tmp_path, first, later, **asked):
    fitted = read_table(written(tmp_path, first, "fit.csv"), **asked)
    return read_table(written(tmp_path, later, "later.csv"), like=fitted.reading)


def test_a_point_before_three_digits_is_what_it_was_in_the_fit(tmp_path):
    table = as_first(tmp_path, "sales;y\n12.345,67;1\n9.825,50;2\n", "sales;k\n12.500;1\n9.825;2\n")
    assert table.columns["sales"].tolist() == [12500, 9825]
    assert table.doubts == ()


def test_a_comma_before_three_digits_is_what_it_was_in_the_fit(tmp_path):
    first = "a,b\n" + '"1,234.5",1\n"2,000.25",2\n'
    assert as_first(tmp_path, first, 'a,b\n"1,234",1\n"2,500",2\n').columns["a"].tolist() == [1234, 2500]


def test_day_and_month_come_as_in_the_fit(tmp_path):
    later = "d,y\n03/04/2024,1\n05/04/2024,2\n"
    us = as_first(tmp_path, "d,y\n01/31/2024,1\n02/01/2024,2\n", later)
    eu = as_first(tmp_path, "d,y\n31/01/2024,1\n01/02/2024,2\n", later)
    assert us.columns["d"].astype(str).tolist()[0].startswith("2024-03-04")
    assert eu.columns["d"].astype(str).tolist()[0].startswith("2024-04-03")


def test_a_zone_stays_that_of_the_fit(tmp_path):
    first = "at,y\n2024-03-01T07:30:00+01:00,1\n2024-03-02T07:30:00+01:00,2\n"
    table = as_first(tmp_path, first, "at,y\n2024-07-01T05:30:00Z,1\n2024-07-02T07:30:00+02:00,2\n")
    assert table.columns["at"].astype("datetime64[m]").astype(str).tolist() == ["2024-07-01T06:30", "2024-07-02T06:30"]


def test_text_of_the_fit_stays_text(tmp_path):
    table = as_first(tmp_path, "zip,y\n02139,1\n10001,2\n", "zip,y\n10001,1\n94105,2\n")
    assert table.columns["zip"].tolist() == ["10001", "94105"]


def test_percent_and_units_of_the_fit_are_left_out_again(tmp_path):
    first = 'share,mass,y\n"1,128%",5 kg,1\n"3.5%",7 kg,2\n'
    table = as_first(tmp_path, first, 'share,mass,y\n"1,250%",6 kg,1\n')
    assert (table.columns["share"].tolist(), table.columns["mass"].tolist()) == ([1250], [6])


def test_what_was_asked_for_the_fit_holds_for_a_later_file(tmp_path):
    first = "report,,\na,b,c\n1,-99,3\n4,5,6\n"
    fitted = as_first(tmp_path, first, "report,,\na,b,c\n-99,2,3\n1,1,1\n", skip=1, na=["-99"])
    assert cells(fitted.columns["a"]) == [None, 1]
    plain = as_first(tmp_path, first, "a,b,c\n-99,2,3\n1,1,1\n", skip=1, na=["-99"])
    assert cells(plain.columns["a"]) == [None, 1]


HOSTILE = (
    [], "x", 7, {"dialect": 3}, {"columns": [1]}, {"dialect": {"decimal": "x"}}, {"dialect": {"skip": "1; drop"}},
    {"dialect": {"delimiter": "\n"}}, {"dialect": {"na": {"a": 1}}}, {"dialect": {"unknown": 1}},
    {"columns": {"a": {"as": "number", "decimal": ".", "before": "'; drop table cells; --", "after": "(("}}},
    {"columns": {"a": {"as": "number", "decimal": ".", "after": "x" * 10_000}}},
    {"columns": {"a": {"as": "number", "decimal": 7}}}, {"columns": {"a": {"as": "date", "form": "zone", "zone": "0) --"}}},
    {"columns": {"a": {"as": "date", "format": "%d'); drop table cells; --"}}}, {"columns": {"a": {"as": ["text"]}}},
    {"columns": {"a": {"as": "date", "order": ["day first"]}}}, {"columns": {"a": {"as": "date", "format": "%"}}},
)  # fmt: skip


@pytest.mark.parametrize("like", HOSTILE, ids=[str(i) for i in range(len(HOSTILE))])
def test_a_reading_that_is_none_changes_nothing(tmp_path, like):
    path = written(tmp_path, "a,b\n1.5,x\n2.5,y\n")
    table = read_table(path, like=like)
    assert (table.columns["a"].tolist(), table.columns["b"].tolist()) == ([1.5, 2.5], ["x", "y"])


# ----------------------------------------------------------------------------------------------------
# Sheets


@pytest.fixture
def book(tmp_path):
    made = openpyxl.Workbook()
    made.active.title = "Notes"
    made.active.append(["not", "this"])
    made.active.append([1, 2])
    sheet = made.create_sheet("Data")
    sheet.append(["day", "at", "clock", "took", "ok", "n", "big", "code", "text"])
    for day in (1, 2, 3):
        sheet.append([
            datetime.date(2024, 1, 30 + day - 2), datetime.datetime(2024, 2, day, 7, 30), datetime.time(14, 5, day),
            datetime.timedelta(hours=25 + day), day == 2, None if day == 2 else day + 0.25, 1_000_000 + day, f"00{day}",
            'a "quoted"\ntext, and more',
        ])  # fmt: skip
    made.create_sheet("Empty")
    path = tmp_path / "book.xlsx"
    made.save(path)
    return path


def test_a_named_sheet_is_read_with_its_types(book):
    table = read_table(f"{book}?sheet=Data")
    columns = table.columns
    assert columns["day"].astype("datetime64[D]").astype(str).tolist() == ["2024-01-29", "2024-01-30", "2024-01-31"]
    assert columns["at"].astype("datetime64[m]").astype(str).tolist()[2] == "2024-02-03T07:30"
    assert columns["clock"].astype(str).tolist()[1] == "1970-01-01T14:05:02.000000"
    assert columns["took"].tolist() == [26 * 3600, 27 * 3600, 28 * 3600]
    assert columns["ok"].tolist() == [False, True, False]
    assert cells(columns["n"]) == [1.25, None, 3.25]
    assert columns["big"].tolist() == [1_000_001, 1_000_002, 1_000_003]
    assert columns["code"].tolist() == ["001", "002", "003"]
    assert columns["text"].tolist()[0] == 'a "quoted"\ntext, and more'
    assert table.doubts == ()


def test_the_first_sheet_is_read_unless_one_is_named(book):
    assert list(read_table(book).columns) == ["not", "this"]


def test_cells_above_and_beside_a_table_in_a_sheet_are_no_rows(tmp_path):
    made = openpyxl.Workbook()
    for row in (
        [None],
        [None, "Report of March"],
        [None],
        [None, "temp", "power"],
        [None, 21.5, 44],
        [None, 13, 30],
        [None, 17, 36],
    ):
        made.active.append(row)
    made.save(tmp_path / "report.xlsx")
    table = read_table(tmp_path / "report.xlsx")
    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "temp": [21.5, 13, 17],
        "power": [44, 30, 36],
    }


def test_a_decimal_with_three_places_in_a_sheet_is_no_thousand(tmp_path):
    made = openpyxl.Workbook()
    for row in (["a", "b"], [1.234, 5], [5.678, 6]):
        made.active.append(row)
    made.save(tmp_path / "three.xlsx")
    table = read_table(tmp_path / "three.xlsx")
    assert (table.columns["a"].tolist(), table.doubts) == ([1.234, 5.678], ())


@pytest.mark.parametrize(
    ("part", "words"),
    [("?sheet=Dta", "has no sheet 'Dta'. Did you mean 'Data'"), ("?sheet=zzz", "It has 'Notes', 'Data' and 'Empty'"),
     ("?sheet=Empty", "sheet 'Empty' of book.xlsx is empty")],
)  # fmt: skip
def test_a_sheet_that_cannot_be_read_gets_a_sentence(book, part, words):
    with pytest.raises(TableError, match=words):
        read_table(f"{book}{part}")


def test_a_damaged_book_gets_a_sentence(book):
    book.write_bytes(book.read_bytes()[:2000])
    with pytest.raises(TableError, match=r"book.xlsx is a damaged spreadsheet .* save the sheet as CSV"):
        read_table(book)


# ----------------------------------------------------------------------------------------------------
# Databases


@pytest.fixture
def lite(tmp_path):
    path = tmp_path / "lab.db"
    with sqlite3.connect(path) as base:
        base.execute("create table runs (id integer, temp real, site text, day text)")
        rows = [(1, 21.125, "a, b", "2024-01-30"), (2, None, "c", "2024-01-31"), (3, 1.234, None, "2024-02-01")]
        base.executemany("insert into runs values (?, ?, ?, ?)", rows)
        base.execute('create view "hot ""days""" as select * from runs where temp > 20')
    base.close()
    return path


@pytest.mark.parametrize("address", ["sqlite:{}?table=runs", "{}?table=runs"])
def test_a_table_of_sqlite_is_read(lite, address):
    columns = read_table(address.format(lite)).columns
    assert cells(columns["temp"]) == [21.125, None, 1.234]
    assert columns["site"].tolist() == ["a, b", "c", None]
    assert columns["day"].astype("datetime64[D]").astype(str).tolist() == ["2024-01-30", "2024-01-31", "2024-02-01"]


def test_a_view_with_quotes_in_its_name_is_read(lite):
    assert read_table(f'{lite}?table=hot "days"').columns["id"].tolist() == [1]


def test_of_several_tables_one_is_to_be_named(lite):
    with pytest.raises(TableError, match=r"has 2 tables, .*'runs': name one of them"):
        read_table(lite)
    with pytest.raises(TableError, match=r"has no table 'run'\. Did you mean 'runs'"):
        read_table(f"{lite}?table=run")


def test_a_table_of_duckdb_is_read_with_its_types(tmp_path):
    path = tmp_path / "lab.duckdb"
    with duckdb.connect(str(path)) as base:
        base.execute("create table runs as select 1.5::double as temp, date '2024-01-30' as day, 'x' as site, "
                     "interval 90 second as took, 100000000000000017::bigint as id")  # fmt: skip
    for address in (path, f"{path}?table=runs", f"duckdb:{path}?table=runs"):
        table = read_table(address)
        assert (table.columns["temp"].tolist(), table.columns["took"].tolist()) == ([1.5], [90])
        assert table.columns["day"] == np.datetime64("2024-01-30")
    assert "100000000000000017" in next(iter(table.text.lines()))


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_what_is_no_database_gets_a_sentence(tmp_path, kind):
    path = written(tmp_path, "a,b\n1,2\n", "text.db")
    with pytest.raises(TableError, match=r"text\.db cannot be read as a"):
        read_table(f"{kind}:{path}?table=runs")


def test_a_text_file_has_no_parts(tmp_path):
    path = written(tmp_path, "a,b\n1,2\n")
    with pytest.raises(TableError, match="has no part 'runs': give the file alone"):
        read_table(f"{path}?table=runs")
