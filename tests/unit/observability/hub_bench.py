"""The hub on a store in memory, and ways to call it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.unit.bus.wait_reports import again, ring
from zejzl_ray.contracts.access import AuthenticatedCall, Principal
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.waits import ReportWaits, WaitsReported
from zejzl_ray.errors import ZejzlError
from zejzl_ray.ids import new_id
from zejzl_ray.observability.config import HubConfig
from zejzl_ray.observability.performance_bottlenecks import AgentStanding
from zejzl_ray.observability.service import ObservabilityHub
from zejzl_ray.store import MemoryState, MemoryStore, Op
from zejzl_ray.testing import ManualClock


def calling(subject: str = "program:tests") -> AuthenticatedCall:
    """A call that was checked already."""
    return AuthenticatedCall(principal=Principal(subject=subject))


class FakeFleet:
    """States of agents, or the reason why nobody knows."""

    def __init__(self) -> None:
        self.agents: dict[str, AgentStanding] = {}
        self.trouble: ZejzlError | None = None

    async def standings(self) -> Mapping[str, AgentStanding]:
        if self.trouble is not None:
            raise self.trouble
        return self.agents


class InProcess:
    """A ``Caller`` that runs the hub's methods; what is sent goes over JSON as on the wire."""

    def __init__(self, hub: ObservabilityHub) -> None:
        self._hub = hub

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        sent = operation.request.model_validate_json(request.model_dump_json())
        reply: Contract = await getattr(self._hub, operation.name)(sent, calling())
        return operation.reply.model_validate_json(reply.model_dump_json())

    async def close(self) -> None: ...


async def plant(hub: ObservabilityHub, *names: str, rounds: int = 4) -> list[WaitsReported]:
    """Report a circle as often as it takes; return the answers of the last round."""
    answers: list[WaitsReported] = []
    boot = new_id("boot")
    for sequence in range(1, rounds + 1):
        answers = [
            await hub.report_waits(
                each.model_copy(update={"boot": boot}), calling(f"service:host.{each.host}")
            )
            for each in again(ring(names), sequence)
        ]
    return answers


async def tell(hub: ObservabilityHub, report: ReportWaits, subject: str = "program:tests") -> WaitsReported:
    """Send one report."""
    return await hub.report_waits(report, calling(subject))


async def turns(is_there: Callable[[], bool]) -> None:
    """Let the loop turn until something is there; a bounded number of times."""
    for _ in range(100_000):
        if is_there():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


class FlakyStore(MemoryStore):
    """A store that refuses as long as a test says."""

    trouble: ZejzlError | None = None
    commits = 0

    async def commit(
        self, ops: Sequence[Op], *, epoch: int, expect: Mapping[str, int] | None = None, commit_id: str = ""
    ) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.commits += 1
        await super().commit(ops, epoch=epoch, expect=expect, commit_id=commit_id)


class Bench:
    """Hubs one after the other over one lasting state."""

    def __init__(self, config: HubConfig | None = None) -> None:
        self.clock = ManualClock()
        self.config = config
        self.fleet = FakeFleet()
        self._state = MemoryState()
        self.store = self.new_store()

    def new_store(self) -> FlakyStore:
        return FlakyStore(clock=self.clock, state=self._state)

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[ObservabilityHub]:
        """A hub that has started, and is stopped at the end."""
        self.store = self.new_store()
        hub = ObservabilityHub(self.store, self.clock, self.config, fleet=self.fleet)
        await hub.start()
        try:
            yield hub
        finally:
            await hub.stop()
