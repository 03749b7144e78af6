"""How the router is: for people and alarms (`/healthz`), and for load balancers (`/readyz`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from router.access.callers import PUBLIC
from router.access.needs import needs
from router.control import State
from router.keeper.state import KeeperState
from router.log import LogState

health = APIRouter(tags=["health"], dependencies=[needs(PUBLIC)])


@health.get("/healthz")
async def get_health(state: State, request: Request) -> dict[str, Any]:
    """Always 200 while the router lives; `status` is starting, ready or degraded, and `reasons` say why."""
    workers = state.workers
    log = await state.ask_log()
    backends = {f"{backend.model.name}@{backend.model.version}": backend.state for backend in state.pool.all()}
    age_s = state.contact.age_s
    reasons = list_reasons(state, log)
    report = {
        "status": _judge(state, list(backends.values()), reasons),
        "reasons": reasons,
        "keeper": True,
        "workers": {
            "asked": workers.count if workers else 0,
            "serving": len(workers.serving) if workers else 0,
            "restarts": workers.restarts if workers else 0,
        },
        "replicas": state.rates.replicas,
        "backends": backends,
        "failures": {f"{name}@{version}": failure for (name, version), failure in state.pool.failures.items()},
        "breakers": {
            f"{backend.model.name}@{backend.model.version}": backend.model.breakers
            for backend in state.pool.all()
            if backend.model.breakers
        },
        "database": {
            "age_s": round(age_s, 3) if age_s != float("inf") else None,
            "control_only": state.routing.control_only,
        },
        "last_good": {"found": state.lastgood.found, "written": state.lastgood.written or None},
        "trouble": state.trouble,
        "log": asdict(log),
    }
    return request.app.state.blanks.blank_all(report)  # type: ignore[no-any-return]  # it needs no key


@health.get("/readyz", responses={503: {"model": dict[str, Any], "description": "not now, and why"}})
async def get_readiness(state: State, request: Request, response: Response) -> dict[str, Any]:
    """200 where a load balancer may send requests, 503 where it should not."""
    reason = find_unreadiness(state)
    if reason is not None:
        response.status_code = 503
    return {"ready": reason is None, "reason": reason and request.app.state.blanks.blank(reason)}


def list_reasons(state: KeeperState, log: LogState) -> list[str]:
    """Why not everything is as it should be."""
    reasons = list(state.troubles.values())
    if state.routing.control_only and state.loaded.is_set():
        reasons.append(f"the database is away for more than {state.contact.limit_s:g} s: nobody meets a treatment")
    reasons += [f"{name}@{version}: {failure}" for (name, version), failure in state.pool.failures.items()]
    for backend in state.pool.all():
        if backend.state not in ("ready", "starting"):
            reasons.append(f"{backend.model.name}@{backend.model.version} is {backend.state}")
        if backend.model.breakers:
            reasons.append(f"{backend.model.name}@{backend.model.version} fails in {backend.model.breakers} processes")
    workers = state.workers
    if workers is not None and len(workers.serving) < workers.count:
        reasons.append(f"{len(workers.serving)} of {workers.count} workers serve")
    if log.failing is not None:
        reasons.append(f"interactions wait to be written: {log.failing}")
    if log.trouble is not None:
        reasons.append(f"the log: {log.trouble}")
    if log.shedding:
        reasons.append(f"interactions are shed, {log.shed} since the start: neither database nor spool takes them")
    return reasons


def find_unreadiness(state: KeeperState) -> str | None:
    """Why no traffic should come here; None where it may."""
    if state.draining:
        return "the router is ending"
    if not state.loaded.is_set():
        return state.trouble or "starting"
    champions = [state.pool.get(route.name, route.champion) for route in state.routes.values()]
    if champions and not any(backend is not None and backend.state == "ready" for backend in champions):
        return "no champion of any model answers"
    return None


def _judge(state: KeeperState, backends: list[str], reasons: list[str]) -> str:
    if (not state.loaded.is_set() and not state.troubles) or "starting" in backends:
        return "starting"
    return "degraded" if reasons else "ready"
