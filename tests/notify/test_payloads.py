"""Payloads are what Slack, PagerDuty and mail servers take, whatever was said."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.notify.message import SEVERITIES, Message
from flytewheel.notify.payloads import to_mail, to_pagerduty, to_slack
from tests.notify.schemas import PAGERDUTY, SLACK, check

KEY = "0123456789abcdef0123456789ABCDEF"
FAILED = Message(
    key="f9:train_sft:failed",
    name="oncall",
    severity="error",
    title="the turn failed at train_sft: out of memory",
    at=datetime(2026, 11, 22, 2, 31, tzinfo=UTC),
    facts={"station": "train_sft", "execution": "f9", "cause": "out of memory"},
    incident="oncall turn",
    link="https://flyte.example.org/console/f9",
)
anything = st.text(max_size=400)
messages = st.builds(
    Message,
    key=st.text(min_size=1, max_size=400),
    name=anything,
    severity=st.sampled_from(SEVERITIES),
    title=anything,
    at=st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)),
    facts=st.dictionaries(anything, st.text(max_size=3000), max_size=60),
    text=anything,
    incident=anything,
    link=st.sampled_from(["", "https://flyte.example.org/x|y>z"]),
)


@settings(max_examples=150, deadline=None)
@given(messages)
def test_any_message_is_within_every_channels_limits(message: Message) -> None:
    slack = json.loads(json.dumps(to_slack(message)).encode())
    check(SLACK, slack)
    event = to_pagerduty(message, KEY)
    if event is not None:
        encoded = json.dumps(event).encode()
        assert len(encoded) < 512 << 10
        check(PAGERDUTY, json.loads(encoded))
    mail = to_mail(message, sender="loop@example.org", to=("team@example.org",))
    assert len(mail.keys()) == len(set(mail.keys()))
    assert "\n" not in mail["Subject"]
    mail.as_bytes()


def test_the_schemas_can_say_no() -> None:
    event = to_pagerduty(FAILED, KEY)
    assert event is not None
    for schema, wrong in (
        (SLACK, to_slack(FAILED) | {"channel": "#all"}),
        (SLACK, {"text": "t", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}),
        (PAGERDUTY, event | {"routing_key": "short"}),
        (PAGERDUTY, event | {"payload": event["payload"] | {"severity": "bad"}}),
        (PAGERDUTY, event | {"payload": event["payload"] | {"summary": "x" * 1025}}),
    ):
        with pytest.raises(jsonschema.ValidationError):
            check(schema, wrong)


def test_a_failure_wakes_somebody_and_the_next_good_turn_lets_them_sleep() -> None:
    event = to_pagerduty(FAILED, KEY)
    assert event is not None
    assert (event["event_action"], event["dedup_key"]) == ("trigger", "oncall turn")
    assert event["payload"]["severity"] == "error"
    assert event["payload"]["custom_details"] == FAILED.facts
    assert event["payload"]["timestamp"] == "2026-11-22T02:31:00.000+00:00"
    mended = replace(FAILED, key="f10:succeeded", severity="info", title="the turn ended")
    assert to_pagerduty(mended, KEY) == {"routing_key": KEY, "event_action": "resolve", "dedup_key": "oncall turn"}
    assert to_pagerduty(replace(mended, incident=""), KEY) is None  # nothing that it would end
    assert to_pagerduty(replace(FAILED, severity="warning"), KEY) is None


def test_nothing_that_was_said_mentions_a_channel_or_makes_a_link() -> None:
    said = replace(FAILED, title="<!channel> & co", facts={"<@U1>": "<!here> <http://x|click>"})
    texts = json.dumps({**to_slack(said), "blocks": to_slack(said)["blocks"][1:2]})
    assert "<" not in texts
    assert "&lt;!channel&gt; &amp; co" in texts
    assert "&lt;!here&gt; &lt;http://x|click&gt;" in texts


def test_a_mail_has_the_facts_and_no_header_of_anybody_elses() -> None:
    said = replace(FAILED, title="failed\r\nBcc: all@example.org", text="Yesterday:\n- nothing")
    mail = to_mail(said, sender="Loop <loop@example.org>", to=("a@example.org", "b@example.org"))
    assert mail["Subject"] == "[flytewheel] oncall: failed Bcc: all@example.org"
    assert mail["Bcc"] is None
    assert mail["To"] == "a@example.org, b@example.org"
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["Message-ID"] == to_mail(said, sender="loop@example.org", to=("c@example.org",))["Message-ID"]
    body = mail.get_content()
    assert "station    train_sft\n" in body
    assert "\nYesterday:\n- nothing\n" in body
    assert body.rstrip().endswith(FAILED.link)


@pytest.mark.parametrize("fault", [{"severity": "loud"}, {"key": ""}, {"at": datetime(2026, 1, 1)}])
def test_a_message_without_what_it_needs_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected one of|needs a key"):
        replace(FAILED, **fault)  # type: ignore[arg-type]
