"""The review page in a real browser, from a real router: by keyboard, with hostile answers, on a phone.

`--write-screenshots` writes the pictures in docs/ anew; they are always taken, and must show something.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sklearn.metrics import cohen_kappa_score

from flytewheel.review.close import close_review
from flytewheel.review.labels import read_labels
from flytewheel.review.store import Review, list_duels
from router.receipts import sign_reviewer
from tests.browser import open_browser
from tests.review.duels import make_line, put_up
from tests.router.live import ADMIN_KEY, ASSIGNMENT_KEY, LiveRouter
from tests.router.oncall_pairs import make_lines
from tests.router.pictures import take

NAMES = ("candidate", "champion", "ours", "theirs", "oncall-run", "flytewheel-model", "user-")

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture
def put(router: LiveRouter) -> Callable[..., Review]:
    def make(**options: Any) -> Review:
        options = {"name": "flytewheel-model", **options}
        return put_up(router.database_url, f"oncall-run-{uuid.uuid4().hex}", **options)

    return make


@pytest.fixture
def visit(browser: Any, router: LiveRouter) -> Iterator[Open]:
    """Opens a review as a reviewer, in a profile of their own; whatever the page complains of fails the test."""
    contexts, faults = [], []

    def make(review: Review | None, reviewer: str = "Ada", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("dialog", lambda box: faults.append(f"a dialog: {box.message}"))
        path = "/ui/review"
        if review is not None:
            token = sign_reviewer(ASSIGNMENT_KEY.encode(), review.review_id, reviewer)
            path += f"/{review.review_id}#reviewer={quote(reviewer)}&token={token}"
        page.goto(router.url + path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []


def expect(page: Any, place: str, text: str) -> None:
    from playwright.sync_api import expect as hope

    hope(page.locator(place)).to_contain_text(text, timeout=20_000)


def press(page: Any, key: str, *, labelled: int) -> None:
    """One key, and what it leads to: so many answers of one's own."""
    page.keyboard.press(key)
    expect(page, "#count", f"· {labelled} by you")


def read(page: Any, place: str) -> str:
    return str(page.locator(place).evaluate("place => place.textContent"))


def test_two_reviewers_by_keyboard_and_how_far_they_agree(
    visit: Open, put: Callable[..., Review], router: LiveRouter, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    review = put(lines=make_lines(20), shared=0.5, salt="the salt of the pictures")
    duels = {duel.duel_id: duel for duel in list_duels(router.database_url, review.review_id)}
    ada, bob = visit(review, "Ada Lovelace"), visit(review, "Bob")
    expect(ada, "#agreement", "cannot tell yet")

    for page, careful in ((ada, 20), (bob, 8)):
        for number in range(1, 21):
            expect(page, "#count", f"· {number - 1} by you")
            best = "1" if "`" in read(page, "#left") else "2" if "`" in read(page, "#right") else "0"
            press(page, best if number <= careful else "ArrowDown", labelled=number)
            if page.locator("#duel").is_hidden():
                break
    expect(ada, "#end-title", "All answered")

    said = {(label.duel_id, label.reviewer): label for label in read_labels(router.database_url, review.review_id)}
    both = [
        (said[name, "Ada Lovelace"].preferred, said[name, "Bob"].preferred)
        for name in duels
        if {(name, "Ada Lovelace"), (name, "Bob")} <= said.keys()
    ]
    assert len(both) >= review.common == 10
    kappa = cohen_kappa_score(*zip(*both, strict=True))
    bob.reload()
    expect(bob, "#agreement", f"κ {kappa:.2f} [")
    expect(bob, "#agreement", f"{len(both)} shared")
    for (name, reviewer), label in said.items():  # what was pressed on a side is what was preferred
        good = "ours" if "`" in duels[name].ours else "theirs" if "`" in duels[name].theirs else "tie"
        if reviewer == "Ada Lovelace":
            assert label.preferred == good

    write = request.config.getoption("--write-screenshots")
    left = len([name for name, reviewer in said if reviewer == "Bob"])
    while "blobstore" not in read(bob, "#question") or bob.locator("#duel").is_hidden():
        left -= 1
        press(bob, "u", labelled=left)
    take(bob, tmp_path / "review.png", "review.png" if write else None)
    bob.emulate_media(color_scheme="dark")
    take(bob, tmp_path / "dark.png", "review-dark.png" if write else None)


def test_reload_keeps_the_place_and_undo_goes_back(visit: Open, put: Callable[..., Review]) -> None:
    page = visit(put(count=8, shared=0))
    expect(page, "#count", "0 of 8 answered · 0 by you")
    first = (read(page, "#question"), read(page, "#left"), read(page, "#right"))
    page.reload()
    expect(page, "#count", "· 0 by you")
    assert (read(page, "#question"), read(page, "#left"), read(page, "#right")) == first
    press(page, "ArrowLeft", labelled=1)
    second = read(page, "#question")
    assert second != first[0]
    press(page, " ", labelled=2)
    page.reload()
    expect(page, "#count", "2 of 8 answered · 2 by you")
    press(page, "Backspace", labelled=1)
    assert read(page, "#question") == second
    press(page, "u", labelled=0)
    assert (read(page, "#question"), read(page, "#left"), read(page, "#right")) == first
    page.keyboard.press("u")
    expect(page, "#said", "nothing to take back")


def test_skip_help_and_comments_by_keyboard(visit: Open, put: Callable[..., Review], router: LiveRouter) -> None:
    review = put(count=3, shared=0)
    page = visit(review)
    expect(page, "#count", "· 0 by you")
    first = read(page, "#question")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("1")  # behind the dialog nothing is judged
    page.keyboard.press("Escape")
    assert page.locator("#keys").is_hidden()
    page.keyboard.press("s")
    expect(page, "#said", "Skipped")
    expect(page, "#count", "1 of 3 answered · 0 by you")
    assert read(page, "#question") != first
    page.keyboard.press("c")
    page.keyboard.type("1 is 2 long, u see?  ")
    page.keyboard.press("Backspace")
    page.keyboard.press("Escape")
    press(page, "ArrowRight", labelled=1)
    (label,) = read_labels(router.database_url, review.review_id)
    assert label.comment == "1 is 2 long, u see?"
    assert page.locator("#comment").input_value() == ""
    page.keyboard.press("Control+1")
    page.keyboard.press("x")
    press(page, "0", labelled=2)
    expect(page, "#end-title", "All answered")
    assert len(read_labels(router.database_url, review.review_id)) == 2


def test_a_held_key_judges_one_pair_only(visit: Open, put: Callable[..., Review], router: LiveRouter) -> None:
    review = put(count=8, shared=0)
    page = visit(review)
    expect(page, "#count", "· 0 by you")
    for _ in range(6):
        page.keyboard.down("1")  # without an up between them these are repeats
    expect(page, "#count", "· 1 by you")
    page.keyboard.up("1")
    press(page, "2", labelled=2)
    assert len(read_labels(router.database_url, review.review_id)) == 2


def test_a_focused_button_does_what_it_says(visit: Open, put: Callable[..., Review], router: LiveRouter) -> None:
    review = put(count=4, shared=0)
    page = visit(review)
    expect(page, "#count", "· 0 by you")
    page.locator("#say-skip").focus()
    page.keyboard.press(" ")  # not a tie
    expect(page, "#said", "Skipped")
    page.locator("#say-right").click()
    expect(page, "#count", "· 1 by you")
    assert [label.preferred for label in read_labels(router.database_url, review.review_id)] != ["tie"]


HOSTILE = (
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 2'>  <svg onload=window.pwned=3>",
    "[click](javascript:window.pwned=4) ![](http://127.0.0.1:9/leak.png) **bold** # title",
    "{{constructor.constructor('window.pwned = 5')()}} ${window.pwned = 6} &lt;b&gt; &amp;",
    "‮reversed‬ \u2028 line\n\n\tand  two   spaces\n" + "x" * 3000,
    "<style>body{display:none}</style><base href=http://127.0.0.1:9/><meta http-equiv=refresh content='0;url=/docs'>",
)


def test_hostile_answers_are_text(visit: Open, put: Callable[..., Review]) -> None:
    lines = []
    for number, text in enumerate(HOSTILE):
        prompt = [{"role": role, "content": text} for role in ("system", "assistant", "user")]
        lines.append(make_line(number, candidate=text, champion=text[::-1], user=text[:90], topic=text, prompt=prompt))
    page = visit(put(lines=lines, shared=1))
    seen = []
    page.on("request", lambda sent: seen.append(sent.url))
    for number in range(len(HOSTILE)):
        expect(page, "#count", f"· {number} by you")
        shown = read(page, "#question")
        assert shown in HOSTILE
        assert {read(page, "#left"), read(page, "#right")} == {shown, shown[::-1]}
        page.locator("summary").click()
        assert page.locator("#turns .text").all_text_contents() == [shown, shown]
        assert page.locator("#duel :is(script, img, svg, a, style, base, meta, b)").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert "pre-wrap" in page.locator("#left").evaluate("place => getComputedStyle(place).whiteSpace")
        page.keyboard.press("0")
    expect(page, "#end-title", "All answered")
    assert page.evaluate("window.pwned") is None
    assert all("/review/" in url or url.endswith("/ui/assets/review.svg") for url in seen), seen


def test_nothing_in_the_page_names_a_model(visit: Open, put: Callable[..., Review], router: LiveRouter) -> None:
    review = put(count=6, shared=1)
    page = visit(review)
    told: list[str] = []
    page.on("response", lambda got: told.append(str(got.headers)) or told.append(got.text()))
    page.reload()
    for number in range(6):
        expect(page, "#count", f"· {number} by you")
        told.append(page.content().lower())
        page.keyboard.press("1")
    expect(page, "#end-title", "All answered")
    page.wait_for_load_state("networkidle")
    assert len(told) > 12
    for text in told:
        for word in NAMES:
            assert word not in text.lower(), word


def test_an_empty_answer_and_a_closed_review_say_so(
    visit: Open, put: Callable[..., Review], router: LiveRouter
) -> None:
    review = put(lines=[make_line(1, candidate=" ")])
    page = visit(review)
    expect(page, "#duel", "(an empty answer)")
    close_review(router.database_url, review.review_id, source="oncall")
    page.reload()
    expect(page, "#end-title", "This review is closed")
    assert page.locator("#controls").is_hidden()


def test_second_opinions_are_offered_at_the_end(visit: Open, put: Callable[..., Review]) -> None:
    review = put(count=2, shared=0)
    ada = visit(review, "Ada")
    expect(ada, "#count", "· 0 by you")
    for number in (1, 2):
        press(ada, "1", labelled=number)
    expect(ada, "#end-title", "All answered")
    assert ada.locator("#more").is_hidden()
    bob = visit(review, "Bob")
    expect(bob, "#more", "Give a second opinion (2)")
    bob.locator("#more").click()
    for number in (1, 2):
        bob.locator("#duel").wait_for(state="visible")
        press(bob, "2", labelled=number)
    expect(bob, "#end-title", "All answered")
    expect(bob, "#agreement", "2 shared")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_runs_over_the_edge(
    visit: Open, put: Callable[..., Review], tmp_path: Path, scheme: str, request: pytest.FixtureRequest
) -> None:
    review = put(lines=make_lines(8), salt="the salt of the pictures")
    page = visit(review, viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True)
    expect(page, "#count", "0 of 8")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    left, right = (page.locator(place).bounding_box() for place in ("#left", "#right"))
    assert right["y"] > left["y"] + left["height"]
    write = request.config.getoption("--write-screenshots") and scheme == "dark"
    take(page, tmp_path / "phone.png", "review-phone.png" if write else None)
    page.locator("#say-left").tap()
    expect(page, "#count", "1 of 8 answered · 1 by you")


def test_every_control_has_a_name_and_can_be_reached(visit: Open, put: Callable[..., Review]) -> None:
    page = visit(put(count=4))
    expect(page, "#count", "0 of 4")
    tree = page.locator("body").aria_snapshot()
    for part in (
        'heading "Which answer is better?"', 'button "← Answer 1"', 'button "↓ Tie"', 'button "Answer 2 →"',
        'button "Skip S"', 'button "Undo U"', 'textbox "Comment on this pair, optional"', 'heading "1 Answer 1"',
    ):  # fmt: skip
        assert part in tree, tree
    reached = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"say-left", "say-tie", "say-right", "say-skip", "undo", "comment", "help", "left", "right"} <= reached


@pytest.mark.parametrize("link", ["#reviewer=Ada&token=0000", "#reviewer=&token=", ""])
def test_a_wrong_link_says_so(browser: Any, router: LiveRouter, put: Callable[..., Review], link: str) -> None:
    review = put(count=3)
    page = browser.new_page()
    try:
        page.goto(f"{router.url}/ui/review/{review.review_id}{link}")
        if "Ada" in link:
            expect(page, "#end-title", "This link does not open the review")
        else:
            expect(page, "#desk", "For operators")
        assert page.locator("#controls").is_hidden()
        assert page.locator("#duel").is_hidden()
    finally:
        page.close()


def test_an_operator_makes_a_link_that_opens_the_review(visit: Open, put: Callable[..., Review]) -> None:
    review = put(count=3)
    page = visit(None)
    page.locator("#key").fill(ADMIN_KEY)
    page.keyboard.press("Enter")
    item = page.locator("#reviews li").filter(has_text=review.run_id)
    item.get_by_label("Reviewer's name").fill("Zoë")
    item.get_by_role("button").click()
    item.get_by_role("link", name="Link for Zoë").click()
    expect(page, "#who", "Zoë")
    expect(page, "#count", "0 of 3 answered")
    assert ADMIN_KEY not in page.content()
    assert ADMIN_KEY not in page.url
