"""What a person may say of a file before it is read, where fallline would find it out by itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fallline.exceptions import SettingsError

_NAMED = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}
BLANKS = " \u00a0\u2007\u202f"
_APOSTROPHES = "'’"


@dataclass(frozen=True)
class Dialect:
    """How a text file is written; None where that is to be found in the file.

    skip: lines before the header. delimiter: what separates the fields. decimal: "." or ",". thousands: the mark between
    thousands, "" for none. na: cells that mean that nothing was recorded, besides the usual ones. date_format: how dates
    are written, such as "%d.%m.%Y". header: how many lines the header has: 0, 1, or 2 (a second line of names or units).
    """

    skip: int | None = None
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    na: Sequence[str] = ()
    date_format: str | None = None
    header: int | None = None

    def __post_init__(self) -> None:
        """Take names such as "tab" for what they stand for. Raises SettingsError, one sentence, for what cannot be."""
        self._take("delimiter", None if self.delimiter is None else _NAMED.get(self.delimiter, self.delimiter))
        marks = {"none": "", "space": " ", "apostrophe": "'", "comma": ",", "point": "."}
        self._take("thousands", None if self.thousands is None else marks.get(self.thousands, self.thousands))
        self._take("na", (self.na,) if isinstance(self.na, str) else tuple(mark.strip() for mark in self.na))
        _must(self.skip is None or (type(self.skip) is int and self.skip >= 0), "skip", self.skip, "a number of lines")
        _must(self.header in (None, 0, 1, 2), "header", self.header, "0, 1 or 2 lines")
        one = self.delimiter is None or (len(self.delimiter) == 1 and not re.match(r'[\w".\n\r]', self.delimiter))
        _must(one, "delimiter", self.delimiter, "one sign, such as ; or tab")
        _must(self.decimal in (None, ".", ","), "decimal", self.decimal, ". or ,")
        mark = self.thousands
        fits = mark is None or (len(mark) < 2 and not re.match(r'[\w"+\-\n]', mark) and mark != (self.decimal or None))
        _must(fits, "thousands", mark, "one sign other than the decimal mark, such as , or space, or none")
        if self.date_format is not None:
            said = set(re.findall("%(.)", self.date_format))
            known = said <= set("dmbByYHIMSfpzjaA%")
            whole = "d" in said and not said.isdisjoint("mbB") and not said.isdisjoint("yY")
            _must(
                known and whole, "date_format", self.date_format, "a format with day, month and year, such as %d.%m.%Y"
            )
        if self.decimal is None and self.thousands in (".", ","):
            self._take("decimal", "," if self.thousands == "." else ".")

    def _take(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def marks(self, decimal: str) -> tuple[str, ...]:
        """The marks that may stand between thousands beside this decimal mark, each as the letters that are alike."""
        if self.thousands is not None:
            return _like(self.thousands)
        return ("," if decimal == "." else ".", BLANKS, _APOSTROPHES)


def _like(mark: str) -> tuple[str, ...]:
    if not mark:
        return ()
    return next(((letters,) for letters in (BLANKS, _APOSTROPHES) if mark in letters), (mark,))


def _must(holds: bool, name: str, given: object, expected: str) -> None:
    if not holds:
        raise SettingsError(f"{name}={given!r} is not possible: {expected} was expected.")


def options(names: Sequence[str]) -> str:
    """The options of the commands by these names of a Dialect's fields: `--skip`, `--delimiter`."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
