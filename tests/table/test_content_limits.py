"""Untrusted tables: what is unpacked, held and split is bounded, and said in a sentence."""

import gzip
import time
import tracemalloc

import numpy as np
import pytest

from fallline.exceptions import TableError
from fallline.table import content
from fallline.table.read import read_table


def test_a_gzip_file_that_unpacks_to_far_more_than_a_table_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "_UNPACKED", 1 << 20)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(bytes(100 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(TableError, match=r"unpacks to more than \d+ MB, .*--unpacked MEGABYTES"):
            read_table(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * content._TIMES * path.stat().st_size
    finally:
        tracemalloc.stop()


def test_the_bound_of_what_is_unpacked_can_be_raised_and_lowered(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1000))
    assert read_table(path, unpacked_bytes=4004).rows == 1000
    with pytest.raises(TableError, match="unpacks to more than"):
        read_table(path, unpacked_bytes=4003)


LONG = "x" * 131_073


@pytest.mark.parametrize("text", [f"a,b\n1,{LONG}\n2,y\n", f'a,b\n1,"{LONG}\n"\n2,y\n', f"{LONG},b\n1,2\n2,3\n"])
def test_a_field_longer_than_any_is_gets_a_sentence(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=r"cannot be split into fields \(field larger than field limit"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ['"', '"\n', 'a,b\n"', '"a', 'a,b\n1,"'])
def test_a_quotation_mark_alone_gets_a_sentence(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=r"never closed|no rows"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("of", "few"), [(str, 400), (lambda number: ("ash", "oak")[number % 2], 150)], ids=["numbers", "texts"]
)
def test_the_time_to_read_grows_with_the_columns_and_not_with_their_square(of, few, tmp_path):
    def seconds(columns):
        path = tmp_path / f"{columns}.csv"
        rows = np.arange(3 * columns).reshape(3, columns)
        lines = map("c{}".format, range(columns)), *(map(of, row) for row in rows)
        path.write_text("".join(",".join(line) + "\n" for line in lines))
        began = time.perf_counter()
        assert len(read_table(path).columns) == columns
        return time.perf_counter() - began

    seconds(50)  # what is loaded once
    assert seconds(4 * few) < 10 * seconds(few)
