"""Small files as people have them, each beside its right reading, written by hand.

The files lie in ``files/``. Dates stand as text in ISO form, ``_`` where nothing was recorded. What must be told stands
behind the values: words of a column's note under its name, words of the sentences on the file under "".
"""

from pathlib import Path

import numpy as np
import pytest

from fallline.exceptions import TableError
from fallline.table.read import read_table

FILES = Path(__file__).parent / "files"
_ = None

RIGHT = {
    # Accounts
    "datev.csv": (
        {"Umsatz": [1190, 23.8, 12045.5, -7.14], "Konto": ["0420", "4930", "0420", "4930"],
         "Belegdatum": ["2024-01-31", "2024-02-01", "2024-02-05", "2024-02-06"],
         "Text": ["Büromöbel", "Papier", 'Regal "groß"', "Gutschrift"]},
        {"Umsatz": "thousands marks and decimal commas", "Belegdatum": "day/month/year"}),
    "releve.csv": (
        {"Date": ["2024-01-31", "2024-02-02", "2024-02-03"], "Libellé": ["Virement reçu", "Électricité", "Loyer"],
         "Montant": [1234.56, -87.1, -1100]}, {"Montant": "thousands marks and decimal commas"}),
    "postfinance.csv": (
        {"Datum": ["2024-02-01", "2024-02-02", "2024-02-15"], "Betrag in CHF": [-45.9, 2000, -120],
         "Saldo": [1234.5, 3234.5, 3114.5]}, {"Saldo": "thousands marks (1'234.5)"}),
    "gst.csv": (
        {"Invoice": ["INV-1", "INV-2", "INV-3"], "Taxable value": [1234567, 95000.5, 10800000],
         "IGST": [222222.06, 17100.09, 1944000]}, {"IGST": "`₹` left out"}),
    "ledger.csv": (
        {"Date": ["2024-01-31", "2024-02-01", "2024-02-02", "2024-02-05"], "Account": ["Cash", "Fees", "Refund", "Sales"],
         "Amount": [1234.5, -45, -1200, 99.95]}, {"Amount": "`$` left out", "Date": "month/day/year"}),
    "sap.txt": (
        {"Buchungsdatum": ["2024-01-31", "2024-02-01", "2024-02-02"], "Betrag": [-1234.56, 987.65, -12000],
         "Werk": ["0001", "0001", "0002"]}, {"Betrag": "decimal commas"}),
    "euro.csv": (
        {"Artikel": ["A-1", "A-2", "A-3"], "Preis": [1234.5, 99.95, 7], "Rabatt": [12.5, 0, 7.5]},
        {"Preis": "`€` left out", "Rabatt": "percent signs left out"}),
    "percent_thousands.csv": ({"g": [1128, 380, 86], "y": [1, 2, 3]}, {"g": "thousands marks (1,234.5), percent"}),
    "thousands_only.csv": ({"umsatz": [2387, 917, 12045], "n": [60, 81, 7]}, {"umsatz": "thousands marks"}),
    "swiss_apostrophe.csv": ({"Ort": ["Basel", "Bern", "Uri"], "Einwohner": [173863, 134794, 37317]}, {"Einwohner": "thousands"}),
    "either.csv": ({"city": ["A", "B", "C"], "people": [1234, 5678, 2345]}, {"": "--decimal ,"}),
    "decimal_tab.tsv": ({"ratio": [0.796, 0.329], "temp": [21.672, 17.814]}, {"temp": "decimal commas"}),
    "quoted_commas.csv": ({"a": [1.5, 2.5, 3.75], "b": [12.25, 0.125, 7.5], "c": [3, 4, 5]}, {"a": "decimal commas"}),
    "exponents.csv": ({"x": [1500, -2.5], "y": [2e-5, 1000]}, {"x": "decimal commas"}),
    "minus_sign.csv": ({"t": [-1.5, 0.5, 2.5], "v": [2, -3, 4]}, {"t": "decimal commas"}),
    "units_in_cells.csv": (
        {"part": ["rod", "bolt", "nut"], "weight": [5, 0.25, 0.1], "angle": [21.7, -4, 180], "speed": [3.5, 12, 0]},
        {"weight": "`kg` left out", "angle": "`°` left out", "speed": "`m/s` left out"}),
    # What stands around the rows
    "excel_sep.csv": ({"Temperatur": [21.5, 13], "Leistung": [44.2, 29.9]}, {}),
    "savetxt.txt": ({"temp": [21.5, 13], "flow": [0.3, 0.7], "power": [44.5, 29.5]}, {}),
    "savetxt_comma.csv": ({"time": [0, 0.5, 1], "level": [1.5, 1.75, _]}, {"": "begins with # was left out"}),
    "write_table.txt": (
        {"rownames": ["Mazda RX4", "Datsun 710", "Hornet 4 Drive"], "mpg": [21, 22.8, 21.4], "cyl": [6, 4, 6],
         "am": [True, True, False]}, {"": "names of rows, `rownames`"}),
    "r_row_numbers.csv": (
        {"rownames": [1, 2], "temp": [6, 8.1], "flow": [54, 57], "power": [28.4, 33.7]}, {"": "names of rows, `rownames`"}),
    "write_csv.csv": ({"column_1": ["Mazda RX4", "Datsun 710", "Valiant"], "mpg": [21, 22.8, 18.1], "disp": [160, 108, _]}, {}),
    "write_csv2.csv": ({"column_1": [1, 2, 3], "mpg": [21, 22.8, 18.1], "wt": [2.62, 2.32, _]}, {"wt": "decimal commas"}),
    "pandas_index.csv": ({"column_1": [0, 1, 2], "temp": [21.5, 13, 17.5], "power": [44, 30, 36]}, {}),
    "logger.csv": (
        {"Time": ["2024-03-01T00:00", "2024-03-01T00:10", "2024-03-01T00:20", "2024-03-01T00:30"],
         "Temp": [4.5, 4.4, 4.4, 4.1], "RH": [81, 82, _, 84]},
        {"": "The 4 lines before the header of logger.csv, the first of them 'Logger: HX-200'", "Temp": "in °C", "RH": "in %"}),
    "toa5.dat": (
        {"TIMESTAMP": ["2024-01-31T00:00", "2024-01-31T00:10", "2024-01-31T00:20", "2024-01-31T00:30"],
         "RECORD": [0, 1, 2, 3], "AirTC_Avg": [-1.25, -1.31, -1.4, -1.38], "WS_ms": [3.1, _, 2.8, 2.2]},
        {"": "The 1 line before the header", "AirTC_Avg": "in Deg C", "WS_ms": "in meters/second"}),
    "two_lines.csv": (
        {"Date": ["2024-01-30", "2024-01-31", "2024-02-01"], "Inlet temp": [21.5, 13, 17.5], "Inlet flow": [3, 7, 5],
         "Outlet temp": [44.5, 29.5, 36.5], "Outlet flow": [3, 7, 5]}, {"": "two lines, which were joined"}),
    "units_row.csv": ({"temp": [21, 13, 17], "power": [44, 30, 36]}, {"": "taken for units", "temp": "in °C", "power": "in kW"}),
    "station.csv": ({"temp": [21, 13, 17], "power": [44, 30, 36]}, {"": "The 3 lines before the header of station.csv"}),
    "comments.csv": (
        {"temp": [21, 13, 17], "power": [44, 30, 36]},
        {"": "3 lines of comments.csv that begin with # were left out"}),
    "footnotes.csv": (
        {"site": ["north", "south", "west"], "temp": [21, 13, 17], "power": [44, 30, 36]},
        {"": "The last 2 lines of footnotes.csv, 'Source: meter 4', were left out"}),
    "total.csv": (
        {"month": ["Jan", "Feb", "Mar"], "units": [12, 9, 14], "revenue": [1200.5, 910, 1390.25]},
        {"": "(Total, 35, 3500.75) holds the totals of the columns, and was left out"}),
    "average.csv": ({"run": [1, 2, 3], "Druck": [2.5, 3.5, 4.5], "Temp": [20, 30, 40]}, {"": "(Mittelwert, 3,5, 30)"}),
    "summe_de.csv": (
        {"Filiale": ["Berlin", "Bonn", "Ulm"], "Umsatz": [12500, 7500, 5000], "Anteil": [50, 30, 20]},
        {"": "(Summe, 25.000,00, 100 %)"}),
    "total_and_source.csv": (
        {"day": [1, 2, 3], "temp": [21, 13, 17], "power": [44, 30, 36]},
        {"": "The last line of total_and_source.csv, 'Source: meter 4', was left out"}),
    "trailing_separators.csv": ({"a": [1, 3], "b": [2, 4], "column_3": [_, _]}, {}),
    "blank_lines.csv": ({"temp": [21, 13, 17], "power": [44, 30, 36]}, {}),
    "blank_before_quote.csv": (
        {"Temp": [21.5, 13], "Flow, dry": [0.3, 0.7], "Power": [44.5, 29.5], "Press": [935, 961]}, {}),
    "iris.data": (
        {"column_1": [5.1, 4.9, 7, 6.3], "column_2": [3.5, 3, 3.2, 3.3], "column_3": [1.4, 1.4, 4.7, 6],
         "column_4": [0.2, 0.2, 1.4, 2.5], "column_5": ["Iris-setosa", "Iris-setosa", "Iris-versicolor", "Iris-virginica"]},
        {"column_1": "no header line"}),
    "years_across.csv": (
        {"country": ["A", "B"], "2019": [1.5, 4.5], "2020": [2.5, 5.5], "2021": [3.5, 6.5]}, {}),
    "same_names.csv": ({"temp": [1, 4], "temp_2": [2, 5], "power": [3, 6]}, {"temp_2": "a second column named `temp`"}),
    "aligned.txt": ({"year": [2019, 2020, 2021], "temp": [21.5, -3.25, 17], "rain": [310, 28, 1002]}, {}),
    "pipe.txt": (
        {"id": ["001", "002", "003"], "name": ["red; blue", "green, grey", "none"], "amount": [1234.5, 99, 12.25]},
        {"amount": "thousands marks"}),
    # Dates, clocks and spans
    "monate.csv": (
        {"Tag": ["2024-03-03", "2024-05-17", "2024-10-01", "2024-12-24"], "Wert": [1.5, 2.5, 3.5, 4.5]},
        {"Tag": "month names"}),
    "mois.csv": (
        {"jour": ["2024-01-03", "2024-07-14", "2024-08-01", "2024-12-25"], "valeur": [1.5, 2.5, 3.5, 4.5]},
        {"jour": "month names"}),
    "meses.csv": ({"fecha": ["2024-01-03", "2024-08-14", "2024-12-25"], "valor": [1.5, 2.5, 3.5]}, {"fecha": "month names"}),
    "us_months.csv": ({"day": ["2024-01-05", "2024-05-17", "2023-12-31"], "n": [10, 20, 30]}, {"day": "month names"}),
    "oracle.csv": ({"SHIPPED": ["2024-01-05", "2024-02-17", "2023-12-31"], "QTY": [10, 20, 30]}, {"SHIPPED": "month names"}),
    "month_year.csv": ({"month": ["2024-01-01", "2024-02-01", "2024-12-01"], "v": [1, 2, 3]}, {"month": "month names"}),
    "year_month.csv": ({"month": ["2024-01-01", "2024-02-01", "2024-12-01"], "v": [1, 2, 3]}, {"month": "year-month"}),
    "eight_digits.csv": ({"day": ["2024-01-29", "2024-01-30", "2024-02-01"], "pm10": [31, 28, 44]}, {"day": "eight digits"}),
    "fourteen_digits.csv": (
        {"stamp": ["2024-01-29T07:30", "2024-01-29T07:45", "2024-01-29T08:00"], "v": [1, 2, 3]}, {"stamp": "digits"}),
    "one_zone.csv": (
        {"at": ["2024-03-01T07:30", "2024-03-01T08:30", "2024-03-02T07:30"], "v": [1, 2, 3]}, {"at": "times of UTC+01:00"}),
    "summer_and_winter.csv": (
        {"at": ["2024-03-30T07:30", "2024-03-31T07:30", "2024-04-01T07:30"], "v": [1, 2, 3]}, {"at": "times of the place"}),
    "many_zones.csv": (
        {"at": ["2024-03-01T06:30", "2024-03-01T12:30", "2024-03-01T07:30"], "v": [1, 2, 3]}, {"at": "in UTC"}),
    "us_clock.csv": (
        {"at": ["2024-01-05T14:30", "2024-01-31T11:05", "2024-02-01T00:15"], "n": [1, 2, 3]},
        {"at": "month/day/year"}),
    "clock.csv": (
        {"start": ["1970-01-01T07:30", "1970-01-01T14:05", "1970-01-01T23:59"],
         "half": ["1970-01-01T07:30", "1970-01-01T14:05", "1970-01-01T00:00"], "n": [1, 2, 3]}, {"start": "times of day"}),
    "elapsed.csv": (
        {"run": [1, 2, 3], "elapsed": [94500, 5430, 45.5], "split": [4530.5, 3660, 125.25]},
        {"elapsed": "as seconds", "split": "minutes:seconds"}),
    "iso_durations.csv": ({"job": ["a", "b", "c"], "took": [5400, 45, 93600]}, {"took": "as seconds"}),
    "monthly.csv": (
        {"m": [f"{year}-{month:02}-01" for year in (2018, 2019) for month in range(1, 13)], "y": [1] * 24},
        {"m": "the order of the rows does"}),
    "newest_first.csv": (
        {"d": ["2023-11-09", "2023-11-02", "2023-10-05", "2023-09-12"], "y": [3, 2, 1, 0]},
        {"": "--date-format %d/%m/%Y"}),
    "either_date.csv": ({"day": ["2024-02-01", "2024-04-03", "2024-03-02"], "n": [1, 5, 2]}, {"": "--date-format %m/%d/%Y"}),
    # Cells that hold no value, or an odd one
    "marks.csv": ({"a": [1, _, _, 4, _], "b": [_, 2.5, 3.5, _, 5.5], "c": ["x", "y", _, "z", _]}, {}),
    "spss.csv": ({"id": [1, 2, 3, 4, 5], "score": [0.5, _, -0.25, _, 1.75], "group": ["a", "b", "a", "b", "a"]}, {}),
    "excel_errors.csv": ({"ratio": [0.5, _, 0.25, _], "n": [1, 0, 4, 3]}, {}),
    "odd_cell.csv": (
        {"n": [*range(1, 31)], "lead": [_ if i == 7 else 1.5 + i / 4 for i in range(1, 31)]},
        {"lead": "1 cell that could not be read so taken as missing: '<0.5'"}),
    "odd_dash.csv": (
        {"temp": [_ if i == 11 else (7 * i % 41 + 60) / 4 for i in range(40)], "y": [*range(40)]}, {"temp": "missing: '—'"}),
    "sentinel.csv": (
        {"hour": [*range(24)], "ozone": [-999 if h in (3, 9) else 31 + h % 7 for h in range(24)],
         "no2": [12.5 + h % 5 for h in range(24)]}, {"": "--na -999"}),
    "yes_no.csv": ({"who": ["a", "b", "c"], "ok": ["yes", "no", "yes"], "wahr": ["WAHR", "FALSCH", "WAHR"]}, {}),
    # Letters
    "quotes.csv": (
        {"name": ["Smith, John", "Doe, Jane", "Lee"], "remark": ['said "no"', "two\nlines", _], "size": [1.5, 2.5, 3.5]}, {}),
    "excel_unicode.txt": ({"Ort": ["Zürich", "Malmö", "Łódź"], "Höhe": [408, 12, 188], "Fläche": [87.9, 76.8, 293.3]}, {}),
    "utf16le.csv": ({"naam": ["Één", "Twee"], "waarde": [1.5, 2.5]}, {}),
    "latin1.csv": ({"ville": ["Paris", "Besançon"], "température": [21.5, 19]}, {}),
    "bom.csv": ({"id": [1, 2], "Größe": [1.5, 2.5]}, {}),
}  # fmt: skip


def as_array(values):
    """Values as ``read_table`` gives them: dates where a text is one."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return np.array([np.nan if value is None else value for value in values], float)
    if kinds == {bool}:
        return np.array(values)
    if all(value is None or value[:2] in ("19", "20") for value in values):
        return np.array(values, "datetime64[us]")
    return np.array(values, object)


@pytest.mark.parametrize("name", RIGHT)
def test_a_file_is_read_as_a_person_reads_it(name):
    columns, said = RIGHT[name]
    table = read_table(FILES / name)
    assert list(table.columns) == list(columns)
    for column, values in columns.items():
        right = as_array(values)
        assert table.columns[column].dtype == right.dtype, column
        np.testing.assert_array_equal(table.columns[column], right, err_msg=column)
    told = {**table.notes, "": " ".join((*table.remarks, *table.doubts))}
    assert {column: word for column, word in said.items() if word not in told.get(column, "")} == {}


def test_every_file_has_its_reading():
    assert {path.name for path in FILES.iterdir()} == {*RIGHT, *REFUSED, *DOUBTFUL}


REFUSED = {
    "wide_header.csv": "The header of wide_header.csv has 4 fields",
    "ragged_ends.csv": "Line 2 of ragged_ends.csv has 3 fields, but 4 are expected",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_one_table_gets_a_sentence_with_options(name):
    with pytest.raises(TableError, match=f"{REFUSED[name]}.*--skip N.*--delimiter"):
        read_table(FILES / name)


DOUBTFUL = {
    "no_header.csv": (
        "--header 0",
        {"header": 0},
        {"column_1": [1.5, 2.5, 3.5], "column_2": [2, 3, 4], "column_3": ["x9", "y7", "z8"]},
    )
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubt_names_the_option_that_reads_it_right(name):
    said, asked, columns = DOUBTFUL[name]
    assert said in " ".join(read_table(FILES / name).doubts)
    table = read_table(FILES / name, **asked)
    assert not table.doubts
    for column, values in columns.items():
        np.testing.assert_array_equal(table.columns[column], as_array(values))
