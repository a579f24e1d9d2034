"""Pictures as files: of three kinds, the same bytes each time, and never in the place of somebody else's."""

import sys

import matplotlib
import pytest

from fallline.exceptions import OutputError
from fallline.plot.picture_file import check_picture, is_picture, write_picture

BEGINS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def line(ax):
    ax.plot([0, 1], [1, 0])


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_the_suffix_says_what_is_written_and_the_same_picture_is_the_same_bytes(suffix, tmp_path):
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    write_picture(line, one)
    write_picture(line, two)
    assert one.read_bytes().startswith(BEGINS[suffix.lower()])
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("suffix", BEGINS)
def test_a_picture_of_ours_may_be_replaced_and_one_of_somebody_else_may_not(suffix, tmp_path):
    ours, theirs = tmp_path / f"ours{suffix}", tmp_path / f"theirs{suffix}"
    write_picture(line, ours)
    figure = matplotlib.figure.Figure()
    figure.add_subplot().set_title("fallline")
    figure.savefig(theirs)
    check_picture(ours)
    assert (is_picture(ours), is_picture(theirs)) == (True, False)
    with pytest.raises(OutputError, match="was not written by fallline: move it away"):
        check_picture(theirs)


@pytest.mark.parametrize("name", ["map.jpg", "map", "map.svg.gz"])
def test_another_kind_of_picture_is_refused_with_those_there_are(name, tmp_path):
    with pytest.raises(OutputError, match=r"choose a name that ends in \.png, \.svg or \.pdf"):
        check_picture(tmp_path / name)


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one_as_it_was(tmp_path):
    path = tmp_path / "map.png"
    write_picture(line, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="shape"):
        write_picture(lambda ax: ax.plot([0, 1], [1]), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_settings_of_matplotlib_neither_change_nor_matter(tmp_path):
    write_picture(line, tmp_path / "one.svg")
    with matplotlib.rc_context({"font.size": 40, "axes.facecolor": "red", "savefig.dpi": 10}):
        before = matplotlib.rcParams.copy()
        write_picture(line, tmp_path / "two.svg")
        assert matplotlib.rcParams.copy() == before
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_letters_that_the_font_lacks_are_no_trouble(tmp_path):
    write_picture(lambda ax: ax.set_xlabel("高さ"), tmp_path / "map.png")
    assert is_picture(tmp_path / "map.png")


def test_pyplot_is_not_loaded(tmp_path):
    import subprocess

    code = (
        "import sys; from pathlib import Path; from fallline.plot.picture_file import write_picture\n"
        f"write_picture(lambda ax: ax.plot([1, 2]), Path({str(tmp_path / 'a.pdf')!r}))\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
