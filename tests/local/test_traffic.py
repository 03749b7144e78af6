from __future__ import annotations

import pytest

from flytewheel.errors import RouterError
from flytewheel.local.traffic import check_loopback, find_percentile, send_traffic
from flytewheel.pocket.users import Opinion, Question
from tests.ports import free_port
from tests.router.conftest import make_router, router  # noqa: F401 - fixtures
from tests.router.live import API_KEY, LiveRouter


def judge(question: Question, answer: str) -> Opinion:
    """These people like candy, and tell the others to have some."""
    return Opinion(1) if answer == "candy" else Opinion(-1, "candy")


def test_people_meet_both_arms_and_say_what_they_think(router: LiveRouter) -> None:  # noqa: F811
    control, treatment = router.serve("traffic", "stable"), router.register("traffic", "candy")
    router.launch("traffic", control, treatment, share=0.4)
    seen: list[int] = []
    report = send_traffic(
        router.url,
        "traffic",
        requests=60,
        users=30,
        seed=7,
        api_key=API_KEY,
        system_prompt="Be brief.",
        judge=judge,
        progress=lambda what, done, total: seen.append(done),
    )
    assert (report.requests, report.users, report.errors, report.first_error) == (60, 30, 0, None)
    assert seen == list(range(1, 61))
    arms = {arm.arm: arm for arm in report.arms}
    assert set(arms) == {"control", "treatment"}
    assert arms["treatment"].versions == (treatment,)
    assert arms["treatment"].thumbs_up == arms["treatment"].requests > 0
    assert arms["control"].thumbs_down == arms["control"].corrections == arms["control"].requests > 0
    assert arms["control"].users + arms["treatment"].users == 30
    assert report.feedback_events == arms["treatment"].requests + 2 * arms["control"].requests
    assert router.rows("SELECT count(*) FROM interactions WHERE source = 'traffic'") == [(60,)]
    assert router.rows("SELECT count(*) FROM feedback_events WHERE source = 'traffic'") == [(report.feedback_events,)]
    contexts = "SELECT count(*) FROM interactions WHERE body ->> 'context' <> '' AND body ->> 'topic' <> ''"
    assert router.rows(contexts) == [(60,)]
    table = report.describe()
    assert table.splitlines()[0].split()[:4] == ["arm", "version", "users", "requests"]
    assert f"60 requests of 30 users, {report.feedback_events} feedback events, 0 errors" in table


def test_errors_are_said_when_nobody_was_answered(router: LiveRouter) -> None:  # noqa: F811
    with pytest.raises(RouterError, match="404"):
        send_traffic(router.url, "nobody", requests=3, users=3, api_key=API_KEY)
    with pytest.raises(RouterError, match="none of 3 requests"):
        send_traffic(f"http://127.0.0.1:{free_port()}", "demo", requests=3, users=3)


@pytest.mark.parametrize("url", ["http://example.org", "http://192.168.1.4:8000", "http://127.0.0.1.example.org", "no"])
def test_other_machines_are_refused(url: str) -> None:
    with pytest.raises(RouterError):
        check_loopback(url)


def test_loopback_and_what_was_allowed_pass() -> None:
    for url in ("http://127.0.0.1:80", "http://localhost", "http://[::1]:80"):
        check_loopback(url)
    check_loopback("http://example.org", allow_remote=True)


def test_percentiles_are_the_nearest_rank() -> None:
    """Of 20 values the 95th percentile is the 19th: ceil(0.95 · 20) = 19."""
    assert find_percentile([float(n) for n in range(1, 21)], 0.95) == 19.0
    assert find_percentile([3.0], 0.5) == 3.0
    assert find_percentile([], 0.5) is None
