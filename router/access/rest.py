"""What FastAPI serves, as the front door sees it: path, methods, and the scope that each route declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from re import Pattern
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path

from router.access.needs import read_need
from router.asgi import Scope


@dataclass(frozen=True, slots=True)
class RestRoute:
    """One route. `scope` is None where it declares none; a mounted application takes every method."""

    path: str
    methods: frozenset[str]
    scope: str | None
    pattern: Pattern[str]

    def takes(self, method: str) -> bool:
        """Whether the route serves this method."""
        return method in self.methods or "*" in self.methods


def survey(app: Any, declared: Mapping[str, str]) -> tuple[RestRoute, ...]:
    """All routes of an application in its own order; `declared` says the scope of those that cannot."""
    return tuple(_describe(context, declared) for context in iter_route_contexts(app.routes))


def find_route(routes: Iterable[RestRoute], scope: Scope) -> tuple[RestRoute | None, set[str]]:
    """The first route that takes a request; and, where none does, the methods that its path is served with."""
    allowed: set[str] = set()
    for route in routes:
        if route.pattern.match(scope["path"]):
            if route.takes(scope["method"]):
                return route, set()
            allowed |= route.methods
    return None, allowed


def _describe(context: Any, declared: Mapping[str, str]) -> RestRoute:
    path: str = context.path or ""
    methods = context.methods
    mounted = methods is None
    pattern, _, _ = compile_path(f"{path}/{{path:path}}" if mounted else path)
    scope = declared.get(path) or read_need(getattr(context, "dependencies", ()))
    return RestRoute(path, frozenset(methods or ("*",)), scope, pattern)
