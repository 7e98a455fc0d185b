"""Health of a service over HTTP on its own port: ``/healthz``, ``/readyz`` and ``/metrics``, nothing else."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator

import uvicorn
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.contracts.problems import PROBLEM_MEDIA_TYPE, problem_of, retry_after_of, wire_status
from zejzl_ray.errors import NotFound, Unauthenticated, ZejzlError

_START_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 5.0

# What may be asked here, and who asks, as the Authorization header says; raises when the caller may not.
Admit = Callable[[str, bytes | None], Awaitable[None]]


def _refused(error: ZejzlError) -> Response:
    status = wire_status(error)
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="zejzl"'
    retry_after_s = retry_after_of(error)
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    body = problem_of(error).model_dump_json()
    return Response(body, status.http, headers, media_type=PROBLEM_MEDIA_TYPE)


def create_health_app(
    health: Callable[[], Awaitable[ServiceHealth]], *, admit: Admit, registry: CollectorRegistry
) -> Starlette:
    """Return the ASGI application of one service's health port.

    ``/healthz`` is open to anybody; ``/readyz`` (503 while not ready, with the reasons) wants what the operation
    ``health`` wants, and ``/metrics`` (Prometheus text) what ``metrics`` wants.
    """
    ready = Gauge("zejzl_service_ready", "1 when the service can do its work", ["service"], registry=registry)
    epoch = Gauge(
        "zejzl_service_epoch", "grows at every restart of the service", ["service"], registry=registry
    )

    async def healthz(request: Request) -> Response:
        return JSONResponse({"service": (await health()).service, "is_alive": True})

    async def readyz(request: Request) -> Response:
        await admit("health", _authorization(request))
        state = await health()
        return Response(
            state.model_dump_json(), 200 if state.is_ready else 503, media_type="application/json",
            headers={} if state.is_ready else {"Retry-After": "1"},
        )  # fmt: skip

    async def metrics(request: Request) -> Response:
        await admit("metrics", _authorization(request))
        state = await health()
        ready.labels(state.service).set(state.is_ready)
        epoch.labels(state.service).set(state.epoch)
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, ZejzlError)
        return _refused(error)

    async def not_found(request: Request, error: Exception) -> Response:
        return _refused(NotFound("This port serves /healthz, /readyz and /metrics only."))

    async def wrong_method(request: Request, error: Exception) -> Response:
        problem = problem_of(NotFound("Only GET is answered here.", "Use GET.")).model_copy(
            update={"status": 405, "code": "method_not_allowed", "title": "Method not allowed"}
        )
        return Response(problem.model_dump_json(), 405, {"Allow": "GET, HEAD"}, media_type=PROBLEM_MEDIA_TYPE)

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)],
        exception_handlers={404: not_found, 405: wrong_method, ZejzlError: refuse},
    )


def _authorization(request: Request) -> bytes | None:
    given = request.headers.get("authorization")
    return None if given is None else given.encode("latin-1")


class _Server(uvicorn.Server):
    """uvicorn, but it tells when it listens, and the signals of the process stay with the process."""

    def __init__(self, config: uvicorn.Config, is_up: Callable[[], None]) -> None:
        super().__init__(config)
        self._is_up = is_up

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._is_up()


class HealthServer:
    """Serves the health application on one port, in the running event loop.

    A port that is taken does not keep the service from working: ``check`` says so, and the port is tried again.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one (see ``port``).
        admit: decides whether a caller may ask; takes ``health`` or ``metrics`` and the header.
        retry_s: time between two tries.
        drain_s: how long a request may still take after ``stop``.
        collector: figures of the service for ``/metrics``; None: it has none of its own.
    """

    def __init__(
        self,
        host: str,
        port: int,
        admit: Admit,
        *,
        retry_s: float = 2.0,
        drain_s: int = 2,
        collector: Collector | None = None,
    ) -> None:
        self._host = host
        self.port = port
        self._admit = admit
        self._retry_s = retry_s
        self._drain_s = drain_s
        self._collector = collector
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._stopping = asyncio.Event()
        self._reason = "not listening yet"

    def check(self) -> Check:
        """Return whether the port is served."""
        if not self._reason:
            return Check(name="health_port", status=CheckStatus.OK)
        return Check(name="health_port", status=CheckStatus.DEGRADED, reason=self._reason)

    async def start(self, health: Callable[[], Awaitable[ServiceHealth]]) -> None:
        """Listen and serve until ``stop``; a port in use is reported by ``check``, not raised.

        Returns after the first try.
        """
        self._task = asyncio.get_running_loop().create_task(self._keep_serving(health), name="health-server")
        await self._wait_for(self._tried, _START_TIMEOUT_S)

    async def stop(self) -> None:
        """Close the port; safe to repeat."""
        self._stopping.set()
        if self._task is None:
            return
        await self._wait_for(self._tried, _START_TIMEOUT_S)
        if self._server is not None:
            self._server.should_exit = True
        await asyncio.wait({self._task}, timeout=self._drain_s + _STOP_TIMEOUT_S)

    async def _keep_serving(self, health: Callable[[], Awaitable[ServiceHealth]]) -> None:
        registry = CollectorRegistry()
        if self._collector is not None:
            registry.register(self._collector)
        app = create_health_app(health, admit=self._admit, registry=registry)
        while not self._stopping.is_set():
            try:
                with self._listen() as listener:
                    await self._serve(app, listener)
                self._reason = "not listening any more"
            except OSError as error:
                self._reason = f"cannot listen on {self._host}:{self.port}: {error.strerror}"
            finally:
                self._server = None
                self._tried.set()
            await self._wait_for(self._stopping, self._retry_s)

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self.port))
            listener.listen()
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        return listener

    async def _serve(self, app: Starlette, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_config=None,  # how this process logs is not the server's business
            limit_concurrency=64,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=self._drain_s,
        )
        self._server = _Server(config, self._is_up)
        await self._server.serve(sockets=[listener])

    def _is_up(self) -> None:
        self._reason = ""
        self._tried.set()

    @staticmethod
    async def _wait_for(event: asyncio.Event, limit_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await event.wait()
