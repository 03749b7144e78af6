"""A real browser looks at the page: every part is seen, nothing overflows, nothing runs.

`pytest --write-screenshots` writes docs/evaluation-report.png anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flytewheel.evaluation_page.page import write_page
from tests.browser import open_browser
from tests.evaluation_page.made import answer, subject
from tests.evaluation_page.test_page import ORDER, hostile_subject

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "evaluation-report.png"
WIDTHS = (390, 768, 1280)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


class Opened:
    """A page that was opened, and what the browser complained of."""

    def __init__(self, browser: Any, path: Path, width: int, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.address = path.as_uri()

    def overflow(self) -> int:
        """Pixels that the page is wider than its window, with everything unfolded."""
        self.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_part_is_seen_and_nothing_overflows(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    opened = Opened(browser, write_page(subject(), tmp_path), width, color_scheme=scheme)
    page = opened.page
    for name in ORDER[1:]:
        assert page.locator(f"#{name}").is_visible(), name
    assert page.locator(".stamp").inner_text() == "✖ Reject"
    box = page.locator(".stamp").bounding_box()
    assert box["y"] + box["height"] < 900  # without scrolling
    assert opened.overflow() == 0
    assert page.locator("svg.iv").count() == 8
    assert page.locator("svg.iv").first.bounding_box()["width"] > 150
    assert (opened.complaints, opened.asked) == ([], [opened.address])
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_texts_run_nothing_ask_for_nothing_and_fit(browser: Any, tmp_path: Path, width: int) -> None:
    opened = Opened(browser, write_page(hostile_subject(), tmp_path), width)
    page = opened.page
    assert opened.overflow() == 0
    page.wait_for_function("document.readyState === 'complete'")
    assert page.evaluate("window.hit") is None
    assert page.locator("script, img, iframe, link, [onerror]").count() == 0
    assert (opened.complaints, opened.asked) == ([], [opened.address])
    page.close()


def test_long_words_and_right_to_left_texts_fit_a_phone(browser: Any, tmp_path: Path) -> None:
    lines = [
        answer("arabic", "أعد تشغيل الخادم ثم أبلغ الفريق.", "أعد تشغيل الموجه.", "أعد تشغيل الخادم.", topic="خادم"),
        answer("chinese", "重启数据库服务。" * 400, "重启缓存服务。" * 400, "重启数据库服务。", topic="数据库"),
        answer("word", "x" * 10_000, "y" * 10_000, "x" * 9_000, topic="t" * 300),
        answer("code", "```\n" + "a b   c\t" * 900 + "\n```", "", "none"),
    ]
    opened = Opened(browser, write_page(subject(answers=lines), tmp_path), 390)
    page = opened.page
    assert opened.overflow() == 0
    arabic = page.locator(".pair", has_text="arabic").locator(".side .said").first
    assert arabic.evaluate("each => getComputedStyle(each).direction") == "rtl"
    assert page.locator(".pair", has_text="word").locator("details").count() >= 1
    page.close()


def test_it_is_read_without_colour(browser: Any, tmp_path: Path) -> None:
    """Underlines differ in kind, and every standing has its word."""
    opened = Opened(browser, write_page(subject(), tmp_path), 1280)
    style = "each => getComputedStyle(each).textDecorationStyle"
    assert opened.page.locator(".side ins").first.evaluate(style) == "solid"
    assert opened.page.locator(".side del").first.evaluate(style) == "dashed"
    chips = set(opened.page.locator(".figures .chip").all_inner_texts())
    assert chips == {"▲ better", "▼ worse", "= no difference shown", "≠ differs"}
    opened.page.close()


def test_on_paper_it_is_dark_on_white_also_where_the_screen_is_dark(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, write_page(subject(), tmp_path), 1000, color_scheme="dark")
    opened.page.emulate_media(media="print", color_scheme="dark")
    look = opened.page.locator("main").evaluate(
        "each => [getComputedStyle(each).color, getComputedStyle(each).backgroundColor]"
    )
    assert look == ["rgb(27, 35, 46)", "rgb(255, 255, 255)"]
    assert not opened.page.locator("nav").is_visible()
    opened.page.close()


def test_the_picture_of_the_docs(browser: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    target = PICTURE if request.config.getoption("--write-screenshots") else tmp_path / PICTURE.name
    opened = Opened(browser, write_page(subject(), tmp_path), 1200)
    bottom = opened.page.locator(".pair").nth(1).bounding_box()
    clip = {"x": 0, "y": 0, "width": 1200, "height": bottom["y"] + bottom["height"] + 16}
    opened.page.screenshot(path=target, full_page=True, clip=clip)
    assert target.read_bytes().startswith(b"\x89PNG")
    opened.page.close()
