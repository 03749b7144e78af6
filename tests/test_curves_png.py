"""The PNG of curves, decoded again by hand: where a line goes, its pixels have its colour."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest

from flytewheel.curves import DASHES, LIGHT, Chart, draw_chart, draw_sheet
from flytewheel.curves_png import draw_png, encode
from flytewheel.strokes import draw_text

Pixels = npt.NDArray[np.uint8]


def decode(png: bytes) -> Pixels:
    """The pixels of a PNG of our making: 8 bits, colours, no filter."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size]) == (zlib.crc32(name + body),)
        chunks[name], at = body, at + 12 + size
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 2, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    return rows[:, 1:].reshape(height, width, 3)


def colour(run: int) -> list[int]:
    return [int(LIGHT[run][at : at + 2], 16) for at in (1, 3, 5)]


def test_pixels_come_back_as_they_were() -> None:
    pixels = np.arange(5 * 3 * 3, dtype=np.uint8).reshape(5, 3, 3)
    assert (decode(encode(pixels)) == pixels).all()


def test_a_line_has_its_colour_from_corner_to_corner() -> None:
    """Steps 0..100 and losses 0..2: in the SVG from (66, 32) to (542, 188), so its middle is at (304, 110)."""
    pixels = decode(draw_png(draw_chart(Chart("loss", "step", (((0, 2), (100, 0)),)), ["a"])))
    assert pixels.shape == (460, 1120, 3)
    for x, y in ((66, 32), (304, 110), (542, 188)):
        assert pixels[2 * y, 2 * x].tolist() == colour(0)
    assert pixels[2 * 100, 2 * 250].tolist() == [255, 255, 255]
    assert pixels[2 * 188, 2 * 200].tolist() == [0x88] * 3  # the axis
    assert pixels[2 * 32, 2 * 300].tolist() == [0xE2] * 3  # the grid, at 2.0
    assert (pixels[10:40, 130:200] < 128).any()  # the title


def test_a_dashed_line_is_drawn_as_long_as_its_dashes() -> None:
    """Run 1 has dashes of 7 and gaps of 3: of a level line 7 in 10 pixels are drawn, and the round ends."""
    assert DASHES[1] == "7 3"
    line = tuple((float(step), 1.0) for step in range(0, 101))
    pixels = decode(draw_png(draw_chart(Chart("loss", "step", ((), line)), ["a", "b"])))
    assert 0.7 <= (pixels[220, 132:1084] == colour(1)).all(axis=1).mean() <= 0.9
    solid = decode(draw_png(draw_chart(Chart("loss", "step", (line,)), ["a"])))
    assert (solid[220, 132:1084] == colour(0)).all(axis=1).mean() == 1


def test_a_sheet_holds_the_legend_and_every_panel_in_its_place() -> None:
    """Two columns of 560; legend of two rows, so that panels begin at 34 + 2·20 = 74."""
    flat = Chart("left", "step", (((0, 0), (100, 2)), ()))
    other = Chart("right", "step", ((), ((0, 2), (100, 0))))
    pixels = decode(draw_png(draw_sheet("two", [[flat, flat], [other]], ["a", "b"])))
    assert pixels.shape == (2 * (74 + 2 * 230), 2 * 1120, 3)
    assert pixels[2 * 36, 2 * 33].tolist() == colour(0)
    assert pixels[2 * 56, 2 * 33].tolist() == colour(1)
    assert pixels[2 * (74 + 110), 2 * 304].tolist() == colour(0)
    assert pixels[2 * (74 + 230 + 110), 2 * 304].tolist() == colour(0)
    right = pixels[2 * 74 :, 2 * 560 :].reshape(-1, 3)
    assert (right == colour(1)).all(axis=1).any()
    assert not (right == colour(0)).all(axis=1).any()


def test_what_cannot_be_drawn_is_white_paper_with_words() -> None:
    pixels = decode(draw_png(draw_chart(Chart("loss", "step", (((0, math.nan),),)), ["a"])))
    assert (pixels[200:250, 130:400] < 128).any()
    assert pixels[300:, :].min() == 255


def test_an_element_that_no_sheet_holds_is_refused() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><{}/></svg>'
    for other in ("image", 'rect class="fw-a"'):
        with pytest.raises(ValueError, match="expected"):
            draw_png(svg.format(other))


def test_letters_stand_on_the_baseline_and_differ() -> None:
    for letter in "abcABC019%g":
        lines, width = draw_text(letter, 12)
        assert 0 <= width <= 12
        assert -12 < min(y for line in lines for _, y in line) < max(y for line in lines for _, y in line) <= 3
    assert draw_text("é", 12) == draw_text("e", 12)
    assert draw_text("漢", 12) == draw_text("語", 12) != draw_text("e", 12)
    letters = "".join(chr(code) for code in range(33, 127))
    assert len({str(draw_text(letter, 12)[0]) for letter in letters}) == len(letters)
    assert draw_text("漢", 12)[0] not in [draw_text(letter, 12)[0] for letter in letters]
    assert draw_text("", 12) == ([], 0)
