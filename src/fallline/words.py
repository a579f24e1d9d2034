"""Numbers, counts, lists and names as a person reads them: one way for the terminal, the report, pictures and messages.

Text only. What the numbers mean, and what a sentence says of them, belongs to whoever writes it.
"""

import difflib
import math
from collections.abc import Iterable

UNDEFINED = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def minus(text: str) -> str:
    """A number in letters, with signs as long as a plus: "−1.5 to −1"."""
    return text.replace("-", "−")


def written(value: float | None, digits: int = 4) -> str:
    """A number in a sentence or a table: "12,346", "0.01235", "1.235e-07"; "–" for None and what is not finite."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    if value < 0:
        return f"−{written(-value, digits)}"
    if value == 0:
        return "0"
    scientific = f"{value:.{digits - 1}e}"
    exponent = int(scientific.partition("e")[2])
    return f"{value:,.{max(digits - 1 - exponent, 0)}f}" if -4 <= exponent < 7 else scientific


def written_share(value: float | None) -> str:
    """An R²: three decimals, "0.912", "−1.300"; "–" for None and what is not finite."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return minus(f"{value:.3f}") if abs(value) < 1000 else written(value)


def percent(share: float, digits: int = 2) -> str:
    """A share that never rounds to nothing, nor to the whole: "31 %", "0.004 %", "99.98 %"."""
    if share >= 1 - 1e-6:
        return f"{100 * share:.0f} %"
    if share >= 0.99:
        digits = max(digits, 2 + math.ceil(-math.log10(1 - share)))
    return f"{100 * share:.{digits}g} %"


def label(value: float, digits: int = 3) -> str:
    """A number on an axis: "0.02", "−300", or "2·10⁻⁷" where zeros would have to be counted."""
    if value < 0:
        return f"−{label(-value, digits)}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = f"{value:.{digits - 1}e}"
    mantissa, _, exponent = rounded.partition("e")
    power = int(exponent)
    if -4 < power < 4 or (0 < power < 7 and digits > power):
        shown = f"{float(rounded):{',' if power >= 4 else ''}.{max(digits - 1 - power, 0)}f}"
        return _without_zeros(shown)
    times = _without_zeros(mantissa)
    return power_of_ten(power) if times == "1" else f"{times}·{power_of_ten(power)}"


def _without_zeros(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def power_of_ten(exponent: int) -> str:
    """10⁻⁷"""
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"


def counted(n: float, one: str, many: str = "") -> str:
    """A number of things: "1 row", "1,030 rows", "2 minima"."""
    return f"{n:,.0f} {one if n == 1 else many or f'{one}s'}"


def listed(names: Iterable[object], most: int | None = None) -> str:
    """Names in a row: "a", "a and b", "a, b and c"; beyond the ``most`` first ones "a, b and 7 more"."""
    named = [str(name) for name in names]
    if most is not None and len(named) > most:
        named = [*named[:most], f"{len(named) - most:,} more"]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def nearest(asked: object, known: Iterable[str]) -> str | None:
    """The known name that is most like the one asked for, capital letters aside; None where none is near."""
    lower = {name.lower(): name for name in reversed(list(known))}
    near = difflib.get_close_matches(str(asked).lower(), lower, n=1)
    return lower[near[0]] if near else None


def did_you_mean(asked: object, known: Iterable[str]) -> str:
    """How a sentence ends that refuses a name: "; did you mean 'tanh'?", or "." where no known name is near."""
    near = nearest(asked, known)
    return "." if near is None else f"; did you mean {near!r}?"


def shortened(name: str, letters: int = 28) -> str:
    """A name that fits an axis: its first letters, "compressive stren…"."""
    return name if len(name) <= letters else f"{name[: letters - 1].rstrip()}…"


def free_name(name: str, taken: Iterable[str]) -> str:
    """The name, with a number after it where it is taken: "x", "x_2", "x_3"."""
    taken, new, number = set(taken), name, 1
    while new in taken:
        number += 1
        new = f"{name}_{number}"
    return new
