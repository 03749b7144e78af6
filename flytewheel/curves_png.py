"""The sheet of curves as PNG, for where an SVG cannot be shown: chats, slides, mails.

It is drawn from the SVG itself (`curves.draw_sheet`), which uses a handful of elements: thus there is one layout and
no plotting library. Every stroke, letters included, covers a pixel
by its distance from it: edges are smooth, and a spike stays one pixel wide.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from flytewheel.curves import DASHES, LIGHT, Point
from flytewheel.strokes import draw_text

SCALE = 2  # pixels of the picture for one of the SVG: sharp on today's screens
_FONT_SIZE, _STROKE, _BOLD, _THIN, _CURVE = 12.0, 1.0, 1.45, 1.0, 1.8
_TEXT, _GRID, _AXIS, _PAPER = "#222222", "#e2e2e2", "#888888", "#ffffff"
_SILENT = ("style", "title", "desc")


def draw_png(svg: str, *, scale: int = SCALE) -> bytes:
    """Draws a sheet of curves.

    Args:
        svg: from `curves.draw_sheet` or `curves.draw_chart`.
        scale: pixels for one of the SVG's.

    Raises:
        ValueError: the SVG holds an element that these never do.
    """
    root = ElementTree.fromstring(svg)
    canvas = _Canvas(float(root.attrib["width"]), float(root.attrib["height"]), scale)
    _draw(canvas, root, (0.0, 0.0))
    return encode(canvas.pixels)


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG (ISO/IEC 15948) of `pixels`, red, green and blue of shape `(height, width, 3)`."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + width * 3), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = pixels.reshape(height, -1)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class _Canvas:
    """White paper of `width` by `height`, in the SVG's pixels, each drawn as `scale` by `scale`."""

    def __init__(self, width: float, height: float, scale: int) -> None:
        self.pixels = np.full((math.ceil(height * scale), math.ceil(width * scale), 3), 255, np.uint8)
        self._scale = scale

    def stroke(self, lines: Sequence[Sequence[Point]], width: float, colour: str) -> None:
        """Draws lines with round ends; where they cross one another, they are not darker."""
        half = width * self._scale / 2
        pairs = [pair for line in lines for pair in pairwise([*line, *line] if len(line) == 1 else line)]
        ends = np.asarray(pairs, np.float64).reshape(-1, 2, 2) * self._scale
        if not len(ends):
            return
        low, high = self._clip(ends.min(axis=(0, 1)) - half - 1, ends.max(axis=(0, 1)) + half + 1)
        cover = np.zeros((high[1] - low[1], high[0] - low[0]), np.float32)
        for (x0, y0), (x1, y1) in ends:
            (left, top), (right, bottom) = self._clip(
                np.minimum((x0, y0), (x1, y1)) - half - 1, np.maximum((x0, y0), (x1, y1)) + half + 1
            )
            x = np.arange(left, right)[None, :] + 0.5 - x0
            y = np.arange(top, bottom)[:, None] + 0.5 - y0
            across, down = x1 - x0, y1 - y0
            along = np.clip((x * across + y * down) / max(across * across + down * down, 1e-9), 0, 1)
            near = np.clip(half + 0.5 - np.hypot(x - along * across, y - along * down), 0, 1)
            part = cover[top - low[1] : bottom - low[1], left - low[0] : right - low[0]]
            np.maximum(part, near, out=part)
        under = self.pixels[low[1] : high[1], low[0] : high[0]]
        ink = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], np.float32)
        under[:] = np.rint(under + (ink - under) * cover[:, :, None]).astype(np.uint8)

    def _clip(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> tuple[list[int], list[int]]:
        most = (self.pixels.shape[1], self.pixels.shape[0])
        return (
            [min(max(math.floor(value), 0), limit) for value, limit in zip(low, most, strict=True)],
            [min(max(math.ceil(value), 0), limit) for value, limit in zip(high, most, strict=True)],
        )


def _draw(canvas: _Canvas, parent: ElementTree.Element, origin: Point) -> None:
    for element in parent:
        tag, classes = element.tag.rpartition("}")[2], element.get("class", "").split()
        if tag == "g":
            x, y = _numbers(element.attrib["transform"].removeprefix("translate(").removesuffix(")"))
            _draw(canvas, element, (origin[0] + x, origin[1] + y))
        elif tag == "text":
            _draw_words(canvas, element, classes, origin)
        elif tag == "path":
            left, top, right = _numbers(element.attrib["d"].removeprefix("M").replace("H", " "))
            _draw_line(canvas, [_move((left, top), origin), _move((right, top), origin)], classes)
        elif tag == "polyline":
            points = [_move((x, y), origin) for x, y in (_numbers(pair) for pair in element.attrib["points"].split())]
            _draw_line(canvas, points, classes)
        elif tag == "circle":
            centre = _move((float(element.attrib["cx"]), float(element.attrib["cy"])), origin)
            canvas.stroke([[centre]], 2 * float(element.attrib["r"]), LIGHT[_number_of(classes, "fw-d")])
        elif tag == "rect" and classes != ["fw-p"]:
            raise ValueError(f"expected the paper as the only rectangle, found one of class {classes}")
        elif tag not in (*_SILENT, "rect"):
            raise ValueError(f"expected a sheet of curves, found an element {tag!r}")


def _draw_words(canvas: _Canvas, element: ElementTree.Element, classes: list[str], origin: Point) -> None:
    lines, width = draw_text(element.text or "", _FONT_SIZE)
    aside = width if "fw-n" in classes else width / 2 if "fw-m" in classes else 0.0
    left, top = _move((float(element.attrib["x"]) - aside, float(element.attrib["y"])), origin)
    moved = [[_move(point, (left, top)) for point in line] for line in lines]
    canvas.stroke(moved, _BOLD if "fw-h" in classes else _STROKE, _TEXT)


def _draw_line(canvas: _Canvas, points: list[Point], classes: list[str]) -> None:
    if "fw-l" in classes:
        number = _number_of(classes, "fw-l")
        dashes = [float(length) for length in DASHES[number].split()]
        canvas.stroke(list(_dash(points, dashes)) if dashes else [points], _CURVE, LIGHT[number])
    else:
        canvas.stroke([points], _THIN, _GRID if "fw-g" in classes else _AXIS)


def _dash(points: Sequence[Point], lengths: Sequence[float]) -> Iterator[list[Point]]:
    """Cuts a line into its drawn stretches: `lengths` are drawn and left out in turn, around the corners too."""
    number, left = 0, lengths[0]
    drawn = [points[0]]
    for start, end in pairwise(points):
        long, done = math.dist(start, end), 0.0
        while long - done > left:
            done += left
            corner = (start[0] + (end[0] - start[0]) * done / long, start[1] + (end[1] - start[1]) * done / long)
            if number % 2 == 0:
                yield [*drawn, corner]
            drawn, number = [corner], number + 1
            left = lengths[number % len(lengths)]
        left -= long - done
        drawn.append(end)
    if number % 2 == 0:
        yield drawn


def _move(point: Point, origin: Point) -> Point:
    return point[0] + origin[0], point[1] + origin[1]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.replace(",", " ").split()]


def _number_of(classes: Sequence[str], prefix: str) -> int:
    """The run's number out of its class, as `fw-l2`."""
    return next(int(name.removeprefix(prefix)) for name in classes if name.removeprefix(prefix).isdigit())
