"""Behind the fake registry's protocol also a real security gateway, and every service's health and audit trail."""

import asyncio

from tests.unit.security.gateway_bench import CHEAP, Recorder
from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.one_token_door import OWNER
from zejzl_ray.auth.audit_store import StoreAuditSink
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.access import AuthenticatedCall
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import ServiceHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import SERVICE
from zejzl_ray.contracts.security_gateway import SERVICE as GATEWAY
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.service import SecurityGateway
from zejzl_ray.store.memory import MemoryStore

ADDRESS = "192.0.2.7"


class WholeSystem:
    """A ``Caller`` that answers every operation; each call comes from the owner, as the guard would make it.

    The gateway starts with the first call, in the loop of its caller.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        self._registry = registry
        clock = SystemClock()
        master = MasterKeys.parse("a1" * 32)
        self._gateway = SecurityGateway(
            MemoryStore(clock=clock), clock, SecurityConfig(), master, Recorder(), hashing=CHEAP
        )
        self._trail = StoreAuditSink(MemoryStore(clock=clock), own_chain="error_bus")
        self._starting = asyncio.Lock()
        self._is_started = False

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        """Answer as the operation's service would."""
        await self._start()
        principal = OWNER.model_copy(update={"address": ADDRESS})
        known = AuthenticatedCall(**{**dict(call), "principal": principal})
        if operation.service == GATEWAY:
            reply: Contract = await getattr(self._gateway, operation.name)(request, known)
        elif operation.name == "list_audit_chains":
            reply = await self._trail.chains()
        elif operation.name == "read_audit":
            reply = await self._trail.read(request)  # type: ignore[arg-type]  # the operation's request
        elif operation.name == "health" and operation.service != SERVICE:
            reply = ServiceHealth(service=operation.service, is_ready=True)
        else:
            reply = await self._registry.call(operation, request, known)
        assert isinstance(reply, operation.reply)
        return reply

    async def close(self) -> None:
        """End the gateway."""
        await self._gateway.stop()

    async def _start(self) -> None:
        async with self._starting:
            if not self._is_started:
                await self._gateway.start()
                await self._trail.open()
                self._is_started = True
