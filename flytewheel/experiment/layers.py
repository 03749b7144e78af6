"""Decides whether a user is in an experiment at all, before any arm is drawn: layers, exclusion groups, the holdout.

- **Layers.** Every experiment shuffles its users anew, since its own id salts the draw (assign.py): experiments on
  different models are layers over the same people, and independent. On one model one experiment runs at a time.
- **Exclusion groups.** Experiments whose effects would mix name a group. Its users lie in 1,000 slots, by a draw that
  the group's name salts; each experiment owns slots of its own from its opening to its end, so a user is in at most
  one, and nobody changes place when others begin or end. Whoever is in no slot of an experiment meets the champion, and
  counts for nothing. Inside its slots the experiment draws arms as ever.
- **Holdout.** A share of all users, by a draw of its own that only adds users as it grows, and a list of users: they
  meet champions only. What holds is what held when the experiment was opened, so that nobody leaves one that runs. The
  list keeps SHA-256 of the ids, as they are compared.

In PostgreSQL the same is `meets_experiment` (migrations/), in Polars `meets_column`. After Tang, Agarwal, O'Brien and
Meyer 2010, "Overlapping Experiment Infrastructure: More, Better, Faster Experimentation".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flytewheel.database import Connection, connect
from flytewheel.errors import ExperimentError
from flytewheel.experiment.assign import draw_unit
from flytewheel.records import canonical_json

if TYPE_CHECKING:
    import polars

SLOTS = 1000
_GROUP, _HOLDOUT = "group:", "holdout"  # salts; an experiment's begins with "exp-"
_LONGEST = 100

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """Who may meet an experiment: `slots` are ranges [from, to) of the group's, `held_out` SHA-256 of ids in hex."""

    group: str = ""
    slots: tuple[Range, ...] = ()
    holdout_share: float = 0.0
    held_out: frozenset[str] = frozenset()

    def admits(self, key: bytes, user_id: str) -> bool:
        """Whether a user is in the experiment."""
        if self.holdout_share > 0 and draw_unit(key, _HOLDOUT, user_id) < self.holdout_share:
            return False
        if self.held_out and digest_user(user_id) in self.held_out:
            return False
        if not self.group:
            return True
        slot = draw_slot(key, self.group, user_id)
        return any(low <= slot < high for low, high in self.slots)

    def to_json(self) -> dict[str, Any]:
        """What the table keeps; empty where everybody may meet the experiment."""
        told: dict[str, Any] = {}
        if self.group:
            told |= {"group": self.group, "slots": [list(each) for each in self.slots]}
        if self.holdout_share > 0:
            told["holdout_share"] = self.holdout_share
        if self.held_out:
            told["held_out"] = sorted(self.held_out)
        return told


OPEN = Layer()


def read_layer(stored: Mapping[str, Any]) -> Layer:
    """A layer as the table has it."""
    return Layer(
        str(stored.get("group") or ""),
        tuple((int(low), int(high)) for low, high in stored.get("slots") or ()),
        float(stored.get("holdout_share") or 0.0),
        frozenset(stored.get("held_out") or ()),
    )


def draw_slot(key: bytes, group: str, user_id: str) -> int:
    """The user's slot in a group, in [0, 1000)."""
    return int(draw_unit(key, _GROUP + group, user_id) * SLOTS)


def digest_user(user_id: str) -> str:
    """What the holdout's list keeps of a user."""
    return hashlib.sha256(user_id.encode()).hexdigest()


def meets_column(users: polars.Expr, *, key: bytes, layer: Layer) -> polars.Expr:
    """`Layer.admits` of a column of user ids, as Polars' Boolean; null where the user is."""
    import polars as pl

    return users.map_elements(lambda user: layer.admits(key, user), return_dtype=pl.Boolean, skip_nulls=True)


# ------------------------------------------------------------------------------------------------------------ opening


def check_asked(body: Mapping[str, Any]) -> tuple[str, int]:
    """The group that a launch's body asks for, empty for none, and how many of its slots.

    Raises:
        ExperimentError: it is no name, or the share is outside (0, 1].
    """
    group, share = body.get("exclusion_group") or "", body.get("group_share", 1.0)
    if not isinstance(group, str) or len(group) > _LONGEST or "\0" in group:
        raise ExperimentError(f"exclusion_group {str(group)[:100]!r}: expected a name of at most {_LONGEST} characters")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ExperimentError(f"group_share {share!r}: expected a part of the group's users, above 0 and at most 1")
    return group, max(1, round(share * SLOTS)) if group else 0


def begin_layer(connection: Connection, experiment_id: str, body: Mapping[str, Any]) -> None:
    """Gives an experiment that opens its slots, and the holdout as it is now; both stay until it ends.

    Raises:
        ExperimentError: the group has too few free slots; the transaction must be given up.
    """
    group, wanted = check_asked(body)
    holdout = read_holdout(connection)
    slots: tuple[Range, ...] = ()
    if group:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (_GROUP + group,))
        rows = connection.execute(
            "SELECT layer, experiment_id, name FROM experiments WHERE state IN ('running', 'holdback')"
            " AND layer ->> 'group' = %s AND experiment_id <> %s",
            (group, experiment_id),
        ).fetchall()
        taken = [each for row in rows for each in read_layer(row[0]).slots]
        slots = choose_slots(taken, wanted)
        if not slots:
            free = SLOTS - sum(high - low for low, high in taken)
            owners = ", ".join(f"{row[1]} on {row[2]}" for row in rows)
            raise ExperimentError(
                f"exclusion group {group!r} has {free} of {SLOTS} slots free, {wanted} are asked for; the others are"
                f" those of {owners}: stop one of these, or ask for a smaller ab_testing.group_share"
            )
    layer = Layer(group, slots, holdout.share, holdout.users)
    connection.execute(
        "UPDATE experiments SET layer = %s WHERE experiment_id = %s",
        (canonical_json(layer.to_json()).decode(), experiment_id),
    )


def choose_slots(taken: Iterable[Range], wanted: int) -> tuple[Range, ...]:
    """The lowest free slots, as ranges; none where there are too few."""
    chosen: list[Range] = []
    at, left = 0, wanted
    for low, high in [*sorted(taken), (SLOTS, SLOTS)]:
        if low > at and left:
            size = min(low - at, left)
            chosen.append((at, at + size))
            left -= size
        at = max(at, high)
    return () if left else tuple(chosen)


# ------------------------------------------------------------------------------------------------------------ holdout


@dataclass(frozen=True, slots=True)
class Holdout:
    """Users whom no experiment may have: a share of all, and a list (SHA-256 of their ids)."""

    share: float = 0.0
    users: frozenset[str] = frozenset()


def read_holdout(connection: Connection) -> Holdout:
    """The holdout as it is now."""
    row = connection.execute("SELECT share FROM holdout").fetchone()
    users = connection.execute("SELECT user_digest FROM holdout_users").fetchall()
    return Holdout(0.0 if row is None else row[0], frozenset(each[0] for each in users))


def change_holdout(
    database_url: str, *, share: float | None = None, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> Holdout:
    """Changes the holdout of experiments that will be opened; those that run keep theirs. Returns what it is now.

    Raises:
        ExperimentError: the share is outside [0, 1), or an id is empty.
        DatabaseError: PostgreSQL is away.
    """
    if share is not None and not (math.isfinite(share) and 0 <= share < 1):
        raise ExperimentError(f"holdout share {share!r}: expected a part of the users, at least 0 and below 1")
    added, removed = ([*ids] for ids in (add, remove))
    if "" in (*added, *removed):
        raise ExperimentError("a user of the holdout has an empty id: leave out empty lines")
    with connect(database_url) as connection:
        if share is not None:
            connection.execute(
                "INSERT INTO holdout (share) VALUES (%s) ON CONFLICT (one) DO UPDATE SET share = excluded.share",
                (share,),
            )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO holdout_users (user_digest) VALUES (%s) ON CONFLICT DO NOTHING",
                [(digest_user(user),) for user in added],
            )
            cursor.executemany(
                "DELETE FROM holdout_users WHERE user_digest = %s", [(digest_user(user),) for user in removed]
            )
        return read_holdout(connection)
