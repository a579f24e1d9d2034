"""Messages: requests are believed in nothing, answers arrive as they were sent."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays

from fallline.exceptions import SettingsError
from fallline.explore.messages import Given, frame, numbered, read_frame

ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(ANYTHING, some.floats(-1e3, 1e3), some.floats(0, 1e3))
def test_a_number_is_within_its_bounds_or_refused(value, low, size):
    asked = Given({"x": value})
    try:
        found = asked.number("x", low, low + size)
    except SettingsError:
        assert not (type(value) in (int, float) and low <= value <= low + size)
    else:
        assert type(found) is float
        assert low <= found <= low + size


@given(ANYTHING)
def test_every_reader_refuses_in_a_sentence_or_gives_what_it_promises(value):
    asked = Given({"x": value})
    readers = [
        (lambda: asked.whole("x", 0, 9), int),
        (lambda: asked.pair("x", 5.0), np.ndarray),
        (lambda: asked.choice("x", ("a", "b")), str),
        (lambda: asked.choices("x", ("a", "b")), list),
        (lambda: asked.text("x", 9), str),
        (lambda: asked.flag("x"), bool),
        (lambda: asked.object("x", 3), dict),
    ]
    for read, kind in readers:
        try:
            found = read()
        except SettingsError as refused:
            found = refused
        assert isinstance(found, kind) or str(found).endswith(".")


@pytest.mark.parametrize(
    "text", ["", "[]", "1", '"x"', "{", "[" * 100_000, '{"id": 1e', b"\xff\xfe", '{"id": ' + "9" * 5000 + "}"]
)
def test_what_is_no_object_is_refused(text):
    with pytest.raises(SettingsError, match="no JSON object"):
        Given.read(text)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_json_calls_a_number_and_is_none_is_refused(value):
    with pytest.raises(SettingsError, match="a number from 0 to 1 is expected"):
        Given.read(f'{{"x": {value}}}').number("x", 0, 1)


@given(
    arrays(
        some.sampled_from([np.float64, np.float32, np.int32, np.bool_]),
        array_shapes(min_dims=1, max_dims=3, min_side=0),
    ),
    some.dictionaries(
        some.text(max_size=8).filter(lambda key: key != "arrays"), some.text() | some.integers(-9, 9), max_size=3
    ),
    some.none() | some.integers(0, 1 << 53),
)
def test_an_answer_arrives_as_it_was_sent(array, said, number):
    content = numbered(number, frame(said, first=array, other=np.arange(3.0)))
    of, words, found = read_frame(content)
    assert (of, words) == (number, said)
    np.testing.assert_array_equal(found["first"], array)
    np.testing.assert_array_equal(found["other"], [0.0, 1.0, 2.0])


def test_arrays_lie_where_a_browser_can_read_them():
    content = numbered(7, frame({"words": "ŷ"}, a=np.ones(3, np.float32), b=np.ones(2)))
    head = json.loads(content[20 : 20 + int.from_bytes(content[16:20], "little")])
    base = 20 + int.from_bytes(content[16:20], "little")
    assert [(base + at) % 8 for _, _, at in head["arrays"].values()] == [0, 0]


def test_what_is_not_finite_becomes_null_in_words_and_stays_in_arrays():
    _, said, found = read_frame(
        numbered(None, frame({"x": [math.nan, np.float64(np.inf), 1]}, x=np.array([np.nan, 1.0])))
    )
    assert said["x"] == [None, None, 1]
    np.testing.assert_array_equal(found["x"], [np.nan, 1.0])
