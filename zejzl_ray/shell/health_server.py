"""Health of a service over HTTP on its own port: ``/healthz``, ``/readyz`` and ``/metrics``, nothing else."""

import asyncio
import contextlib
import hmac
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth

_START_TIMEOUT_S = 5.0
_PROBLEM = "application/problem+json"


def _problem(status: int, code: str, detail: str, **headers: str) -> JSONResponse:
    body = {"type": f"urn:zejzl:problem:{code}", "title": code, "status": status, "detail": detail, "code": code}
    return JSONResponse(body, status, headers, media_type=_PROBLEM)


def create_health_app(
    health: Callable[[], Awaitable[ServiceHealth]], *, token: SecretStr, registry: CollectorRegistry
) -> Starlette:
    """Return the ASGI application of one service's health port.

    ``/healthz`` is open to anybody; ``/readyz`` (503 while not ready, with the reasons) and ``/metrics`` (Prometheus
    text) want the bearer token.
    """
    ready = Gauge("zejzl_service_ready", "1 when the service can do its work", ["service"], registry=registry)
    epoch = Gauge("zejzl_service_epoch", "grows at every restart of the service", ["service"], registry=registry)
    expected = f"Bearer {token.get_secret_value()}".encode()

    def refusal(request: Request) -> Response | None:
        given = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(given, expected):
            return None
        return _problem(
            401, "unauthenticated", "This route wants the cluster's bearer token.", **{"WWW-Authenticate": "Bearer"}
        )

    async def healthz(request: Request) -> Response:
        return JSONResponse({"service": (await health()).service, "is_alive": True})

    async def readyz(request: Request) -> Response:
        refused = refusal(request)
        if refused is not None:
            return refused
        state = await health()
        return Response(
            state.model_dump_json(), 200 if state.is_ready else 503, media_type="application/json",
            headers={} if state.is_ready else {"Retry-After": "1"},
        )  # fmt: skip

    async def metrics(request: Request) -> Response:
        refused = refusal(request)
        if refused is not None:
            return refused
        state = await health()
        ready.labels(state.service).set(state.is_ready)
        epoch.labels(state.service).set(state.epoch)
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def not_found(request: Request, error: Exception) -> Response:
        return _problem(404, "not_found", "This port serves /healthz, /readyz and /metrics only.")

    async def wrong_method(request: Request, error: Exception) -> Response:
        return _problem(405, "method_not_allowed", "Use GET.", Allow="GET, HEAD")

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)],
        exception_handlers={404: not_found, 405: wrong_method},
    )


class HealthServer:
    """Serves the health application on one port, in the running event loop.

    A port that is taken does not keep the service from working: ``check`` says so.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one (see ``port``).
        token: the cluster's bearer token.
    """

    def __init__(self, host: str, port: int, token: SecretStr) -> None:
        self._host = host
        self.port = port
        self._token = token
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._check = Check(name="health_port", status=CheckStatus.DEGRADED, reason="not listening yet")

    def check(self) -> Check:
        """Return whether the port is served."""
        return self._check

    async def start(self, health: Callable[[], Awaitable[ServiceHealth]]) -> None:
        """Listen and serve until ``stop``; a port in use is reported by ``check``, not raised."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self.port))
        except OSError as error:
            listener.close()
            reason = f"cannot listen on {self._host}:{self.port}: {error.strerror}"
            self._check = Check(name="health_port", status=CheckStatus.DEGRADED, reason=reason)
            return
        self.port = listener.getsockname()[1]
        app = create_health_app(health, token=self._token, registry=CollectorRegistry())
        config = uvicorn.Config(
            app, lifespan="off", access_log=False, log_level="warning", limit_concurrency=64, timeout_keep_alive=5
        )
        self._server = uvicorn.Server(config)
        self._task = asyncio.get_running_loop().create_task(
            self._server.serve(sockets=[listener]), name="health-server"
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_TIMEOUT_S):
                while not self._server.started and not self._task.done():
                    await asyncio.sleep(0.01)
        self._check = Check(name="health_port", status=CheckStatus.OK)

    async def stop(self) -> None:
        """Close the port; safe to repeat."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task}, timeout=5)
            self._server = None
