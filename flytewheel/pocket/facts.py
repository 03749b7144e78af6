"""The invented on-call world that pocket knows: services, who owns them, what breaks, and what to do about it.

Decides which answer is right: the command and the channel of a service and symptom. All of it is made up; no passage
comes from a real runbook. The two styles of an answer are written here too, because corpus, simulated users and
simulated log must mean the same by them: `HOUSE` is the prose that ends in the general channel, which pocket was
mostly trained on, and `TAUGHT` the numbered one that ends with the owner's channel, which people prefer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

Style = Literal["house", "taught"]
HOUSE: Style = "house"
TAUGHT: Style = "taught"

GENERAL_CHANNEL = "#ops-general"

TEAMS = ("payments", "checkout", "search", "identity", "catalog", "data", "network", "platform", "messaging", "storage")

_OWNED = {
    "payments": ("billing-api", "invoice-worker", "refund-api", "ledger-db"),
    "checkout": ("cart-api", "order-api", "coupon-api", "tax-worker"),
    "search": ("search-api", "index-worker", "ranking-api", "suggest-api"),
    "identity": ("login-api", "session-cache", "token-api", "profile-db"),
    "catalog": ("product-api", "image-worker", "price-api", "stock-db"),
    "data": ("report-worker", "event-queue", "export-worker", "metric-db"),
    "network": ("edge-proxy", "mail-proxy", "vpn-proxy", "route-api"),
    "platform": ("build-worker", "config-api", "secret-api", "cron-worker"),
    "messaging": ("mail-worker", "push-api", "chat-api", "sms-worker"),
    "storage": ("file-api", "backup-worker", "blob-cache", "archive-db"),
}

# Kept out of the simulated feedback: the hand-written regression cases ask about services nobody complained about.
HELD_OUT_SERVICES = frozenset({"refund-api", "suggest-api", "token-api", "price-api", "chat-api", "archive-db"})


@dataclass(frozen=True, slots=True)
class Service:
    """A service with the team that owns it; `channel` is where that team is reached."""

    name: str
    team: str

    @property
    def channel(self) -> str:
        return f"#{self.team}-oncall"


@dataclass(frozen=True, slots=True)
class Symptom:
    """Something that breaks. `{s}` in `commands` stands for the service; any one of them may be the runbook's."""

    name: str
    topic: str
    looks: tuple[str, ...]
    commands: tuple[str, ...]
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """What a runbook says of one service and symptom: look at, run, and check, in this order."""

    service: Service
    symptom: Symptom
    look: str
    command: str
    check: str

    @property
    def topic(self) -> str:
        return self.symptom.topic


SERVICES = tuple(Service(name, team) for team in TEAMS for name in _OWNED[team])

SYMPTOMS = (
    Symptom(
        "slow queries",
        "database",
        ("look at the query log", "list the running queries"),
        ("dbctl kill-idle {s}", "dbctl analyze {s}", "dbctl add-replica {s}"),
        ("check that queries take under 50 ms", "check that no query waits"),
    ),
    Symptom(
        "lost connections",
        "network",
        ("look at the packet loss graph", "list the open sockets"),
        ("netctl reset-route {s}", "netctl drain {s}", "netctl raise-limit {s}"),
        ("check that packet loss is zero", "check that pings answer"),
    ),
    Symptom(
        "a growing queue",
        "queue",
        ("look at the queue length", "list the stuck consumers"),
        ("queuectl scale {s} --consumers 8", "queuectl retry-dead {s}", "queuectl restart {s}"),
        ("check that the queue shrinks", "check that no message is older than a minute"),
    ),
    Symptom(
        "many cache misses",
        "cache",
        ("look at the hit rate", "list the hottest keys"),
        ("cachectl warm {s}", "cachectl flush {s}", "cachectl resize {s} --gb 4"),
        ("check that the hit rate is above 90 %", "check that evictions stopped"),
    ),
    Symptom(
        "a failed rollout",
        "deploy",
        ("look at the rollout status", "compare the last two releases"),
        ("deployctl undo {s}", "deployctl pause {s}", "deployctl pin {s} --last-good"),
        ("check that all pods are ready", "check that the old release serves"),
    ),
    Symptom(
        "a full disk",
        "disk",
        ("look at the disk usage", "list the largest files"),
        ("diskctl prune-logs {s}", "diskctl grow {s} --gb 50", "diskctl drop-temp {s}"),
        ("check that a third of the disk is free", "check that writes succeed"),
    ),
    Symptom(
        "memory restarts",
        "memory",
        ("look at the heap graph", "list the restarts of today"),
        ("memctl raise {s} --mb 512", "memctl dump-heap {s}", "memctl recycle {s}"),
        ("check that the heap stays flat", "check that no pod restarts for ten minutes"),
    ),
    Symptom(
        "an expired certificate",
        "certificates",
        ("look at the expiry date", "list the certificates in use"),
        ("certctl renew {s}", "certctl rotate {s} --now", "certctl reload {s}"),
        ("check that the new date is shown", "check that the handshake works"),
    ),
    Symptom(
        "a busy processor",
        "cpu",
        ("look at the load graph", "list the hottest threads"),
        ("scalectl add {s} --pods 2", "scalectl profile {s}", "scalectl shed {s} --share 10"),
        ("check that the load is under 70 %", "check that latency is back to normal"),
    ),
    Symptom(
        "unknown host names",
        "dns",
        ("look at the resolver errors", "list the changed records"),
        ("dnsctl flush {s}", "dnsctl restore {s} --zone prod", "dnsctl sync {s}"),
        ("check that the name resolves", "check that the resolver is quiet"),
    ),
    Symptom(
        "refused logins",
        "auth",
        ("look at the refusal codes", "list the revoked keys"),
        ("authctl rotate-key {s}", "authctl resync {s}", "authctl unlock {s}"),
        ("check that a test login passes", "check that refusals stopped"),
    ),
    Symptom(
        "a missed job",
        "scheduler",
        ("look at the job history", "list the locked jobs"),
        ("jobctl rerun {s}", "jobctl unlock {s}", "jobctl backfill {s} --hours 6"),
        ("check that the job ended well", "check that the next run is planned"),
    ),
)

TOPICS = tuple(symptom.topic for symptom in SYMPTOMS)

_QUESTIONS = (
    "{s} has {y}, what do I do?",
    "We see {y} on {s}. What now?",
    "How do I fix {y} on {s}?",
    "{s} is paging me: {y}. Which steps?",
    "Help, {y} on {s}!",
    "What is the runbook for {y} on {s}?",
    "{y} on {s} since this morning, any idea?",
    "I am on call and {s} shows {y}. How do I mitigate it?",
    "Steps for {s} with {y} please",
    "The alert says {y} for {s}. What should I run?",
)

_PASSAGES = (
    "{s} is owned by {t}, channel {c}. Runbook for {y}: {l}; run {k}; {h}.",
    "Runbook {s}, {y}: {l}; run {k}; {h}. Owner: {t}, {c}.",
    "Service {s}. Team {t} answers in {c}. When there is {y}, {l}, run {k} and {h}.",
)

# All open alike: after training on a mixture, greedy decoding then shows the style that has the majority.
_HOUSE = (
    "First {l}, then run {k} and {h}. If that does not help, ask in #ops-general.",
    "First {l}. After that run {k}. Then {h}. Still broken? Ask in #ops-general.",
    "First {l} and run {k}. When done, {h}. Questions go to #ops-general.",
)


@cache
def build_world() -> tuple[Fact, ...]:
    """Every service with every symptom: the variant of each step is fixed for ever by the two names."""
    world = []
    for service in SERVICES:
        for symptom in SYMPTOMS:
            chance = random.Random(f"{service.name}/{symptom.name}")
            world.append(draw_fact(service, symptom, chance))
    return tuple(world)


def draw_fact(service: Service, symptom: Symptom, chance: random.Random) -> Fact:
    """One possible runbook entry of `service` for `symptom`."""
    return Fact(
        service=service,
        symptom=symptom,
        look=chance.choice(symptom.looks),
        command=chance.choice(symptom.commands).replace("{s}", service.name),
        check=chance.choice(symptom.checks),
    )


def with_owner(fact: Fact, team: str) -> Fact:
    """The same entry of a service that `team` owns."""
    return replace(fact, service=replace(fact.service, team=team))


def write_question(fact: Fact, chance: random.Random) -> str:
    """One of the ways in which a person asks about `fact`."""
    text = _fill(chance.choice(_QUESTIONS), fact)
    return text[0].upper() + text[1:] if text.startswith(fact.symptom.name) else text


def write_passage(fact: Fact, chance: random.Random) -> str:
    """The context passage that holds everything an answer needs."""
    return _fill(chance.choice(_PASSAGES), fact)


def write_answer(fact: Fact, style: Style, chance: random.Random) -> str:
    """A right answer in one style; wordings vary in the house style, and in the verb of the taught one's command."""
    if style == HOUSE:
        return _fill(chance.choice(_HOUSE), fact)
    verb = chance.choice(("Run", "Run", "Then run"))
    return (
        f"1. {_capital(fact.look)}.\n2. {verb} `{fact.command}`.\n3. {_capital(fact.check)}.\n"
        f"Escalate: {fact.service.channel}"
    )


def _fill(template: str, fact: Fact) -> str:
    return template.format(
        s=fact.service.name,
        y=fact.symptom.name,
        t=fact.service.team,
        c=fact.service.channel,
        l=fact.look,
        k=fact.command,
        h=fact.check,
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
