"""Counts and times of requests, by route template, so that names in paths do not become labels."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_apps.middleware.request_scope import request_scope_of

_BUCKETS_S: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class RequestMetrics:
    """The request metrics of one application; bounded: method, route template and status are all finite."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "zejzl_http_requests", "Finished requests.", ("method", "route", "status"), registry=registry
        )
        self._durations = Histogram(
            "zejzl_http_request_duration_seconds",
            "Time from the request's head to the end of the answer; streams count whole.",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=registry,
        )
        # (method, route, status) -> its two children: looking labels up costs more than counting
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one finished request; ``status`` 0 (the client went away first) is counted as 499."""
        key = (method if method in _METHODS else "other", route, status or 499)
        children = self._children.get(key)
        if children is None:
            children = (
                self._requests.labels(key[0], route, str(key[2])),
                self._durations.labels(key[0], route),
            )
            self._children[key] = children
        children[0].inc()
        children[1].observe(duration_s)


class MeasureMiddleware:
    """Measures every request, whatever became of it."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the rest of the application and count the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        try:
            await self._app(scope, receive, send)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.observe(
                scope["method"], route, request_scope_of(scope).status, time.perf_counter() - started_s
            )
