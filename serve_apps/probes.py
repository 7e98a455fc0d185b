"""Liveness, readiness with reasons, and metrics."""

from collections.abc import Callable
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import Field
from starlette.types import Receive, Scope, Send

from serve_apps.answer import NO_STORE, send_bytes, send_json, send_problem
from serve_apps.config import IngressConfig
from serve_apps.middleware.request_scope import request_scope_of
from serve_apps.registry_replica import RegistryReplica
from serve_apps.watch import Watchers
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.health import Check, CheckStatus, GetHealth, ServiceHealth
from zejzl_ray.contracts.orchestrator import SERVICE
from zejzl_ray.contracts.problems import ProblemPlace, problem_of
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.errors import ServiceUnavailable, ZejzlError

_HEALTH = health_operation(SERVICE)
_HEALTH_TIMEOUT_S = 2.0


class Liveness(Contract):
    """This replica answers; says nothing about what stands behind it."""

    status: str = "alive"


class Readiness(Contract):
    """Whether requests will be answered, and every check with its reason."""

    is_ready: bool = Field(description="true; otherwise the answer is a problem with status 503")
    checks: tuple[Check, ...]


class HealthzEndpoint:
    """Liveness; the one route that wants no token."""

    _BODY = Liveness().model_dump_json().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await send_json(send, 200, self._BODY)


class ReadyzEndpoint:
    """Readiness: the copy of the registry is fresh and core_orchestrator says it is ready."""

    def __init__(
        self,
        caller: Caller,
        replica: RegistryReplica,
        clock: Clock,
        config: IngressConfig,
        more_checks: Callable[[], tuple[Check, ...]] = tuple,
    ) -> None:
        self._caller = caller
        self._more_checks = more_checks
        self._replica = replica
        self._clock = clock
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = request_scope_of(scope)
        stale = self._replica.why_not_fresh()
        checks = [
            Check(name="registry_copy", status=CheckStatus.FAILED if stale else CheckStatus.OK, reason=stale),
            *self._more_checks(),
        ]
        context = await request.forward_context(self._clock, _HEALTH_TIMEOUT_S, self._config.max_timeout_s)
        try:
            health = await self._caller.call(_HEALTH, GetHealth(), context)
            assert isinstance(health, ServiceHealth)
            status = CheckStatus.OK if health.is_ready else CheckStatus.FAILED
            checks.append(Check(name=health.service, status=status))
            checks += [
                check.model_copy(update={"name": f"{health.service}.{check.name}"})
                for check in health.checks
                if check.status is not CheckStatus.OK
            ]
        except ZejzlError as error:
            checks.append(Check(name=_HEALTH.service, status=CheckStatus.FAILED, reason=str(error)))
        failed = [check for check in checks if check.status is CheckStatus.FAILED]
        if not failed:
            readiness = Readiness(is_ready=True, checks=tuple(checks))
            await send_json(send, 200, readiness.model_dump_json().encode())
            return
        names = ", ".join(check.name for check in failed)
        not_ready = ServiceUnavailable(f"Not ready: {names}.", "The reasons stand in errors; try again.")
        places = tuple(
            ProblemPlace(place=check.name, message=check.reason or "not ready") for check in failed
        )
        await send_problem(send, problem_of(not_ready, request.request_id, places), ((b"retry-after", b"1"),))


class ApiDocumentEndpoint:
    """The OpenAPI document of this application."""

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document
        self._body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._body = self._body or orjson.dumps(self._document())
        await send_json(send, 200, self._body)


class MetricsEndpoint:
    """Metrics of this replica in Prometheus' text format."""

    def __init__(self, registry: CollectorRegistry, replica: RegistryReplica, watchers: Watchers) -> None:
        self._registry = registry
        gauges = (
            (
                "zejzl_registry_copy_staleness_seconds",
                "Upper bound of the copy's age.",
                lambda: replica.staleness_s,
            ),
            ("zejzl_registry_copy_revision", "Revision of the copy.", lambda: float(replica.revision)),
            ("zejzl_registry_copy_agents", "Agents in the copy.", lambda: float(replica.agent_count)),
            ("zejzl_http_watchers", "Open streams and long polls.", lambda: float(watchers.count)),
        )
        for name, text, read in gauges:
            Gauge(name, text, registry=registry).set_function(read)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        content_type = (b"content-type", CONTENT_TYPE_LATEST.encode())
        await send_bytes(send, 200, generate_latest(self._registry), (content_type, NO_STORE))
