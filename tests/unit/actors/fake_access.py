"""How a process reaches the gateway, without Ray: a gateway in memory that says everything once."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from pydantic import SecretStr

from tests.unit.auth.quiet_gateway import QuietGateway
from zejzl_ray.auth.bearer_door import bearer_of
from zejzl_ray.auth.ports import AuditSink
from zejzl_ray.auth.process_security import SecurityPorts
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.audit import AuditEntry, AuditRecorded, ChainHead, RecordAudit
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import ServiceUnavailable, Unauthenticated


class AwayCaller:
    """Finds nobody."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.asked.append(operation.key)
        raise ServiceUnavailable(f"{operation.service} is away.")

    async def close(self) -> None: ...


class FakeAccess:
    """Stands for ``GatewayAccess``; notes what it was made with and what was handed over to it.

    Attributes:
        log: what happened to it, in order.
    """

    def __init__(self, gateway: QuietGateway, namespace: str, credential: SecretStr, clock: Clock) -> None:
        self.gateway = gateway
        self.namespace = namespace
        self.credential = credential
        self.caller = AwayCaller()
        self.audit = SimpleNamespace(record=self._record)
        self.entries: list[AuditEntry] = []
        self.log: list[str] = []

    def ports(self, audit: AuditSink, **_: Any) -> SecurityPorts:
        return SecurityPorts(
            feed=self.gateway, audit=audit, anchor=self.gateway.anchor, observations=self.gateway
        )

    def health_door(self, service: str, guard: object) -> Callable[[str, bytes | None], Awaitable[None]]:
        async def admit(what: str, authorization: bytes | None) -> None:
            if bearer_of(authorization) != "health":
                raise Unauthenticated("no token")

        return admit

    async def close(self) -> None:
        self.log.append("closed")

    async def _record(self, request: RecordAudit) -> AuditRecorded:
        self.log.append("recorded")
        self.entries += request.entries
        last = request.entries[-1]
        return AuditRecorded(head=ChainHead(chain=last.chain, index=last.index, hash=last.hash))
