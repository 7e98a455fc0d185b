"""The HTTP application. Runs without Serve and without Ray: everything that it needs is handed in."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException as FastApiHttpException
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from serve_apps.agent_hosts import host_locator
from serve_apps.config import IngressConfig
from serve_apps.door import Door
from serve_apps.endpoint import CallEndpoint, Endpoint
from serve_apps.guarded import Guarded
from serve_apps.middleware.authentication import AuthenticationMiddleware, public_routes
from serve_apps.middleware.body_limit import BodyLimitMiddleware
from serve_apps.middleware.errors import ErrorsMiddleware
from serve_apps.middleware.measure import MeasureMiddleware, RequestMetrics
from serve_apps.middleware.request_scope import RequestScope, RequestScopeMiddleware
from serve_apps.openapi import install_openapi
from serve_apps.probes import (
    ApiDocumentEndpoint,
    HealthzEndpoint,
    Liveness,
    MetricsEndpoint,
    Readiness,
    ReadyzEndpoint,
)
from serve_apps.reads import (
    FleetView,
    GetAgentEndpoint,
    GetFleetEndpoint,
    GetMachineEndpoint,
    ListAgentsEndpoint,
    ListMachinesEndpoint,
)
from serve_apps.refusal import HttpRefusal, method_not_allowed, route_not_found
from serve_apps.registry_replica import RegistryReplica
from serve_apps.routes import OperationRoute, operation_route, probe_route
from serve_apps.watch import WatchEndpoint, Watchers
from zejzl_ray.clock import Clock
from zejzl_ray.contracts import agent_host
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import SERVICE
from zejzl_ray.contracts.services import OPERATIONS, health_operation, metrics_operation


class GetFleet(Contract):
    """Ask for the counts of the fleet, by machine."""


# answered by the ingress alone, from its copy; no service has it
GET_FLEET: Final = Operation(
    name="get_fleet",
    service=SERVICE,
    request=GetFleet,
    reply=FleetView,
    scope="core_orchestrator:fleet:read",
    verb="GET",
    path="/v1/fleet",
)


# answered by the ingress alone, like every page that is no operation of a service
READYZ: Final = health_operation("ingress")
METRICS: Final = metrics_operation("ingress")
API_DOCUMENT: Final = Operation(
    name="api",
    service="ingress",
    request=GetHealth,
    reply=ServiceHealth,
    scope="ingress:api:read",
    verb="GET",
    path="/openapi.json",
)
AUTH_OFF: Final = ("Zejzl-Auth", "off")


def create_app(
    caller: Caller,
    replica: RegistryReplica,
    config: IngressConfig,
    clock: Clock,
    door: Door,
) -> FastAPI:
    """Return the application: every operation of core_orchestrator, the fleet, probes, metrics, OpenAPI.

    Its lifespan starts and stops the replica, and closes the caller at the end. Every route but
    ``/healthz`` and those of public operations wants what ``door`` accepts.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await door.start()
        await replica.start()
        try:
            yield
        finally:
            await replica.stop()
            await door.stop()
            await caller.close()

    registry = CollectorRegistry()
    watchers = Watchers(config.max_watchers)
    app = FastAPI(
        title="zejzl-ray",
        summary="Control plane of a fleet of AI agents",
        version=config.version,
        docs_url=None,  # the pages would load scripts from elsewhere; the document itself is at /openapi.json
        redoc_url=None,
        openapi_url=None,  # ours is guarded
        redirect_slashes=False,
        lifespan=lifespan,
        # outermost first
        middleware=[
            Middleware(RequestScopeMiddleware, notice=("", "") if door.is_required else AUTH_OFF),
            Middleware(MeasureMiddleware, metrics=RequestMetrics(registry)),
            Middleware(ErrorsMiddleware),
            Middleware(BodyLimitMiddleware, max_body_bytes=config.max_body_bytes),
            Middleware(AuthenticationMiddleware, door=door, public=public_routes(OPERATIONS)),
        ],
        exception_handlers={HTTPException: _refuse, FastApiHttpException: _refuse},
    )
    reads: dict[str, Callable[[Operation, RegistryReplica], Endpoint]] = {
        "core_orchestrator.get_agent": GetAgentEndpoint,
        "core_orchestrator.list_agents": ListAgentsEndpoint,
        "core_orchestrator.get_machine": GetMachineEndpoint,
        "core_orchestrator.list_machines": ListMachinesEndpoint,
        "core_orchestrator.get_fleet": GetFleetEndpoint,
    }

    async def still_counts(request: RequestScope) -> None:
        await door.recheck(request.token)

    def endpoint_of(operation: Operation) -> Endpoint:
        # What this process answers from its own copy is checked in this process, the rest in its service.
        if operation.key in reads:
            return Guarded(operation, reads[operation.key](operation, replica), door, clock)
        if operation.key == "core_orchestrator.watch_agents":
            watch = WatchEndpoint(
                operation, caller, replica,
                clock=clock, config=config, watchers=watchers, still_counts=still_counts,
            )  # fmt: skip
            return Guarded(operation, watch, door, clock)
        if (
            operation.service == agent_host.SERVICE
        ):  # checked before a host is looked for, and by the host again
            locate = host_locator(operation, replica)
            return Guarded(operation, CallEndpoint(operation, caller, clock, config, locate), door, clock)
        return CallEndpoint(operation, caller, clock, config)

    # the most frequent route first: routes are tried in their order
    ordered = sorted(
        (*(operation for operation in OPERATIONS if operation.path), GET_FLEET),
        key=lambda operation: operation.key != "core_orchestrator.get_agent",
    )
    app.router.routes[:0] = [operation_route(operation, endpoint_of(operation)) for operation in ordered]
    ready = ReadyzEndpoint(caller, replica, clock, config, door.checks)
    metrics = MetricsEndpoint(registry, replica, watchers)
    app.router.routes += [
        probe_route("/healthz", "healthz", HealthzEndpoint(), reply=Liveness, is_public=True),
        probe_route("/readyz", "readyz", Guarded(READYZ, ready, door, clock), reply=Readiness),
        probe_route(
            "/openapi.json",
            "api",
            Guarded(API_DOCUMENT, ApiDocumentEndpoint(lambda: app.openapi()), door, clock),  # noqa: PLW0108  it is replaced below
            reply=None,
        ),
        probe_route("/metrics", "metrics", Guarded(METRICS, metrics, door, clock), reply=None),
    ]
    require_closed(app.router.routes)
    install_openapi(app)
    app.state.replica = replica
    return app


def require_closed(routes: Sequence[BaseRoute]) -> None:
    """Refuse to start with a route that nobody would be checked at.

    Each route runs an operation of a service, which checks it there; or it is guarded here; or it is the one that
    says that the ingress lives.

    Raises:
        TypeError: names the routes.
    """
    closed = (Guarded, CallEndpoint, HealthzEndpoint)
    open_routes = [
        str(getattr(route, "path", route))
        for route in routes
        if not isinstance(route, OperationRoute) or not isinstance(route.app, closed)
    ]
    if open_routes:
        raise TypeError(f"routes without a scope: {', '.join(open_routes)}")


async def _refuse(request: Request, error: Exception) -> Response:
    """Turn the framework's refusals into ours; ``ErrorsMiddleware`` answers them."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        raise route_not_found() from None
    if error.status_code == 405:
        raise method_not_allowed(", ".join(_methods_of(request))) from None
    raise HttpRefusal(error.status_code, "refused", "Refused", "The request was refused.", "") from None


def _methods_of(request: Request) -> list[str]:
    """Return every method of the path; the framework names those of its first route only."""
    routes: list[BaseRoute] = request.app.router.routes
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)
