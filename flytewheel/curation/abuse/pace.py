"""What no person does with one account: too many votes for the time, or votes like clockwork.

Reading an answer of 60 words takes 15 s at 240 words a minute (Brysbaert 2019), so 20 judged answers a minute are not
read, nor 300 a day; people who label for a living reach a few hundred. The row caps hold independently of this.
"""

from __future__ import annotations

import numpy as np

from flytewheel.curation.abuse.reactions import Ints, Mask, Votes, find_clock_step, find_runs, number_codes, slide
from flytewheel.recipe.curation import AbuseSpec

DAY_S = 86_400.0
CLOCKWORK_GAPS = 20  # gaps in a row that are equal …
CLOCKWORK_JITTER = 0.02  # … to within this share of themselves, or to a second
CLOCKWORK_MOST = 0.5  # where more of the accounts are so regular, the log's clock is (simulations, imports)
WHOLE_ACCOUNT = 0.5  # from this share of its votes on, everything of an account goes


def find_bursts(votes: Votes, spec: AbuseSpec) -> Mask:
    """Votes beyond a person's pace; all reactions of an account of which they are the half."""
    return _mark(votes, spec.burst_events, spec.burst_s)


def find_floods(votes: Votes, spec: AbuseSpec) -> Mask:
    """The same over a day."""
    return _mark(votes, spec.daily_events, DAY_S)


def find_clockwork(votes: Votes, spec: AbuseSpec) -> Mask:
    """Votes in long runs of equal gaps.

    Twenty gaps in a row within 2 % of one another have a chance below 1e-20 under gaps that scatter as people's do
    (coefficient of variation near 1).
    """
    if not spec.burst_events or find_clock_step(votes) > 1:
        return np.zeros(len(votes), dtype=bool)
    rows, starts, lengths, user = _sort_by_time(votes)
    gaps = np.diff(votes.time_s[rows], prepend=0.0)
    equal = np.abs(np.diff(gaps, prepend=0.0)) <= np.maximum(1.0, CLOCKWORK_JITTER * gaps)
    place = np.arange(len(rows)) - np.repeat(starts, lengths)
    equal &= (place >= 2) & (gaps > 0)  # the first gap of an account belongs to two accounts
    broken = np.cumsum(~equal)
    _, run_lengths = find_runs(broken)
    regular = equal & np.repeat(run_lengths - 1 >= CLOCKWORK_GAPS - 1, run_lengths)
    able = int(np.sum(lengths > CLOCKWORK_GAPS))
    guilty = len(np.unique(user[regular]))
    if able >= spec.brigade_users and guilty > CLOCKWORK_MOST * able and able > 1:
        return np.zeros(len(votes), dtype=bool)
    return _spread(votes, rows, regular)


def find_young(votes: Votes, spec: AbuseSpec) -> Mask:
    """Reactions of accounts younger than the stated age; where the age is not known, none."""
    return np.nan_to_num(votes.account_age_s, nan=np.inf) < spec.min_account_age_s


def _mark(votes: Votes, events: int, seconds: float) -> Mask:
    if not events or find_clock_step(votes) > seconds / 2:
        return np.zeros(len(votes), dtype=bool)
    rows, starts, lengths, _ = _sort_by_time(votes)
    return _spread(votes, rows, slide(votes.time_s[rows], starts, lengths, events=events, seconds=seconds))


def _sort_by_time(votes: Votes) -> tuple[Ints, Ints, Ints, Ints]:
    """Explicit votes by account and time: rows, starts and lengths of the accounts, and the account of each row."""
    rows = np.flatnonzero(votes.explicit & np.isfinite(votes.time_s))
    rows = rows[np.lexsort((votes.time_s[rows], votes.user[rows]))]
    user = votes.user[rows]
    return rows, *find_runs(user), user


def _spread(votes: Votes, rows: Ints, hit: Mask) -> Mask:
    """Marks the votes hit, and everything of the accounts of which they are the half."""
    user, count = number_codes(votes.user)
    guilty = np.bincount(user[rows[hit]], minlength=count)
    said = np.bincount(user[votes.explicit], minlength=count)
    marked = ((guilty > 0) & (guilty >= WHOLE_ACCOUNT * said))[user]
    marked[rows[hit]] = True
    return marked
