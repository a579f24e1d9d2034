"""``fallline predict``: what stands beside the rows, and a sentence where it cannot."""

import datetime
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from trees import QUICK, run, table

from fallline.model_file import load_model
from fallline.table.read import read_table


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predictions_stand_beside_the_rows(folder, suffix):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    done = run("predict", "trees-height.fallline", path, "-o", f"out.{suffix}")
    assert done.exit_code == 0, done.output
    out, rows = read_table(folder / f"out.{suffix}"), read_table(path)
    saved = load_model(folder / "trees-height.fallline")
    assert list(out.columns) == ["age", "kind", "height", "predicted height"]
    expected = saved.fitted.predict(saved.columns.encode(rows.columns))[:, 0]
    np.testing.assert_allclose(out.columns["predicted height"], expected, rtol=1e-12)
    assert "height: RMSE" in done.stderr


def test_the_ends_of_intervals_stand_beside_the_predictions(folder):
    path = table(folder, 200)
    done = run("fit", path, "-t", "height", *QUICK)
    assert re.search(r"The 95 % intervals hold (\d+\.\d) % of the 40 held-out rows\.", done.stdout)
    done = run("predict", "trees-height.fallline", path, "-o", "out.csv", "--interval", "0.9", "--std")
    assert done.exit_code == 0, done.output
    out, saved = read_table(folder / "out.csv"), load_model(folder / "trees-height.fallline")
    assert list(out.columns)[3:] == ["predicted height", "std height", "lower height", "upper height"]
    x = saved.columns.encode(read_table(path).columns)
    low, high = saved.intervals.interval(x, 0.9)[:, 0].T
    np.testing.assert_allclose(out.columns["lower height"], low, rtol=1e-12)
    np.testing.assert_allclose(out.columns["upper height"], high, rtol=1e-12)
    np.testing.assert_allclose(out.columns["std height"], saved.intervals.std(x)[:, 0], rtol=1e-12)
    inside = np.mean((low <= out.columns["height"]) & (out.columns["height"] <= high))
    assert f"; {100 * inside:.1f} % of them lie in their 90 % interval" in done.stderr
    assert 0.82 < inside < 0.97


def test_a_model_without_intervals_says_how_to_get_them(folder):
    path = table(folder)
    done = run("fit", path, "-t", "height", *QUICK, "--no-intervals")
    assert "intervals" not in done.stdout
    done = run("predict", "trees-height.fallline", path, "--interval", "0.95")
    assert done.exit_code == 1
    assert "fit again, without --no-intervals" in done.stderr


def test_predictions_without_an_output_go_to_stdout(folder):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    path.write_text("kind;age\noak;3,5\nbirch;\n", encoding="utf-8")  # a new category, a missing cell, no target
    done = run("predict", "trees-height.fallline", path)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "kind;age;predicted height"
    assert [line.rpartition(";")[0] for line in lines[1:]] == ["oak;3,5", "birch;"]
    assert all("," in line.rpartition(";")[2] for line in lines[1:])  # as the file writes its decimals


def test_a_missing_column_is_named_at_predict(folder):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    path.write_text("age;height\n3;4\n5;6\n")
    done = run("predict", "trees-height.fallline", path)
    assert done.exit_code == 1
    assert "kind" in done.stderr


def test_predict_ignores_columns_the_model_does_not_use(folder):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    (folder / "more.csv").write_text("note,kind,age,predicted height\nhello,oak,3.5,8\n")
    done = run("predict", "trees-height.fallline", "more.csv")
    assert done.exit_code == 0, done.output
    header, row = done.stdout.splitlines()
    assert header == "note,kind,age,predicted height,predicted height_2"
    assert row.startswith("hello,oak,3.5,8,")


UNPREDICTABLE = {
    "an infinity": (b"age;kind\n1;ash\ninf;oak\n", "`age` is infinite in row 2"),
    "another type": (b"age;kind\nold;ash\nyoung;oak\n", "`age`"),
    "header only": (b"age;kind\n", "no rows"),
    "empty": (b"", "empty"),
}


@pytest.mark.parametrize(("content", "word"), UNPREDICTABLE.values(), ids=UNPREDICTABLE)
def test_a_table_that_cannot_be_predicted_gets_a_sentence(folder, content, word):
    run("fit", table(folder), "-t", "height", *QUICK, "-q")
    (folder / "bad.csv").write_bytes(content)
    done = run("predict", "trees-height.fallline", "bad.csv", "-o", "out.csv")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert word in done.stderr
    assert not (folder / "out.csv").exists()


def test_predictions_do_not_replace_the_table(folder):
    path = table(folder)
    before = path.read_bytes()
    run("fit", path, "-t", "height", *QUICK, "-q")
    done = run("predict", "trees-height.fallline", path, "-o", "./trees.csv")
    assert done.exit_code == 1
    assert "is the table itself, which stays as it is: give another file to --output" in done.stderr
    assert path.read_bytes() == before


def test_a_class_that_a_spreadsheet_would_run_is_written_as_text_and_the_users_columns_as_they_are(folder):
    rows = [f"{at % 20},{'=1+1' if at % 20 > 9 else '@sum'},=2+2" for at in range(60)]
    (folder / "t.csv").write_text("\n".join(["x,y,note", *rows]) + "\n")
    run("fit", "t.csv", "-t", "y", *QUICK, "-q")
    done = run("predict", "t-y.fallline", "t.csv")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()[1:]
    assert [line.rsplit(",", 3)[0] for line in lines] == rows
    assert {line.split(",")[3] for line in lines} == {"'=1+1", "'@sum"}


# ----------------------------------------------------------------------------------------------------
# The user's other columns come back byte for byte

P = ("0.5", "0.25", "0.75")
BESIDE = {
    "ids and times": (
        "order,when,p\n100000000000000017,07:30,0.5\n100000000000000019,23:05,0.25\n007,00:00,0.75\n",
        "order,when,p", ["100000000000000017,07:30,0.5", "100000000000000019,23:05,0.25", "007,00:00,0.75"]),
    "zones and dates": (
        "at,day,p\n2024-03-01T07:30:00+01:00,31.01.24,0.5\n2024-07-01T07:30:00+02:00,01.02.24,0.25\n",
        "at,day,p", ["2024-03-01T07:30:00+01:00,31.01.24,0.5", "2024-07-01T07:30:00+02:00,01.02.24,0.25"]),
    "quotes": (
        'who,"p",note\n"Smith, John",0.5,"said ""no"""\nLee,"0.25",""\n',
        'who,"p",note', ['"Smith, John",0.5,"said ""no"""', 'Lee,"0.25",""']),
    "quoted line ends": ('p,note\n0.5,"one\n\ntwo"\n0.25,three\n', "p,note", ['0.5,"one\n\ntwo"', "0.25,three"]),
    "semicolons and decimal commas": (
        "p;Betrag;k\n0,5;1.234,50 €;-7,10\n0,25;12.000,00 €;\n", "p;Betrag;k", ["0,5;1.234,50 €;-7,10", "0,25;12.000,00 €;"]),
    "blank fields": ("a,p,b\n,0.5,\n , 0.25 ,NA\n", "a,p,b", [",0.5,", " , 0.25 ,NA"]),
    "trailing separators": ("p;n;\n0.5;1;\n0.25;2;\n", "p;n;", ["0.5;1;", "0.25;2;"]),
    "separators that end the rows alone": ('p;n\n0.5;"1";\n0.25;2;\n', "p;n", ['0.5;"1"', "0.25;2"]),
    "ends left out": ("p;n;m\n0.5;1;\n0.25;2\n", "p;n;m", ["0.5;1;", "0.25;2;"]),
    "lines above": ("Station 12\nlogger 4\n\nid,p,k\n01,0.5,x\n02,0.25,y\n", "id,p,k", ["01,0.5,x", "02,0.25,y"]),
    "units below the header": (
        "id,p,q\n,m,°C\n1,0.5,20\n2,0.25,21\n3,0.75,22\n", "id,p,q", ["1,0.5,20", "2,0.25,21", "3,0.75,22"]),
    "comments": ("# made by hand\nid,p\n01,0.5\n# again\n02,0.25\n", "id,p", ["01,0.5", "02,0.25"]),
    "totals and remarks": (
        "day,p,n\n1,0.5,10\n2,0.25,20\n3,0.75,30\nTotal,1.5,60\nSource: meter 4\n",
        "day,p,n", ["1,0.5,10", "2,0.25,20", "3,0.75,30"]),
    "row names": ('"p","n"\n"a",0.5,1\n"b",0.25,2\n', "rownames,p,n", ['"a",0.5,1', '"b",0.25,2']),
    "tabs": ("id\tp\n1e5\t0.50\n0x1F\t.25\n", "id\tp", ["1e5\t0.50", "0x1F\t.25"]),
    "line ends of Windows, Latin-1": (
        "Größe;p\r\nklein;0,5\r\nmäßig;0,25\r\n".encode("cp1252"), "Größe;p", ["klein;0,5", "mäßig;0,25"]),
    "UTF-16": ("Größe\tp\r\nklein\t0,5\r\n".encode("utf-16"), "Größe\tp", ["klein\t0,5"]),
}  # fmt: skip


@pytest.fixture
def of_p(folder):
    """A model of y = 2 p, fitted on a file with decimal points."""
    random = np.random.default_rng(0)
    rows = "".join(f"{p:.4f},{2 * p:.4f}\n" for p in random.uniform(size=40))
    (folder / "fit.csv").write_text(f"p,y\n{rows}", encoding="utf-8")
    assert run("fit", "fit.csv", "-t", "y", *QUICK, "--no-intervals", "-q").exit_code == 0
    return folder


@pytest.mark.parametrize("case", BESIDE)
def test_other_columns_come_back_letter_by_letter(of_p, case):
    text, header, rows = BESIDE[case]
    (of_p / "new.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run("predict", "fit-y.fallline", "new.csv", "-o", "out.csv")
    assert done.exit_code == 0, done.output
    out = (of_p / "out.csv").read_bytes().decode("utf-8")
    saved = load_model(of_p / "fit-y.fallline")
    told = [str(number) for number in saved.fitted.predict(np.array([[float(p)] for p in P[: len(rows)]]))[:, 0]]
    sign = next(sign for sign in ";\t," if sign in header)
    comma = sign != "," and "," in rows[0]
    found, *lines = _records_of(out, rows)
    assert found == f"{header}{sign}predicted y"
    for line, row, number in zip(lines, rows, told, strict=True):
        assert line.startswith(f"{row}{sign}")
        given = line.removeprefix(f"{row}{sign}")
        assert float(given.replace(",", ".") if comma else given) == pytest.approx(float(number), rel=1e-12)


def _records_of(out, rows):
    """The lines of a text that ends each with a line end, where as many of a row as it has itself are one."""
    lines = out.split("\n")
    assert lines.pop() == ""
    records = [lines.pop(0)]
    for row in rows:
        many = row.count("\n") + 1
        records.append("\n".join(lines[:many]))
        del lines[:many]
    assert not lines
    return records


def test_a_file_without_a_header_gets_one_of_places(folder):
    (folder / "fit.csv").write_text("".join(f"0{i},{i / 40},{i / 20}\n" for i in range(10, 40)), encoding="utf-8")
    assert run("fit", "fit.csv", "-t", "column_3", *QUICK, "--no-intervals", "-q").exit_code == 0
    (folder / "new.csv").write_text("010,0.5,1\n011,0.25,0.5\n", encoding="utf-8")
    done = run("predict", "fit-column_3.fallline", "new.csv", "--header", "0")
    first, *rows = done.stdout.splitlines()
    assert first == "column_1,column_2,column_3,predicted column_3"
    assert [row.rpartition(",")[0] for row in rows] == ["010,0.5,1", "011,0.25,0.5"]


def test_json_becomes_text_with_its_cells_as_they_are(of_p):
    (of_p / "new.jsonl").write_text(
        '{"id":100000000000000017,"p":0.5,"s":"a, b"}\n{"id":2,"p":0.25,"s":null}\n', encoding="utf-8"
    )
    lines = run("predict", "fit-y.fallline", "new.jsonl").stdout.splitlines()
    assert lines[0] == "id,p,s,predicted y"
    assert [line.rpartition(",")[0] for line in lines[1:]] == ['100000000000000017,0.5,"a, b"', "2,0.25,"]


@pytest.fixture
def parquet(of_p):
    frame = pa.table({
        "id": pa.array([100000000000000017, 100000000000000019], pa.int64()),
        "p": [0.5, 0.25],
        "at": pa.array([datetime.time(7, 30), datetime.time(23, 5)], pa.time64("us")),
        "day": [datetime.date(2024, 1, 31), None],
        "s": ["a, b", 'say "no"'],
    })  # fmt: skip
    pyarrow.parquet.write_table(frame, of_p / "new.parquet")
    return of_p / "new.parquet"


def test_parquet_becomes_text_without_a_digit_lost(parquet):
    done = run("predict", "fit-y.fallline", parquet)
    lines = done.stdout.splitlines()
    assert lines[0] == "id,p,at,day,s,predicted y"
    assert [line.rpartition(",")[0] for line in lines[1:]] == [
        '100000000000000017,0.5,07:30:00,2024-01-31,"a, b"', '100000000000000019,0.25,23:05:00,,"say ""no"""',
    ]  # fmt: skip


def test_parquet_stays_parquet_without_a_digit_lost(parquet):
    assert run("predict", "fit-y.fallline", parquet, "-o", "out.parquet").exit_code == 0
    out = pyarrow.parquet.read_table(parquet.parent / "out.parquet")
    assert [str(cell) for cell in out.column("id").to_pylist()] == ["100000000000000017", "100000000000000019"]
    assert out.column("p").to_pylist() == [0.5, 0.25]
    assert out.column("s").to_pylist() == ["a, b", 'say "no"']
    assert [str(cell) for cell in out.column("day").to_pylist()] == ["2024-01-31 00:00:00", "None"]
    assert out.column("predicted y").to_pylist() == pytest.approx([1.0, 0.5], abs=0.1)


def test_zip_codes_that_lost_their_zeros_are_matched_and_numbers_read_as_in_the_fit(folder):
    zips = {"02139": 5, "10001": -3, "94105": 8, "07030": 2}
    drawn = np.random.default_rng(1).choice(list(zips), 60)
    (folder / "fit.csv").write_text("zip,y\n" + "".join(f"{z},{zips[z]}\n" for z in drawn), encoding="utf-8")
    assert run("fit", "fit.csv", "-t", "y", *QUICK, "--no-intervals", "-q", "--alpha", "1e-6").exit_code == 0
    out = []
    for text in ("zip\n02139\n07030\n10001\n", "zip\n2139\n7030\n10001\n"):
        (folder / "new.csv").write_text(text, encoding="utf-8")
        out.append([line.split(",")[1] for line in run("predict", "fit-y.fallline", "new.csv").stdout.splitlines()])
    assert out[0] == out[1]
    assert len(set(out[0])) == 4  # the header and three different predictions
