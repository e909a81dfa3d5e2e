"""Which route answered a request: its template, such as ``/events/{id}``, for logs, traces and metrics.

A path may hold anything a client likes; a template is one of few. What no route took has none.

Belongs here: reading that out of what FastAPI left in the scope.
Does not belong here: routes.
"""

from typing import Any

from .headers import Scope

ROUTE = "wotr.route"
"""In the scope: the template, from whoever answers without FastAPI's router."""
_PROBES = ("/health", "/metrics", "/static/")


def route_of(scope: Scope) -> str | None:
    """The template of the route that took the request; only once it was answered."""
    if ROUTE in scope:
        return str(scope[ROUTE])
    route = scope.get("route")
    root = str(scope.get("root_path", "")).rstrip("/")
    if route is None:
        # Of a mount FastAPI leaves only this behind.
        return (root or "/") if "app_root_path" in scope else None
    # A route of a router that was included with a prefix knows only its own part.
    included: Any = scope.get("fastapi", {}).get("effective_route_context")
    template = getattr(included, "path_format", None) or getattr(route, "path_format", None)
    return f"{root}{template}" if template else None


def is_probe(scope: Scope) -> bool:
    """Whether a machine looks in every few seconds, or a page fetches its parts: of no interest one by one."""
    return str(scope["path"]).startswith(_PROBES)
