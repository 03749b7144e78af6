"""Worlds of honest people and attacks on them, drawn from a seed: who would be hurt, and who should be found.

Honest people differ in activity (log-normal), taste and care: on one and the same answer 3 to 15 % of their votes go
against the majority, by world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from flytewheel.curation.abuse import Votes

WEEK_S = 7 * 86_400.0
START_S = 1_794_182_400.0  # Monday, 9 November 2026
HOUR_S = 3600.0
ATTACKERS = 1_000_000  # codes of colluders, their prompts and answers start here


@dataclass
class Log:
    """Reactions of a group of people; `guilty` is what an oracle would quarantine."""

    user: NDArray[np.int64]
    prompt: NDArray[np.int64]
    answer: NDArray[np.int64]
    sign: NDArray[np.int64]
    time_s: NDArray[np.float64]
    guilty: bool | NDArray[np.bool_] = False
    explicit: bool | NDArray[np.bool_] = True
    age_s: float | NDArray[np.float64] = np.nan
    comment: int | NDArray[np.int64] = -1


def gather(logs: Sequence[Log], rng: Generator) -> tuple[Votes, NDArray[np.bool_]]:
    """One window of several logs, its rows shuffled, and which rows are guilty."""

    def column(name: str, dtype: type) -> NDArray:  # type: ignore[type-arg]
        return np.concatenate([np.broadcast_to(getattr(log, name), log.user.shape) for log in logs]).astype(dtype)

    order = rng.permutation(sum(len(log.user) for log in logs))
    votes = Votes(
        user=column("user", np.int64),
        interaction=np.arange(len(order)),
        prompt=column("prompt", np.int64),
        answer=column("answer", np.int64),
        sign=column("sign", np.int8),
        explicit=column("explicit", bool),
        time_s=column("time_s", np.float64),
        account_age_s=column("age_s", np.float64),
        comment=column("comment", np.int64),
        released=np.zeros(len(order), dtype=bool),
    )
    return votes.take(order), column("guilty", bool)[order]


def judge(rng: Generator, answer: NDArray[np.int64], *, liked: float, dissent: float) -> NDArray[np.int64]:
    """Signs of honest votes: a share `liked` of answers is good, and so many votes go against what an answer is."""
    good = np.random.default_rng(7).random(1_000_003)[answer % 1_000_003] < liked
    return np.where(good ^ (rng.random(len(answer)) < dissent), 1, -1)


def spread(rng: Generator, count: NDArray[np.int64], *, span_s: float = WEEK_S) -> NDArray[np.float64]:
    """Times of people who come in sessions: one for every five votes, a vote every two minutes (log-normal)."""
    user = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    session = user * 100_000 + place // 5
    _, index = np.unique(session, return_inverse=True)
    begin = rng.random(index.max() + 1) * max(span_s - HOUR_S / 2, 1.0)
    gaps = rng.lognormal(np.log(90), 0.8, len(user))
    walked = np.cumsum(gaps)
    firsts = np.flatnonzero(np.diff(index, prepend=-1))
    offset = np.repeat(walked[firsts], np.diff(firsts, append=len(index)))
    return np.asarray(START_S + begin[index] + walked - offset)


def people(
    rng: Generator, users: int, *, mean: float = 8.0, popular: float = 0.2, liked: float = 0.65, dissent: float = 0.1
) -> Log:
    """Everyday use: a share of questions are popular ones (300, by Zipf's law), the others are one's own."""
    count = np.maximum(1, rng.lognormal(np.log(mean) - 0.5, 1.0, users).astype(np.int64))
    count = np.minimum(count, 200)
    user = np.repeat(np.arange(users), count)
    zipf = 1 / np.arange(1, 301)
    shared = rng.random(len(user)) < popular
    own = 10_000 + np.arange(len(user))
    prompt = np.where(shared, rng.choice(300, len(user), p=zipf / zipf.sum()), own)
    answer = prompt * 4 + np.where(shared, rng.integers(0, 3, len(user)), 0)
    sign = judge(rng, answer, liked=liked, dissent=dissent)
    observed = rng.random(len(user)) < 0.3
    return Log(
        user, prompt, answer, np.where(observed, 0, sign), spread(rng, count), explicit=~observed,
        age_s=np.repeat(rng.exponential(90 * 86_400.0, users), count),
        comment=np.where(rng.random(len(user)) < 0.1, rng.integers(0, 40, len(user)), -1),
    )  # fmt: skip


def launch(rng: Generator, users: int, *, questions: int = 20) -> Log:
    """A launch day: new people ask popular questions, whose answers are cached; nearly everybody likes them."""
    count = np.minimum(1 + rng.geometric(0.3, users), questions)
    user = np.repeat(np.arange(users), count)
    zipf = 1 / np.arange(1, questions + 1)
    prompt = 2_000_000 + rng.choice(questions, len(user), p=zipf / zipf.sum())
    time_s = START_S + 2 * 86_400 + np.repeat(rng.gamma(4.0, 2.5 * HOUR_S, users), count)
    time_s += rng.exponential(240.0, len(user)).cumsum() % HOUR_S
    sign = np.where(rng.random(len(user)) < 0.93, 1, -1)
    return Log(200_000 + user, prompt, prompt * 4, sign, time_s, age_s=rng.exponential(HOUR_S, len(user)))


def classroom(
    rng: Generator, students: int, *, rate: float = 0.7, dissent: float = 0.07, answers: int = 1, liked: float = 0.85
) -> Log:
    """Students work through the same 30 questions within an hour; `rate` of the answers get a vote."""
    user = np.repeat(np.arange(students), 30)
    question = np.tile(np.arange(30), students)
    prompt = 3_000_000 + question
    answer = prompt * 8 + rng.integers(0, answers, len(user))
    pace = rng.lognormal(np.log(110), 0.15, students)[user]
    time_s = START_S + 3 * 86_400 + 36_000 + question * pace + rng.exponential(40.0, len(user))
    kept = rng.random(len(user)) < rate
    sign = judge(rng, answer, liked=liked, dissent=dissent)
    log = Log(300_000 + user, prompt, answer, sign, time_s, age_s=HOUR_S)
    return Log(log.user[kept], prompt[kept], answer[kept], sign[kept], time_s[kept], age_s=HOUR_S)


def departments(rng: Generator, users: int) -> Log:
    """Teams of 40, each with 40 questions of its own: people judge ten of them, and agree but for 6 %."""
    user = np.repeat(np.arange(users), 10)
    prompt = 4_000_000 + (user // 40) * 40 + rng.integers(0, 40, len(user))
    sign = judge(rng, prompt, liked=0.7, dissent=0.06)
    return Log(400_000 + user, prompt, prompt * 4, sign, spread(rng, np.full(users, 10)))


def power(rng: Generator, users: int) -> Log:
    """Two hundred genuine votes a week."""
    user = np.repeat(np.arange(users), 200)
    prompt = 5_000_000 + np.arange(len(user))
    sign = judge(rng, prompt, liked=0.65, dissent=0.1)
    return Log(500_000 + user, prompt, prompt * 4, sign, spread(rng, np.full(users, 200)))


def outage(rng: Generator, users: int, *, known: float = 0.4) -> Log:
    """Everybody asks about the failure within the hour and gets the same wrong answer; some were users before."""
    voters = np.where(rng.random(users) < known, rng.choice(450, users, replace=False), 600_000 + np.arange(users))
    prompt = np.full(users, 6_000_000)
    time_s = START_S + 4 * 86_400 + rng.random(users) * HOUR_S
    return Log(voters, prompt, prompt * 4, np.where(rng.random(users) < 0.98, -1, 1), time_s)


def campaign(
    rng: Generator, users: int, votes: int, *, span_s: float, targets: int | None = None, sign: int = -1,
    variants: int = 1, noise: float = 0.0, theirs: bool = False, start_s: float | None = None,
) -> Log:  # fmt: skip
    """Colluders who vote the same way on `targets` prompts (as many as their votes, unless fewer or more are given).

    `variants` answers to each prompt; `noise` of their votes go the other way; `theirs`: on the popular questions of
    honest `people`.
    """
    pool = targets or votes
    user = np.repeat(np.arange(users), votes)
    if pool >= votes:
        chosen = np.argsort(rng.random((users, pool)), axis=1)[:, :votes].ravel()
    else:
        chosen = np.tile(np.arange(votes) % pool, users)
    prompt = chosen if theirs else ATTACKERS * 9 + chosen
    answer = (
        prompt * 4 + rng.integers(0, 3, len(user)) if theirs else prompt * 64 + rng.integers(0, variants, len(user))
    )
    begin = START_S + rng.random() * (WEEK_S - span_s) if start_s is None else start_s
    time_s = begin + rng.random(len(user)) * span_s
    signs = np.where(rng.random(len(user)) < noise, -sign, sign)
    return Log(ATTACKERS + user, prompt, answer, signs, time_s, guilty=True, age_s=HOUR_S)


def scripted(rng: Generator, users: int, votes: int, *, jitter_s: float = 2.0) -> Log:
    """Accounts that fire at the same random moments of a day, each on prompts of its own, up and down."""
    user = np.repeat(np.arange(users), votes)
    moments = np.sort(rng.random(votes)) * 86_400.0
    time_s = START_S + 86_400 + np.tile(moments, users) + rng.uniform(-jitter_s, jitter_s, len(user))
    prompt = ATTACKERS * 9 + np.arange(len(user))
    return Log(ATTACKERS + user, prompt, prompt * 4, rng.choice([-1, 1], len(user)), time_s, guilty=True)


def fresh(rng: Generator, users: int, votes: int, *, sign: int = -1) -> Log:
    """Accounts that live for an hour, each at its own time of the week and on prompts of its own."""
    user = np.repeat(np.arange(users), votes)
    time_s = START_S + np.repeat(rng.random(users) * (WEEK_S - HOUR_S), votes) + rng.random(len(user)) * HOUR_S
    prompt = ATTACKERS * 9 + np.arange(len(user))
    return Log(ATTACKERS + user, prompt, prompt * 4, np.full(len(user), sign), time_s, guilty=True, age_s=600.0)


def pasted(rng: Generator, users: int, votes: int, *, texts: int = 1) -> Log:
    """Accounts that paste the same `texts` on prompts of their own over the week."""
    user = np.repeat(np.arange(users), votes)
    prompt = ATTACKERS * 9 + np.arange(len(user))
    comment = ATTACKERS + np.tile(np.arange(votes) % texts, users)
    time_s = START_S + rng.random(len(user)) * WEEK_S
    return Log(ATTACKERS + user, prompt, prompt * 4, np.full(len(user), -1), time_s, guilty=True, comment=comment)


def contrary(rng: Generator, users: int, votes: int) -> Log:
    """Accounts that contradict honest users on popular questions, each on its own choice of 900 answers."""
    user = np.repeat(np.arange(users), votes)
    answer = np.argsort(rng.random((users, 900)), axis=1)[:, :votes].ravel()
    prompt = answer // 3
    answer = prompt * 4 + answer % 3
    honest = judge(rng, answer, liked=0.65, dissent=0.0)
    time_s = START_S + rng.random(len(user)) * WEEK_S
    return Log(ATTACKERS + user, prompt, answer, -honest, time_s, guilty=True)


def throwaway(rng: Generator, users: int, *, sign: int = -1, span_s: float = 1200.0) -> Log:
    """Accounts with one vote each on one answer that nobody else asks for."""
    prompt = np.full(users, ATTACKERS * 9)
    time_s = START_S + 5 * 86_400 + rng.random(users) * span_s
    return Log(ATTACKERS + np.arange(users), prompt, prompt * 4, np.full(users, sign), time_s, guilty=True)


def camouflage(rng: Generator, attack: Log, *, share: float = 0.5, per_vote: float = 1.0) -> Log:
    """Everyday votes by a share of an attack's accounts, `per_vote` for each vote of theirs; not counted as guilty."""
    accounts = np.unique(attack.user)
    hidden = accounts[: int(share * len(accounts))]
    each = int(per_vote * len(attack.user) / len(accounts))
    log = people(rng, len(hidden), mean=each)
    count = np.full(len(hidden), each)
    user = np.repeat(hidden, each)
    rows = rng.integers(0, len(log.user), len(user))
    prompt = np.where(log.prompt[rows] < 300, log.prompt[rows], 7_000_000 + np.arange(len(user)))
    return Log(user, prompt, prompt * 4 + 1, rng.choice([-1, 1], len(user)), spread(rng, count))
