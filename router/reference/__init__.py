"""The reference design's API under `/api`, on the same functions as the control API; and the pages that describe all.

`experiments` lists, creates, starts, stops and counts; `users` says who meets which arm; `learning` says where small
and full turns stand, and asks for one; `described` and `pages` are `/openapi.json`, `/docs` and `/redoc`.
"""

from __future__ import annotations

from fastapi import APIRouter

from router.reference.experiments import experiments
from router.reference.learning import learning
from router.reference.users import users

reference = APIRouter()
for part in (experiments, users, learning):
    reference.include_router(part)

__all__ = ["reference"]
