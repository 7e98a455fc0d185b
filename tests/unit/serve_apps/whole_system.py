"""Behind the fake registry's protocol also a real gateway and hub, and every service's health and audit trail."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.unit.security.gateway_bench import CHEAP, Recorder
from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.one_token_door import OWNER
from zejzl_ray.auth.audit_store import StoreAuditSink
from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.access import AuthenticatedCall
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import ServiceHealth
from zejzl_ray.contracts.logs import LogPage, ReadLogs
from zejzl_ray.contracts.observability_hub import SERVICE as HUB
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import SERVICE
from zejzl_ray.contracts.security_gateway import SERVICE as GATEWAY
from zejzl_ray.machine.log_directory import LogPlace
from zejzl_ray.machine.log_files import MachineLogFiles
from zejzl_ray.observability.service import ObservabilityHub
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.service import SecurityGateway
from zejzl_ray.store.memory import MemoryStore

ADDRESS = "192.0.2.7"


class OneMachine:
    """The log files of one machine, with two lines in them."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        lines = ('{"timestamp":"2024-01-01T00:00:00Z","level":"error","event":"x","agent":"a"}', "raw")
        (Path(self._folder.name) / "a.log").write_text("".join(f"{line}\n" for line in lines))
        self._files = MachineLogFiles("pc2", [LogPlace(Path(self._folder.name))], SystemClock())

    async def machines(self) -> Sequence[str]:
        return ["pc2"]

    async def read_logs(self, machine: str, request: ReadLogs) -> LogPage:
        return await self._files.read_logs(request)

    def close(self) -> None:
        self._files.close()
        self._folder.cleanup()


class WholeSystem:
    """A ``Caller`` that answers every operation; each call comes from the owner, as the guard would make it.

    Gateway and hub start with the first call, in the loop of its caller.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        self._registry = registry
        clock = SystemClock()
        master = MasterKeys.parse("a1" * 32)
        self._gateway = SecurityGateway(
            MemoryStore(clock=clock), clock, SecurityConfig(), master, Recorder(), hashing=CHEAP
        )
        self._machine = OneMachine()
        self._hub = ObservabilityHub(MemoryStore(clock=clock), clock, machines=self._machine)
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
        elif operation.service == HUB:
            reply = await getattr(self._hub, operation.name)(request, known)
        else:
            reply = await self._registry.call(operation, request, known)
        assert isinstance(reply, operation.reply)
        return reply

    async def close(self) -> None:
        """End gateway and hub."""
        await self._gateway.stop()
        await self._hub.stop()
        self._machine.close()

    async def _start(self) -> None:
        async with self._starting:
            if not self._is_started:
                await self._gateway.start()
                await self._hub.start()
                await self._trail.open()
                self._is_started = True
