"""Messages over real sockets, told once by whoever tries, in bounded time, without a secret in what is said of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from flytewheel.errors import SettingsError
from flytewheel.notify import ledger
from flytewheel.notify.channels import Mail, PagerDuty, Slack, find_channels
from flytewheel.notify.telling import Telling, tell, tell_channels
from flytewheel.settings import Settings, read_settings
from tests.notify.schemas import PAGERDUTY, SLACK, check
from tests.notify.servers import Heard, run_http, run_smtp
from tests.notify.test_payloads import FAILED, KEY

PATH = "/services/T00/B00/verysecretpath"
PASSWORD = "sesame%21"


def settings_for(http: Heard, smtp: Heard) -> Settings:
    return read_settings(
        {
            "FLYTEWHEEL_SLACK_WEBHOOK": http.url + PATH,
            "FLYTEWHEEL_PAGERDUTY_KEY": KEY,
            "FLYTEWHEEL_PAGERDUTY_URL": f"{http.url}/v2/enqueue",
            "FLYTEWHEEL_SMTP_URL": smtp.url.replace("//", f"//loop:{PASSWORD}@"),
            "FLYTEWHEEL_MAIL_FROM": "Loop <loop@example.org>",
            "FLYTEWHEEL_MAIL_TO": "a@example.org, b@example.org",
        }
    )


@pytest.fixture
def http() -> Iterator[Heard]:
    with run_http() as heard:
        yield heard


@pytest.fixture
def smtp() -> Iterator[Heard]:
    with run_smtp() as heard:
        yield heard


def test_all_channels_hear_of_it_once_however_often_it_is_told(http: Heard, smtp: Heard, database_url: str) -> None:
    settings = settings_for(http, smtp)
    told = tell(FAILED, settings, database_url=database_url)
    assert {(each.channel, each.outcome) for each in told} == {
        ("slack", "told"),
        ("pagerduty", "told"),
        ("mail", "told"),
    }
    by_path = dict(http.bodies)
    check(SLACK, by_path[PATH])
    check(PAGERDUTY, by_path["/v2/enqueue"])
    assert smtp.recipients == [["a@example.org", "b@example.org"]]
    assert "station    train_sft" in smtp.mails[0].get_content()
    assert smtp.logins == ["\0loop\0sesame!"]

    again = tell(FAILED, settings, database_url=database_url)
    assert {each.outcome for each in again} == {"before"}
    assert (len(http.bodies), len(smtp.mails)) == (2, 1)
    rows = ledger.list_told(database_url, since=datetime.now(UTC) - timedelta(hours=1))
    assert {(name, channel, error) for name, channel, _, _, error in rows} == {
        ("oncall", channel, None) for channel in ("slack", "pagerduty", "mail")
    }


def test_many_tellers_at_once_tell_once(http: Heard, database_url: str) -> None:
    channel = Slack(http.url + PATH)
    with_each: list[Telling] = []
    threads = [
        threading.Thread(
            target=lambda: with_each.extend(
                tell_channels(FAILED, [channel], database_url=database_url, pause=threading.Event().wait)
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(each.outcome for each in with_each) == ["before"] * 5 + ["told"]
    assert len(http.bodies) == 1


def test_a_claim_of_one_that_died_is_taken_over(http: Heard, database_url: str) -> None:
    assert ledger.claim(database_url, FAILED.key, "slack", name="oncall", title="") == "mine"
    assert ledger.claim(database_url, FAILED.key, "slack", name="oncall", title="") == "busy"
    waits: list[float] = []

    def age(seconds: float) -> None:
        waits.append(seconds)
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE notifications SET claimed_at = claimed_at - interval '7 seconds'")

    (told,) = tell_channels(FAILED, [Slack(http.url + PATH)], database_url=database_url, pause=age)
    assert told.outcome == "told"
    assert len(waits) == 3  # 21 s, and a claim is for 20
    assert len(http.bodies) == 1


def test_a_server_that_asks_for_patience_gets_it_and_a_refusal_is_final(database_url: str) -> None:
    with run_http([(429, {"retry-after": "3"}), (503, {}), (200, {})]) as http:
        waits: list[float] = []
        (told,) = tell_channels(FAILED, [Slack(http.url + PATH)], database_url=database_url, pause=waits.append)
        assert (told.outcome, waits, len(http.bodies)) == ("told", [3.0, 2.0], 3)
    with run_http([(400, {})]) as http:
        (told,) = tell_channels(
            replace(FAILED, key="other"), [Slack(http.url + PATH)], database_url=database_url, pause=waits.append
        )
        assert told.outcome == "failed"
        assert told.why.startswith("127.0.0.1 answered 400")
        assert len(http.bodies) == 1
    rows = ledger.list_told(database_url, since=datetime.now(UTC) - timedelta(hours=1))
    assert [(sent is None, error is None) for *_, sent, error in rows] == [(False, True), (True, False)]
    with run_http() as http:  # what failed is free for the next who tries
        (told,) = tell_channels(replace(FAILED, key="other"), [Slack(http.url + PATH)], database_url=database_url)
        assert told.outcome == "told"


def test_redirects_are_not_followed() -> None:
    with run_http() as elsewhere, run_http([(302, {"location": f"{elsewhere.url}/stolen"})]) as http:
        (told,) = tell_channels(FAILED, [Slack(http.url + PATH)], database_url=None)
        assert told.outcome == "failed"
        assert elsewhere.bodies == []


def test_a_server_that_never_answers_is_not_waited_for(http: Heard, smtp: Heard) -> None:
    http.hold = threading.Event()
    mail = Mail(smtp.url, "loop@example.org", ("a@example.org",))
    slack, told = tell_channels(FAILED, [Slack(http.url + PATH), mail], database_url=None, deadline_s=0.5)
    assert (slack.outcome, told.outcome) == ("failed", "told")


def test_it_is_told_without_a_database_too(http: Heard) -> None:
    away = "postgresql://nobody@127.0.0.1:1/none"
    (told,) = tell_channels(FAILED, [Slack(http.url + PATH)], database_url=away)
    assert told.outcome == "told"


def test_no_secret_is_said_or_logged(
    http: Heard, smtp: Heard, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = settings_for(http, smtp)
    assert PATH not in repr(find_channels(settings)) + repr(settings)
    http.answers = [(400, {})]
    told = tell(FAILED, settings, database_url=None)
    away = settings_for(Heard(url="http://127.0.0.1:1"), Heard(url="smtp://127.0.0.1:1"))
    gone = tell(FAILED, away, database_url=None, deadline_s=0.5)
    captured = capsys.readouterr()
    said = repr(told) + repr(gone) + captured.out + captured.err + caplog.text
    assert "not told by slack: 127.0.0.1 answered 400" in said
    assert {each.outcome for each in gone} == {"failed"}
    for secret in ("verysecretpath", KEY, "sesame"):
        assert secret not in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SLACK_WEBHOOK", "hooks.slack.com/services/verysecretpath"),
        ("SLACK_WEBHOOK", "http://hooks.slack.com/services/verysecretpath"),
        ("SLACK_WEBHOOK", "https://[verysecretpath"),
        ("SMTP_URL", "https://u:verysecretpath@mail"),
        ("SMTP_URL", "smtp://u:verysecretpath@mail:port"),
    ],
)
def test_an_address_that_is_none_is_said_without_it_and_fails_nothing(
    variable: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_settings({f"FLYTEWHEEL_{variable}": value})
    with pytest.raises(SettingsError, match=f"FLYTEWHEEL_{variable} is no address: expected"):
        find_channels(settings)
    (told,) = tell(FAILED, settings, database_url=None)
    assert told.outcome == "failed"
    assert "verysecretpath" not in capsys.readouterr().err + told.why


def test_a_mail_address_that_is_none_is_refused() -> None:
    settings = read_settings({"FLYTEWHEEL_SMTP_URL": "smtp://127.0.0.1", "FLYTEWHEEL_MAIL_TO": "nobody"})
    with pytest.raises(SettingsError, match="'nobody' is no mail address"):
        find_channels(settings)


@pytest.mark.parametrize(("refuse", "tries"), [("451 later", 3), ("550 never", 1)])
def test_a_mail_server_is_asked_again_only_where_it_says_later(refuse: str, tries: int) -> None:
    with run_smtp(refuse=refuse) as smtp:
        waits: list[float] = []
        channel = Mail(smtp.url, "loop@example.org", ("a@example.org",))
        (told,) = tell_channels(FAILED, [channel], database_url=None, deadline_s=3.5, pause=waits.append)
        assert told.outcome == "failed"
        assert f"answered {refuse[:3]}" in told.why
        assert len(waits) == tries - 1
        assert smtp.mails == []


def test_a_channel_takes_only_what_is_for_it() -> None:
    warning = replace(FAILED, severity="warning")
    assert not PagerDuty(KEY, "http://127.0.0.1").takes(warning)
    assert Slack("http://127.0.0.1").takes(warning)
    assert not Mail("smtp://127.0.0.1").takes(warning)  # nobody to send it to


def test_without_a_channel_nothing_happens(tmp_path: Path) -> None:
    assert tell(FAILED, Settings(home=tmp_path), database_url=None) == ()
