"""Files out: names of any length, in any letters."""

import pytest

from fallline.exceptions import OutputError
from fallline.files import atomic_write


@pytest.mark.parametrize("letter", ["a", "é", "価", "🌲"])
def test_the_longest_name_that_a_file_may_have_can_be_written(letter, tmp_path):
    name = letter * (255 // len(letter.encode()))  # file systems count bytes
    atomic_write(tmp_path / name, b"content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"content")]


def test_a_name_that_is_too_long_gets_a_sentence(tmp_path):
    with pytest.raises(OutputError, match="the name is too long"):
        atomic_write(tmp_path / ("価" * 86), b"content")
