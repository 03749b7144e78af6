"""What is remembered: interactions and feedback events, on their way from a worker to PostgreSQL. Nothing is lost by a
database that is away or a worker that is killed.

Each worker process opens one `Log` inside its event loop. To the proxy it is

    log.expect(interaction_id)              # an answer begins; `settled` waits for its row from now on
    log.put(record, source) -> bool         # the row: a plain dict of Interaction's fields; false: shed or refused
    log.forget(interaction_id)              # no answer began, no row will come

`record` has the names of `flytewheel.records.Interaction`: `interaction_id`, `user_id`, `query`, `response` as text,
`timestamp` an aware datetime in UTC, `history` a sequence of `{"role", "content"}` or `Message`, `metadata` a dict of
JSON values; what is None or missing is left out. It is encoded at once, so it may be changed afterwards.

and to feedback

    row = encode_event(fields, proven=...)  # fields of FeedbackEvent, checked; FeedbackError says what is wrong
    outcomes = await log.store_events(rows) # one for each: stored | duplicate | conflict | unknown
    await log.settled(interaction_id, timeout_s)

`store_events` returns when the events are committed, or lie fsynced in the spool: where the database is away, or where
the interaction is not in the database yet and `proven` says that it exists (a receipt was checked; `user_id` is the
receipt's then). `LogFullError` is raised where neither can be had: answer 503. `unknown`: no such interaction and no
proof of it. `conflict`: the id stands for another body, answer 409; or PostgreSQL can never hold it, and it is in
quarantine.
"""

from router.log.events import EventRow as EventRow
from router.log.events import encode_event as encode_event
from router.log.log import Log as Log
from router.log.log import LogState as LogState
from router.log.log import open_log as open_log
from router.log.outcomes import LogFullError as LogFullError
from router.log.outcomes import Outcome as Outcome

__all__ = ["EventRow", "Log", "LogFullError", "LogState", "Outcome", "encode_event", "open_log"]
