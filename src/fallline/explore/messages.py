"""What goes over the websocket: a request as JSON, checked field by field, and an answer as numbers with a few words.

An answer is one binary frame: the number of its request in sixteen letters (blanks where it answers none), the length of its
head as four bytes, little-endian, the head as JSON, and the arrays that the head lists, each at a multiple of eight bytes so that
the page reads them where they lie. What is asked or answered is not known here.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fallline.exceptions import SettingsError
from fallline.words import did_you_mean

LARGEST = 1 << 16  # bytes of a request
_LONGEST_NAME, _NUMBER = 500, 16
_KINDS = {"f8": "<f8", "f4": "<f4", "i4": "<i4", "u1": "|u1"}


class Given:
    """A request: a JSON object whose fields are read by kind and bounds. What does not fit raises SettingsError."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    @classmethod
    def read(cls, text: str | bytes) -> "Given":
        """A request from what came over the socket."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise SettingsError('the message is no JSON object: send one such as {"id": 1, "do": "slope", …}.')
        return cls(fields)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(name) is not None

    def number(self, name: str, low: float, high: float) -> float:
        """A finite number from ``low`` to ``high``."""
        return self._number(name, self._fields.get(name), low, high)

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.number(name, low, high)
        if value != int(value):
            raise SettingsError(f"{name}={value:g} is not possible: a whole number from {low} to {high} is expected.")
        return int(value)

    def pair(self, name: str, largest: float) -> np.ndarray:
        """Two numbers, none larger than ``largest``: (2,)."""
        given = self._fields.get(name)
        if not isinstance(given, list) or len(given) != 2:
            raise SettingsError(f"{name} should be two numbers, such as [0.5, -1].")
        return np.array([self._number(name, each, -largest, largest) for each in given])

    def choice(self, name: str, known: Sequence[str]) -> str:
        """One of the ``known`` words."""
        value = self.text(name, _LONGEST_NAME)
        if value not in known:
            hint = did_you_mean(value, known)
            raise SettingsError(f"{name}={value!r} is not known: choose one of {', '.join(known)}{hint}")
        return value

    def choices(self, name: str, known: Sequence[str]) -> list[str]:
        """Some of the ``known`` words, each once."""
        given = self._fields.get(name)
        if not isinstance(given, list) or len(given) > len(known):
            raise SettingsError(f"{name} should be a list of some of {', '.join(known)}.")
        return [each for each in known if each in [Given({name: one}).choice(name, known) for one in given]]

    def text(self, name: str, longest: int) -> str:
        """A text of at most so many letters."""
        value = self._fields.get(name)
        if not isinstance(value, str) or len(value) > longest:
            raise SettingsError(f"{name} should be a text of at most {longest} letters.")
        return value

    def flag(self, name: str) -> bool:
        """True or false; false where it is left out."""
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise SettingsError(f"{name} should be true or false.")
        return value

    def object(self, name: str, most: int) -> dict[str, Any]:
        """An object of at most so many fields, whose values are numbers, texts or null."""
        value = self._fields.get(name)
        if not isinstance(value, dict) or len(value) > most:
            raise SettingsError(f"{name} should be an object of at most {most} fields.")
        for each in value.values():
            if not (each is None or isinstance(each, (str, int, float))):
                raise SettingsError(f"{name} should hold numbers and texts only.")
        return value

    @staticmethod
    def _number(name: str, value: Any, low: float, high: float) -> float:
        expected = f"a number from {low:g} to {high:g} is expected"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SettingsError(f"{name} is no number: {expected}.")
        # As it came: a whole number may be too large for a float.
        if not low <= value <= high:
            said = f"{value:g}" if isinstance(value, float) else "this number"
            raise SettingsError(f"{name}: {said} is not possible, {expected}.")
        return float(value)


def numbered(number: int | None, content: bytes) -> bytes:
    """A frame as the answer to the request of that number, or as news that nobody asked for."""
    return ("" if number is None else str(number)).rjust(_NUMBER).encode() + content


def frame(said: Mapping[str, Any], **arrays: Any) -> bytes:
    """An answer: what is said, as JSON allows (NaN and infinity become null), and arrays by name.

    Arrays are sent in double precision, whole numbers and float32 as they are.
    """
    listed, parts, at = {}, [], 0
    for name, array in arrays.items():
        array = np.asarray(array)
        kind = (
            "u1"
            if array.dtype.kind == "b"
            else "i4"
            if array.dtype.kind in "iu"
            else "f4"
            if array.dtype == np.float32
            else "f8"
        )
        content = np.ascontiguousarray(array, _KINDS[kind]).tobytes()
        listed[name] = [kind, list(array.shape), at]
        content += bytes(-len(content) % 8)
        parts.append(content)
        at += len(content)
    head = json.dumps(_plain({**said, "arrays": listed}), ensure_ascii=False, allow_nan=False).encode()
    head += b" " * (-(len(head) + 4) % 8)
    return b"".join([struct.pack("<I", len(head)), head, *parts])


def read_frame(content: bytes) -> tuple[int | None, dict[str, Any], dict[str, np.ndarray]]:
    """The number of the request, what the answer says, and its arrays: for whoever speaks to the server from Python."""
    number, content = content[:_NUMBER].strip(), content[_NUMBER:]
    (length,) = struct.unpack_from("<I", content)
    said = json.loads(content[4 : 4 + length])
    arrays = {}
    for name, (kind, shape, at) in said.pop("arrays").items():
        flat = np.frombuffer(content, _KINDS[kind], math.prod(shape), 4 + length + at)
        arrays[name] = flat.reshape(shape)
    return int(number) if number else None, said, arrays


def _plain(value: Any) -> Any:
    """The same as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
