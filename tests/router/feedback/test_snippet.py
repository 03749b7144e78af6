"""The JavaScript snippet in a real browser, on a page of another origin, against a real router."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import psutil
import pytest

from router.feedback.snippet import LIMIT, shrink
from tests.browser import open_browser
from tests.router.live import LiveRouter, wait_until

OLD_SESSION = "sessionStorage.flytewheel ||= Date.now() - 60000"  # signals count from ten seconds on


class Pages(ThreadingHTTPServer):
    """Serves one page at `/`, and an empty one elsewhere."""

    daemon_threads = True
    page = ""


class _Handler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        body = (self.server.page if self.path == "/" else "<p>elsewhere</p>").encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    server = Pages(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def open_router(make_router: Callable[[], LiveRouter], pages: Pages) -> LiveRouter:
    """A router that lets this page's origin read its answers."""
    router = make_router()
    router.environ["FLYTEWHEEL_CORS_ORIGINS"] = f"http://127.0.0.1:{pages.server_port}"
    router.start()
    router.serve("shown", "stable")
    return router


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 800, "height": 600})
    context.set_default_timeout(20_000)
    context.add_init_script(OLD_SESSION)
    yield context
    context.close()


def mark(answer: httpx.Response, text: str, *, place: str = "answer", more: str = "") -> str:
    """An answer as a team marks it."""
    headers = answer.headers
    return (
        f'<div id="{place}" lang="en" data-flytewheel="{headers["x-flytewheel-interaction"]}"'
        f' data-receipt="{headers["x-flytewheel-receipt"]}" data-question="How do I restart billing?">'
        f'{html.escape(text)} <a id="source" href="#source">[1]</a>{more}</div>'
    )


def build_page(router: LiveRouter, body: str) -> str:
    return f'<!doctype html><html><body>{body}<script src="{router.url}/v1/feedback.js"></script></body></html>'


def visit(context: Any, pages: Pages, page: str) -> Any:
    pages.page = page
    tab = context.new_page()
    tab.goto(f"http://127.0.0.1:{pages.server_port}/")
    return tab


def stored(router: LiveRouter, answer: httpx.Response) -> dict[str, Any]:
    query = "SELECT feedback_type, body FROM feedback_events WHERE interaction_id = %s ORDER BY stored_at"
    return dict(router.rows(query, answer.headers["x-flytewheel-interaction"]))


def test_it_is_small_and_cached(router: LiveRouter) -> None:
    answer = httpx.get(f"{router.url}/v1/feedback.js", trust_env=False)
    assert answer.status_code == 200
    assert len(answer.content) <= LIMIT
    assert answer.headers["content-type"].startswith("text/javascript")
    known = {"if-none-match": answer.headers["etag"]}
    assert httpx.get(f"{router.url}/v1/feedback.js", headers=known, trust_env=False).status_code == 304


def test_shrinking_leaves_strings_and_patterns_alone() -> None:
    source = "// why\n(a => {\n  const b = 'x = { y }  ', c = /[^ a-b ]/g\n  return b + c\n})()\n"
    assert shrink(source) == "(a=>{const b='x = { y }  ',c=/[^ a-b ]/g\nreturn b+c})()"


def test_what_a_reader_does_arrives(context: Any, pages: Pages, open_router: LiveRouter) -> None:
    answer = open_router.ask("shown", "reader")
    buttons = (
        '<button data-say="thumbs_up" data-of="answer">+</button><button data-say="4" data-of="answer">4</button>'
        '<button data-say="accepted" data-of="answer">use</button>'
    )
    tab = visit(context, pages, build_page(open_router, mark(answer, "Run it.") + buttons))
    tab.click("text=use")
    tab.click("#source")
    tab.evaluate("getSelection().selectAllChildren(document.getElementById('answer'))")
    tab.keyboard.press("Control+c")
    tab.click("text=+")
    wait_until(lambda: "thumbs_up" in stored(open_router, answer), what="the thumb")
    tab.click("text=4")
    wait_until(lambda: "rating" in stored(open_router, answer), what="the rating")
    found = stored(open_router, answer)
    assert found["rating"]["rating"] == 4
    assert found["rating"]["user_id"] == "reader"
    assert found["accepted"]["metadata"]["seconds"] < 20
    assert {"copied", "citation_click"} <= found.keys()
    tab.wait_for_function("performance.now() > 1500")
    tab.goto(f"http://127.0.0.1:{pages.server_port}/elsewhere")  # what the beacon of a page that goes away brings
    wait_until(lambda: "read_time" in stored(open_router, answer), what="the reading time")
    assert "abandonment" not in stored(open_router, answer)


def test_the_next_question_and_a_correction(context: Any, pages: Pages, open_router: LiveRouter) -> None:
    answer = open_router.ask("shown", "asker")
    tab = visit(context, pages, build_page(open_router, mark(answer, "Run it.")))
    tab.evaluate(
        """async () => {
            const shown = flytewheel.watch(document.getElementById('answer'))
            await shown.say('correction', {corrected_response: 'Run that.', correction_type: 'factual'})
            await shown.followUp('how can I restart the billing')
        }"""
    )
    wait_until(lambda: {"correction", "reformulation"} <= stored(open_router, answer).keys(), what="both")
    assert stored(open_router, answer)["correction"]["corrected_response"] == "Run that."


def test_an_answer_that_came_later_and_was_left(context: Any, pages: Pages, open_router: LiveRouter) -> None:
    answer = open_router.ask("shown", "leaver")
    tab = visit(context, pages, build_page(open_router, "<main></main>"))
    long = mark(answer, "A long answer. " * 200)
    tab.evaluate("text => document.querySelector('main').innerHTML = text", long)
    tab.wait_for_function("localStorage.flytewheel?.includes('shown')")
    tab.evaluate("document.querySelector('main').innerHTML = ''")
    found = wait_until(lambda: stored(open_router, answer).get("abandonment"), what="the abandonment")
    assert found["metadata"]["read_s"] < found["metadata"]["expected_s"] / 5


def test_what_was_said_offline_arrives_once(context: Any, pages: Pages, open_router: LiveRouter) -> None:
    answer = open_router.ask("shown", "traveller")
    button = '<button data-say="thumbs_down" data-of="answer">-</button>'
    tab = visit(context, pages, build_page(open_router, mark(answer, "Run it.") + button))
    context.set_offline(True)
    tab.click("text=-")
    tab.wait_for_function("localStorage.flytewheel?.includes('thumbs_down')")
    assert stored(open_router, answer) == {}
    context.set_offline(False)  # the browser says `online`
    wait_until(lambda: "thumbs_down" in stored(open_router, answer), what="the thumb after the tunnel")
    tab.wait_for_function("!localStorage.flytewheel.includes('thumbs_down')")
    tab.evaluate("flytewheel.send()")
    count = "SELECT count(*) FROM feedback_events WHERE interaction_id = %s AND feedback_type = 'thumbs_down'"
    assert open_router.rows(count, answer.headers["x-flytewheel-interaction"]) == [(1,)]


def test_the_queue_outlives_the_page(context: Any, pages: Pages, open_router: LiveRouter) -> None:
    answer = open_router.ask("shown", "returner")
    button = '<button data-say="thumbs_up" data-of="answer">+</button>'
    tab = visit(context, pages, build_page(open_router, mark(answer, "Run it.") + button))
    assert open_router.process is not None
    family = psutil.Process(open_router.process.pid).children(recursive=True)
    open_router.kill()
    psutil.wait_procs(family, timeout=60)  # a worker answers on the page's own connection as long as it lives
    tab.click("text=+")
    tab.wait_for_function("localStorage.flytewheel?.includes('thumbs_up')")
    tab.close()
    open_router.start()
    visit(context, pages, build_page(open_router, ""))
    wait_until(lambda: "thumbs_up" in stored(open_router, answer), what="the thumb of the page before")
