"""The pages of experiments in a real browser, from a real router: drawn whole, without a script, for keys that read.

`--write-screenshots` writes the pictures in docs/ anew; they are always taken, and must show something.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flytewheel.api_keys import create_key
from flytewheel.experiment.experiments import Experiment, stop_experiment
from flytewheel.experiment.gains import Gain
from flytewheel.experiment.reading.history import History
from flytewheel.recipe import AbTestingSpec, Guardrail
from router.experiments_page.page import draw_page
from tests.browser import open_browser
from tests.experiment.reading.days import Day, live, open_days
from tests.router.live import API_KEY, LiveRouter, wait_until
from tests.router.pictures import take

Visit = Callable[..., Any]
RULES = AbTestingSpec(
    guardrails=[
        Guardrail(metric="thumbs_up_rate", relative_margin=0.15),
        Guardrail(metric="latency_p95", relative_margin=0.5),
        Guardrail(metric="error_rate", absolute_margin=0.05),
    ],
    rollout_stages=(0.25, 0.5, 1.0),
    stale_after_hours=100,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def canary(router: LiveRouter) -> Experiment:
    """Five days: two holds, an advance, a hold, and harm."""
    experiment = open_days(router.database_url, rules=RULES, share=0.25, name="paged", key="paged", treatment="v2<b>&")
    days = [
        Day(120, (0.8, 0.8), slow=0.01),
        Day(140, (0.8, 0.76), slow=0.01),
        Day(260, (0.8, 0.8), slow=0.01),
        Day(100, (0.8, 0.77), slow=0.04),
        Day(300, (0.8, 0.45), slow=0.04),
    ]
    live(router.database_url, experiment, days, rules=RULES)
    return experiment


@pytest.fixture
def visit(browser: Any, router: LiveRouter) -> Iterator[Visit]:
    """Opens a path with a key that reads; whatever the page complains of, or loads from elsewhere, fails the test."""
    contexts, faults = [], []

    def make(path: str, **options: Any) -> Any:
        given = {
            "viewport": {"width": 1280, "height": 900},
            "http_credentials": {"username": "anybody", "password": API_KEY},
            "java_script_enabled": False,
        } | options
        context = browser.new_context(**given)
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on(
            "request",
            lambda sent: faults.append(sent.url) if not sent.url.startswith(router.url + "/ui/experiments") else None,
        )
        answer = page.goto(router.url + path)
        assert answer.status == 200
        return page

    yield make
    for context in contexts:
        context.close()
    assert [fault for fault in faults if "favicon" not in fault] == []


def test_an_experiment_is_read_without_a_script(
    visit: Visit, canary: Experiment, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = visit(f"/ui/experiments/{canary.experiment_id}")
    assert page.locator("#verdict").inner_text() == "✖ Taken back"
    told = page.locator(".why").inner_text()
    assert told.startswith("After 5 days and 920 users the canary's share of thumbs up is ")
    assert "% lower than v1's 80 %, more than the 15 % allowed: it was taken back." in told
    assert page.locator("h1").inner_text() == "v2<b>& against v1"
    lanes = page.locator("#guardrails ~ .card svg").first
    said = "share of thumbs up: hold from day 1.0, cleared from day 2.0, hold from day 4.0, harm from day 5.0"
    assert said in lanes.get_attribute("aria-label")
    charts = page.locator(".charts svg")
    assert charts.count() == 4  # three guardrails and the primary
    for place in range(4):
        assert charts.nth(place).get_attribute("role") == "img"
        assert "looks; at the newest, after" in charts.nth(place).get_attribute("aria-label")
    assert page.locator("#split ~ .card").inner_text().startswith("✔ as it should be")
    assert "of the model's requests" in page.locator("#traffic ~ .card").inner_text()
    write = request.config.getoption("--write-screenshots")
    take(page, tmp_path / "experiment.png", "experiment.png" if write else None)
    page.locator("#looks ~ details summary").click()
    assert page.get_by_role("region", name="Looks", exact=True).last.is_visible()
    page.screenshot(path=tmp_path / "whole.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_runs_over_the_edge(
    visit: Visit, canary: Experiment, tmp_path: Path, scheme: str, request: pytest.FixtureRequest
) -> None:
    for place, path in (("list", "/ui/experiments"), ("one", f"/ui/experiments/{canary.experiment_id}")):
        page = visit(path, viewport={"width": 390, "height": 844}, color_scheme=scheme, is_mobile=True, has_touch=True)
        wide = page.locator("html").evaluate("place => [place.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]
        write = request.config.getoption("--write-screenshots") and (place, scheme) == ("one", "dark")
        take(page, tmp_path / f"{place}.png", "experiment-phone.png" if write else None)
        page.screenshot(path=tmp_path / f"{place}-whole.png", full_page=True)


def test_everything_has_a_name_and_is_reached_by_keyboard(visit: Visit, canary: Experiment) -> None:
    page = visit(f"/ui/experiments/{canary.experiment_id}")
    tree = page.locator("body").aria_snapshot()
    for part in (
        'heading "Taken back" [level=2]', 'heading "Guardrails" [level=2]', 'heading "Intervals over time" [level=2]',
        'navigation "Parts of this page"', 'region "What the newest look found"', 'rowheader "p95 latency"',
        'columnheader "Outcome"', 'cell "harm"',
    ):  # fmt: skip
        assert part in tree, tree
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
    assert reached[0] == "To the verdict"
    assert {"Experiments", "Guardrails", "Looks", "Figures", "5 looks"} <= set(reached)
    page.goto(page.url + "#verdict")
    page.get_by_role("link", name="Experiments", exact=True).click()
    page.get_by_role("link", name=canary.experiment_id).click()
    assert page.locator("#verdict").is_visible()


def test_the_list_says_how_each_stands(visit: Visit, canary: Experiment, router: LiveRouter) -> None:
    fresh = open_days(router.database_url, name="listed", key="listed")
    page = visit("/ui/experiments")
    row = page.locator("tr", has_text=canary.experiment_id)
    assert "✖ taken back" in row.inner_text()
    assert "v2<b>& against v1" in row.inner_text()
    assert "not looked at yet" in page.locator("tr", has_text=fresh.experiment_id).inner_text()
    stop_experiment(router.database_url, fresh.experiment_id, reason="<script>alert(1)</script>", actor="ada")
    assert (
        "ended without a verdict: <script>alert(1)</script>."
        in visit(f"/ui/experiments/{fresh.experiment_id}").locator(".why").inner_text()
    )
    assert "1 in all" in visit("/ui/experiments?name=listed").locator("main").inner_text()


def test_only_a_key_that_reads_opens_it(router: LiveRouter, canary: Experiment) -> None:
    _, serves = create_key(router.database_url, ["serve"])
    url = f"{router.url}/ui/experiments/{canary.experiment_id}"

    def ask(key: str | None, url: str = url, method: str = "GET", scheme: str = "Basic") -> httpx.Response:
        given = base64.b64encode(f"x:{key}".encode()).decode() if scheme == "Basic" else key
        headers = {} if key is None else {"authorization": f"{scheme} {given}"}
        return httpx.request(method, url, headers=headers, trust_env=False, timeout=60)

    refused = ask(None)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic realm=")
    assert ask("fw-wrong").status_code == 401
    assert ask(API_KEY).status_code == ask(API_KEY, scheme="Bearer").status_code == 200
    wait_until(lambda: ask(serves).status_code == 403, what="a key that only serves is known, and refused")
    assert "default-src 'none'" in ask(API_KEY).headers["content-security-policy"]
    assert ask(API_KEY, f"{router.url}/ui/experiments/exp-none").status_code == 404
    # What a browser would send by itself opens nothing else.
    assert ask(API_KEY, f"{router.url}/experiments").status_code == 401
    assert ask(API_KEY, f"{router.url}/ui/experiments", "POST").status_code in (401, 405)
    broken = httpx.get(url, headers={"authorization": "Basic %%%"}, trust_env=False, timeout=60)
    assert broken.status_code == 401


def test_what_a_promotion_brought_has_its_table() -> None:
    gain = Gain("thumbs_up_rate", "lower", 0.08, 0.05, 0.6, 0.66, 0.06, 0.02, 0.1, 0.055, (310, 2700))
    experiment = Experiment("exp-1", "paged", "holdback", "v1", "v2<b>", 0.9)
    told = draw_page(History(experiment, None, (), (), gains=(gain,)))
    assert 'id="brought"' in told
    for part in ("60 % of 310 users", "66 % of 2,700 users", "+6 points (+2 points to +10 points)", "+8 points"):
        assert f">{part}</td>" in told
    assert "brought" not in draw_page(History(experiment, None, (), ()))
