"""Tables that need not fit in memory: joined again they are what ``read_table`` reads, and nothing is misread in silence."""

import gzip
import os
from pathlib import Path

import duckdb
import numpy as np
import pytest
from random_tables import random_table

from fallline import open_table, read_table
from fallline.exceptions import SettingsError, TableError
from fallline.table import encoded, stream
from fallline.table.columns import Columns
from fallline.table.encoded import EncodedRows, columns_of, written_down
from fallline.table.sample import drawn

REFUSED = ("ragged_ends.csv", "wide_header.csv")
FILES = sorted(path for path in (Path(__file__).parent / "files").iterdir() if path.name not in REFUSED)


def joined(table):
    """The columns of a streamed table, those parts of a column in which nothing is recorded in the type of the others."""
    parts = list(table.blocks())

    def column(cells):
        known = [each for each in cells if not (each.dtype.kind == "f" and np.isnan(each).all())]
        nothing = np.datetime64("NaT", "us") if any(each.dtype.kind == "M" for each in known) else None
        if len(known) in (0, len(cells)) and len({each.dtype for each in cells}) == 1:
            return np.concatenate(cells)
        if all(each.dtype.kind == "f" for each in known):
            return np.concatenate(cells)
        kind = "datetime64[us]" if nothing is not None else object
        own = {id(each) for each in known}
        return np.concatenate(
            [each.astype(kind) if id(each) in own else np.full(len(each), nothing, kind) for each in cells]
        )

    return {name: column([part[name] for part in parts]) for name in parts[0]}


def assert_same(found, right):
    assert list(found) == list(right)
    for name in right:
        assert found[name].dtype == right[name].dtype, name
        np.testing.assert_array_equal(found[name], right[name], err_msg=name)


def written(path, columns, separator=","):
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([separator.join(columns), *(separator.join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(stream, "_PIECE", 400)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    path = tmp_path_factory.mktemp("parquet") / "all.parquet"
    duckdb.sql(
        f"""copy (
            select i::integer as whole, i % 2 = 0 as flag, 'a' || (i % 3) as plain, null as nothing, i::decimal(9, 2) as money,
            case when i % 7 = 0 then null else i / 3.0 end as number,
            case when i % 5 = 0 then null else i % 3 = 0 end as perhaps,
            case when i % 11 = 0 then null else 'é' || (i % 4) end as word,
            case when i % 13 = 0 then null else timestamp '2020-01-01 10:00:00' + interval (i) hour end as at,
            date '1969-12-01' + (i % 90)::integer as day, time '10:00:00' + interval (i) second as clock,
            (i || '')::json as js from range(5000) t(i)
        ) to '{path}' (format parquet, row_group_size 2048)"""
    )
    return path


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_a_streamed_file_joined_again_is_what_is_read_at_once(path):
    right, table = read_table(path), open_table(path)
    assert_same(joined(table), right.columns)
    assert (table.notes, table.remarks, table.doubts) == (right.notes, right.remarks, right.doubts)
    assert (table.rows, table.reading) == (right.rows, right.reading)


def test_a_streamed_parquet_file_joined_again_is_what_is_read_at_once(parquet):
    table = open_table(parquet)
    assert table.rows == 5000
    assert_same(joined(table), read_table(parquet).columns)


def test_only_the_columns_asked_for_are_read(parquet):
    right = read_table(parquet).columns
    found = [
        np.concatenate(each)
        for each in zip(*(block.values() for block in open_table(parquet).blocks(only=["word", "whole"])), strict=True)
    ]
    assert [right["whole"].tolist(), right["word"].tolist()] == [each.tolist() for each in found]


@pytest.mark.parametrize("part", range(4))
def test_a_random_table_in_pieces_is_read_as_at_once_or_refused_or_doubted(tmp_path, monkeypatch, part):
    path, same = tmp_path / "t.csv", 0
    for seed in range(12 * part, 12 * part + 12):
        made = random_table(seed)
        path.write_bytes(made.content)
        monkeypatch.setattr(stream, "_PIECE", max(len(made.content) // 2, 400))
        try:
            right = read_table(path)
            table = open_table(path)
            found = joined(table)
        except TableError:
            continue
        if not any("--decimal" in said or "may be a total" in said for said in (*table.doubts, *table.remarks)):
            assert_same(found, right.columns)
            same += 1
    assert same > 6


def test_blocks_are_the_same_at_every_pass(parquet):
    table = open_table(parquet)
    first, second = ([(block["whole"][0], len(block["whole"])) for block in table.blocks(700)] for _ in range(2))
    assert first == second
    assert max(length for _, length in first) == 700


def test_a_gzipped_text_in_another_encoding_is_streamed(tmp_path, small_pieces):
    text = "größe;gewicht\r\n" + "".join(f"{i},5;é{i % 3}\r\n" for i in range(300))
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(text.encode("utf-16")))
    assert_same(joined(open_table(path)), read_table(path).columns)


def test_lines_within_quotation_marks_are_not_cut(tmp_path, small_pieces):
    cells = [f'"two\nlines, {i}"' for i in range(200)]
    path = written(tmp_path / "t.csv", {"text": cells, "y": range(200)})
    assert_same(joined(open_table(path)), read_table(path).columns)


def test_letters_that_turn_out_to_be_western_are_read_as_such(tmp_path, small_pieces):
    path = tmp_path / "t.csv"
    path.write_bytes(b"name,y\n" + b"".join(b"plain,%d\n" % i for i in range(200)) + "Müller,7\n".encode("cp1252") * 3)
    assert joined(open_table(path))["name"].tolist() == ["plain"] * 200 + ["Müller"] * 3


def test_a_text_that_leaves_its_encoding_is_refused(tmp_path, small_pieces):
    path = tmp_path / "t.csv"
    path.write_bytes(b"name,y\n" + "Müller,1\n".encode() * 200 + "Müller,7\n".encode("cp1252"))
    with pytest.raises(TableError, match=r"is no longer utf-8 text .*: save all of it anew as UTF-8"):
        joined(open_table(path))


# What later rows show to be otherwise


def later(tmp_path, begin, end):
    return open_table(written(tmp_path / "t.csv", {"x": [*begin, *end], "y": range(len(begin) + len(end))}))


NUMBERS = [f"{i / 4}" for i in range(200)]


def test_odd_cells_further_down_are_missing_counted_and_quoted(tmp_path, small_pieces):
    table = later(tmp_path, NUMBERS, ["broken", *NUMBERS[:99], "broken"])
    x = joined(table)["x"]
    assert np.flatnonzero(np.isnan(x)).tolist() == [200, 300]
    assert table.notes["x"] == "2 cells that could not be read so taken as missing: 'broken'"


@pytest.mark.parametrize(
    ("begin", "end", "what"),
    [
        (NUMBERS, ["1,5"] * 3, "numbers"),
        (NUMBERS, ["007"], "numbers"),
        (NUMBERS, [f"word {i}" for i in range(60)], "numbers"),
        ([f"2024-01-{1 + i % 28:02}" for i in range(200)], ["13/02/2024"], "dates"),
        ([f"{1 + i % 12:02}/{13 + i % 12}/2024" for i in range(200)], ["25/12/2024"], "dates"),
        (["true", "false"] * 100, ["yes"] * 90, "true and false"),
    ],
    ids=["decimal commas", "codes", "text", "other dates", "the day first", "other words"],
)  # fmt: skip
def test_rows_further_down_that_show_a_column_to_be_misread_are_refused(tmp_path, small_pieces, begin, end, what):
    end = [f'"{cell}"' for cell in end]
    with pytest.raises(TableError, match=f"hold {what} in `x`, but among .*--na"):
        joined(later(tmp_path, begin, end))


def test_a_mark_that_is_said_to_mean_nothing_is_not_odd(tmp_path, small_pieces):
    path = written(tmp_path / "t.csv", {"x": [*NUMBERS, *["gone"] * 200], "y": range(400)})
    assert np.isnan(joined(open_table(path, na=["gone"]))["x"]).sum() == 200


def test_counts_whose_later_values_have_eight_digits_stay_numbers(tmp_path, small_pieces):
    cells = [*range(200), *range(20240101, 20240129), *range(20240101, 20240129)] * 3
    found = joined(later(tmp_path, cells[:200], cells[200:]))["x"]
    np.testing.assert_array_equal(found, np.array(cells, float))


def test_a_column_that_is_empty_at_first_is_read_as_what_comes_later(tmp_path, small_pieces):
    table = later(tmp_path, [""] * 200, ["red", "blue"] * 100)
    for _ in range(2):
        found = np.concatenate([block["x"] for block in table.blocks()])
        assert found[200:].tolist() == ["red", "blue"] * 100


# Several files


def test_files_of_a_folder_or_a_pattern_are_one_table_in_the_order_of_their_names(tmp_path):
    for i in (2, 1, 3):
        written(tmp_path / f"part{i}.csv", {"x": [i, i + 0.5], "y": [10 * i, 10 * i + 1]})
    (tmp_path / "_done").write_text("")
    for given in (tmp_path, f"{tmp_path}/part*.csv"):
        assert joined(open_table(given))["y"].tolist() == [10, 11, 20, 21, 30, 31]


def test_parquet_files_are_read_each_by_its_own_types_and_order(tmp_path):
    duckdb.sql(f"copy (select 1 as x, 2 as y) to '{tmp_path}/a.parquet'")
    duckdb.sql(f"copy (select 3.5 as y, 4.25 as x) to '{tmp_path}/b[1].parquet'")
    found = joined(open_table(tmp_path))
    assert (found["x"].tolist(), found["y"].tolist()) == ([1.0, 4.25], [2.0, 3.5])


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"x": [1], "z": [2]}, "`y` is a column of a.csv and not of b.csv"),
        ({"y": [1], "x": [2]}, "`x` stands at another place in b.csv"),
    ],
    ids=["another column", "another order"],
)
def test_files_with_other_columns_are_refused_by_name(tmp_path, other, says):
    written(tmp_path / "a.csv", {"x": [1, 2], "y": [2, 3]})
    written(tmp_path / "b.csv", other)
    with pytest.raises(TableError, match=says.replace(".", r"\.")):
        open_table(tmp_path)


def test_a_column_of_another_kind_in_one_file_is_refused_by_name(tmp_path):
    duckdb.sql(f"copy (select 1 as x, 2 as y) to '{tmp_path}/a.parquet'")
    duckdb.sql(f"copy (select 'one' as x, 2 as y) to '{tmp_path}/b.parquet'")
    with pytest.raises(
        TableError, match=r"`x` holds numbers in a\.parquet and text in b.parquet: write that column in one way"
    ):
        open_table(tmp_path)


def test_files_of_different_kinds_are_refused(tmp_path):
    written(tmp_path / "a.csv", {"x": [1, 2], "y": [2, 3]})
    duckdb.sql(f"copy (select 1 as x, 2 as y) to '{tmp_path}/b.parquet'")
    with pytest.raises(TableError, match="different kinds: give files of one kind"):
        open_table(tmp_path)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("empty", "holds no Parquet or CSV files: name a folder"),
        ("no*.csv", "No file has a name such as .*: check the pattern"),
        ("rows.jsonl", "is JSON, which is read only where it fits in memory: write it as Parquet or CSV"),
        ("gone.csv", "There is no file"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, given, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(TableError, match=says):
        open_table(tmp_path / given)


def test_an_option_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="decimal"):
        open_table(written(tmp_path / "a.csv", {"x": [1, 2], "y": [2, 3]}), decimal=";")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_that_changes_or_vanishes_between_passes_is_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    duckdb.sql(f"copy (select i as x, 2 * i as y from range(100) t(i)) to '{path}'")
    table = open_table(path)
    joined(table)
    os.utime(path, ns=(1, 1))
    with pytest.raises(TableError, match="has changed since it was opened"):
        joined(table)
    path.unlink()
    with pytest.raises(TableError, match="is not there any more"):
        joined(table)


def test_a_damaged_parquet_file_is_refused(tmp_path, parquet):
    path = tmp_path / "cut.parquet"
    content = bytearray(parquet.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    with pytest.raises(TableError, match="damaged or cut-off Parquet"):
        joined(open_table(path))


# As numbers


@pytest.fixture
def mixed(tmp_path):
    random = np.random.default_rng(0)
    x, kind = random.normal(size=500), random.choice(["a", "b", "c"], size=500)
    y = np.where(np.arange(500) % 50 == 7, "", (x + (kind == "b")).round(6))
    return written(tmp_path / "mixed.csv", {"x": np.where(x > 1.5, "", x.round(6)), "kind": kind, "y": y})


def whole(rows):
    return [np.concatenate(each) for each in zip(*((x, y) for x, y, _ in rows.blocks()), strict=True)]


def test_columns_and_encoded_rows_are_those_of_the_table_in_memory(mixed, small_pieces):
    table, right = open_table(mixed), read_table(mixed)
    columns = columns_of(table, ["y"])
    complete = ~np.isnan(right.columns["y"])
    here = right.take(complete)
    expected = Columns.fit(here.blocks(), ["y"])
    assert [use.says for use in columns.uses] == [use.says for use in expected.uses]
    rows = EncodedRows(table, columns)
    with written_down(rows):
        assert rows.spool is not None
        for found, exact in zip(whole(rows), (columns.encode(here.columns), here.columns["y"][:, None]), strict=True):
            np.testing.assert_array_equal(found, exact)
    assert rows.spool is None


def test_rows_drawn_for_one_part_are_not_in_the_other(mixed, small_pieces):
    table = open_table(mixed)
    parts = (lambda n: ~drawn(n, 0.2, 3)), (lambda n: drawn(n, 0.2, 3))
    columns = columns_of(table, ["y"], parts[0])
    train, held = (EncodedRows(table, columns, which) for which in parts)
    direct = [whole(train), whole(held)]
    assert len(direct[0][1]) + len(direct[1][1]) == 490
    assert 60 < len(direct[1][1]) < 140
    with written_down(train, held):
        for part, right in zip((train, held), direct, strict=True):
            for found, exact in zip(whole(part), right, strict=True):
                np.testing.assert_array_equal(found, exact)


def test_what_was_written_down_is_gone_after_ctrl_c(mixed):
    rows = EncodedRows(open_table(mixed), columns_of(open_table(mixed), ["y"]))
    said, places = [], []

    def stopped():
        with written_down(rows, told=said.append):
            places.append(rows.spool)
            assert rows.spool.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    place = places[0]
    assert not place.parent.exists()
    assert said[0].startswith(f"The numbers of mixed.csv lie in {place.parent} until the end (0.0")


def test_without_room_on_the_disk_the_table_is_read_at_every_pass(mixed, monkeypatch):
    rows = EncodedRows(open_table(mixed), columns_of(open_table(mixed), ["y"]))
    monkeypatch.setattr(encoded, "_SPARE", 0.0)
    said = []
    with written_down(rows, told=said.append):
        assert rows.spool is None
        assert len(whole(rows)[1]) == 490
    assert "There is no room" in said[0]


def test_an_infinite_target_is_named_by_its_row_of_the_table(tmp_path):
    path = written(tmp_path / "t.csv", {"x": range(100), "y": [*range(90), "", *range(8), "inf"]})
    with pytest.raises(TableError, match="in row 100"):
        columns_of(open_table(path), ["y"])


def test_a_sample_is_of_the_rows_and_as_many_as_asked_for(mixed):
    rows = EncodedRows(open_table(mixed), columns_of(open_table(mixed), ["y"]))
    x, y, count = rows.sample(50)
    assert (len(x), len(y), count) == (50, 50, 490)
    all_x, all_y = whole(rows)
    assert {tuple(row) for row in np.hstack([x, y])} <= {tuple(row) for row in np.hstack([all_x, all_y])}
