"""What a notebook shows of a result: its numbers in a few lines, a curve or a map drawn without any library for pictures.

HTML with inline SVG and no script, in colours that suit light and dark. What is shown belongs to whoever asks.
"""

import base64
import html
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_BOX = (
    "display: flex; flex-wrap: wrap; gap: 0.6em 1.6em; align-items: flex-start; font: 0.93em/1.45 system-ui, sans-serif"
)
_CELL = "text-align: left; padding: 0; vertical-align: top"
_NAME = f"{_CELL}; font-weight: 400; opacity: 0.7; padding-right: 1em; white-space: nowrap"
_INKS = ("#d95f0e", "#3d8fd1", "#1aa37a", "#a457a0")
# The heights of a map, from the floor of a valley up, as of every other map of an error.
_GROUND = bytes.fromhex("fdfdf9f0f3f3e3e8ecd0d9dfbac7d1a1b1be8699aa6b809353687b3c506429394a17222f")
_HEIGHTS = len(_GROUND) // 3
_MOST_POINTS = 400
_PNG = b"\x89PNG\r\n\x1a\n"


def shown(title: str, facts: Mapping[str, Any], *pictures: str) -> str:
    """A title, a line for each fact (what is None or "" is left out), and pictures beside them."""
    lines = "".join(
        f'<tr><th style="{_NAME}">{html.escape(name)}</th><td style="{_CELL}">{html.escape(str(said))}</td></tr>'
        for name, said in facts.items()
        if said not in (None, "")
    )
    table = f'<table style="border: 0; margin: 0; border-collapse: collapse"><tbody>{lines}</tbody></table>'
    words = f'<div style="max-width: 34em"><div style="font-weight: 600">{html.escape(title)}</div>{table}</div>'
    return f'<div class="fallline" style="{_BOX}">{words}{"".join(pictures)}</div>'


def curves(of: Mapping[str, Any], steps: Any, name: str) -> str:
    """Curves (m,) by name over ``steps`` (m,), on a logarithmic scale where all is positive."""
    steps = np.asarray(steps, np.float64)
    few = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _MOST_POINTS)).astype(int))
    kept = {key: np.asarray(values, np.float64)[few] for key, values in of.items()}
    finite = np.concatenate([values[np.isfinite(values)] for values in kept.values()])
    if not finite.size:
        return ""
    logarithmic = bool((finite > 0).all())
    low, high = (float(end) for end in (finite.min(), finite.max()))
    at = math.log10 if logarithmic else float
    reach = (at(high) - at(low)) or 1.0
    width, height = 300, 130
    first, span = float(steps[few][0]), float(np.ptp(steps[few])) or 1.0
    drawn = []
    for (key, values), ink in zip(kept.items(), _INKS * len(kept), strict=False):
        points = " ".join(
            f"{4 + (width - 8) * (step - first) / span:.1f},{height - 6 - (height - 12) * (at(value) - at(low)) / reach:.1f}"
            for step, value in zip(steps[few], values, strict=True)
            if np.isfinite(value)
        )
        title = f"<title>{html.escape(key)}</title>"
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.8">{title}</polyline>')
    scale = ", logarithmic" if logarithmic else ""
    said = f"{name} over {steps[-1]:,.0f} steps, {low:.4g} to {high:.4g}{scale}"
    keys = " ".join(
        f'<span style="color: {ink}">■</span> {html.escape(key)}'
        for key, ink in zip(kept, _INKS * len(kept), strict=False)
    )
    return _figure(
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">{"".join(drawn)}</svg>',
        said,
        keys,
    )


def ground(
    values: np.ndarray,
    levels: np.ndarray,
    ways: Sequence[np.ndarray],
    dots: Sequence[tuple[Any, bool]],
    extent: Sequence[float],
    said: str,
) -> str:
    """A map of values (b, a), the lowest row first, in bands between ``levels``; ways (k, 2) and dots ((2,), hollow) on it.

    ``extent``: first low, first high, second low, second high.
    """
    count = len(levels) - 1
    bands = np.clip(np.searchsorted(levels[1:-1], values), 0, count - 1) * (_HEIGHTS - 1) // max(count - 1, 1)
    width = 260
    height = 260
    left, right, bottom, top = extent

    def place(point: Any) -> tuple[float, float]:
        x, y = (point[0] - left) / (right - left), (point[1] - bottom) / (top - bottom)
        return float(np.clip(width * x, -1e4, 1e4)), float(np.clip(height * (1 - y), -1e4, 1e4))

    drawn = [
        f'<image href="{_png(bands[::-1].astype(np.uint8))}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    ]
    for way, ink in zip(ways, _INKS * (len(ways) + 1), strict=False):
        few = np.unique(np.linspace(0, len(way) - 1, min(len(way), _MOST_POINTS)).astype(int))
        points = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in np.nan_to_num(way[few]))
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="white" stroke-opacity="0.8" stroke-width="3.6"/>'
        )
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.8"/>')
    for point, hollow in dots:
        x, y = place(point)
        fill = 'fill="white" stroke="black"' if hollow else 'fill="black" stroke="white"'
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {fill} stroke-width="1.2"/>')
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" style="border: 1px solid #8888; overflow: hidden"'
    return _figure(f'<svg {box} role="img">{"".join(drawn)}</svg>', said)


def _figure(svg: str, said: str, keys: str = "") -> str:
    """A picture that says what it shows, under it and to a screen reader."""
    svg = svg.replace('role="img">', f'role="img" aria-label="{html.escape(said)}">', 1)
    caption = f'<figcaption style="opacity: 0.7; font-size: 0.9em; max-width: 300px">{html.escape(said)}</figcaption>'
    return f'<figure style="margin: 0">{svg}<div style="font-size: 0.9em">{keys}</div>{caption}</figure>'


def _png(indices: np.ndarray) -> str:
    """Numbers of heights (b, a) as a picture of one pixel each, its address holding all of it."""
    height, width = indices.shape
    raw = b"".join(b"\x00" + row.tobytes() for row in indices)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"PLTE", _GROUND), chunk(b"IDAT", zlib.compress(raw, 9)), chunk(b"IEND", b"")]
    content = base64.b64encode(_PNG + b"".join(parts)).decode()
    return f"data:image/png;base64,{content}"
