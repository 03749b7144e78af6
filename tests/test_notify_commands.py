"""`flytewheel notify test` says of each channel whether it works, and exits by it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from flytewheel.cli import main
from tests.notify.schemas import PAGERDUTY, check
from tests.notify.servers import run_http, run_smtp
from tests.notify.test_payloads import KEY


def test_each_channel_is_tried_and_nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_http() as http, run_smtp() as smtp:
        monkeypatch.setenv("FLYTEWHEEL_SLACK_WEBHOOK", f"{http.url}/services/secret")
        monkeypatch.setenv("FLYTEWHEEL_PAGERDUTY_KEY", KEY)
        monkeypatch.setenv("FLYTEWHEEL_PAGERDUTY_URL", f"{http.url}/v2/enqueue")
        monkeypatch.setenv("FLYTEWHEEL_SMTP_URL", smtp.url)
        done = CliRunner().invoke(main, ["notify", "test", "--to", "me@example.org", "--json"])
        assert done.exit_code == 0, done.output
        assert {each["outcome"] for each in json.loads(done.output)} == {"told"}
        event = dict(http.bodies)["/v2/enqueue"]
        check(PAGERDUTY, event)
        assert event["event_action"] == "resolve"
        assert smtp.recipients == [["me@example.org"]]
        nobody = CliRunner().invoke(main, ["notify", "test"])
        assert nobody.exit_code == 1
        assert "mail: nobody to send it to; name somebody with --to" in nobody.output
        http.answers = [(404, {})]
        refused = CliRunner().invoke(main, ["notify", "test", "--to", "me@example.org"])
        assert refused.exit_code == 1
        assert "answered 404" in refused.output
        assert "secret" not in refused.output


def test_without_a_channel_it_says_which_variables_make_one() -> None:
    done = CliRunner().invoke(main, ["notify", "test"])
    assert done.exit_code == 2
    assert "no channel: set FLYTEWHEEL_SLACK_WEBHOOK" in done.output
