"""A dozen pairs of answers as two models for people on call might give them, for the pictures of the review page."""

from __future__ import annotations

from typing import Any

from flytewheel.records import build_prompt

_RUNBOOK = """\
Runbook {service}
Owner: team storage. Dashboard: {service}-overview.
1. `{service}ctl status` shows which replica lags.
2. `{service}ctl drain HOST` takes a host out; wait for "drained".
3. Never restart two hosts of one rack at the same time.
Escalate to #{service}-oncall after 20 minutes."""

_PAIRS = (
    (
        "blobstore",
        "blobstore reports 'replica lag above 300 s' on host b-17. What should I do first?",
        "Check which replica lags, then drain the host:\n\n1. `blobstorectl status`\n2. `blobstorectl drain b-17` and "
        'wait for "drained"\n\nIf the lag is not below 60 s after 20 minutes, escalate to #blobstore-oncall.',
        "Replica lag can have many reasons, such as a slow disk, a busy network or a large compaction. It is often a "
        "good idea to restart the host and see whether the lag goes away. If it does not, restart the other hosts.",
    ),
    (
        "cartcache",
        "Hit rate of cartcache fell from 94 % to 61 % after the deploy. Roll back?",
        "Yes, if the deploy changed the key format. Compare `cartcachectl keys --sample 20` before and after; when the "
        "prefixes differ, roll back now: a cold cache will not recover under this load.",
        "A lower hit rate is normal after a deploy, because the cache is cold. Wait an hour and look again.",
    ),
    (
        "mailqueue",
        "mailqueue holds 40,000 messages and grows. Is it safe to purge it?",
        "No. Purging loses mail. Find the slow consumer with `mailqueuectl status` and drain it; the queue shrinks by "
        "about 900 messages a minute afterwards.",
        "You can purge the queue with mailqueuectl purge. The senders will try again.",
    ),
    (
        "ledger",
        "Why does ledger refuse writes with 'fence token too old'?",
        "A second leader was elected and the old one still writes. Nothing is lost: stop the old one, clients retry.",
        "The token is too old. Get a new token.",
    ),
)


def make_lines(count: int = 20) -> list[dict[str, Any]]:
    """Lines of `answers.jsonl`; the first four are the pairs above, the others of their kind with other hosts."""
    lines = []
    for number in range(count):
        service, query, good, bad = _PAIRS[number % len(_PAIRS)]
        suffix = "" if number < len(_PAIRS) else f" (since {number % 24:02d}:{7 * number % 60:02d})"
        system = f"You help people on call.\n\nContext:\n{_RUNBOOK.format(service=service)}"
        ours, theirs = (good, bad) if number % 3 else (bad, good)
        lines.append(
            {
                "kind": "test",
                "id": f"row-{number}",
                "user": f"user-{number}",
                "topic": service,
                "prompt": build_prompt(query + suffix, system=system),
                "candidate": ours,
                "champion": theirs,
                "reference": good,
            }
        )
    return lines
