"""A registry over a memory store that survives restarts, with a clock and a prober that tests control."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from zejzl_ray.contracts.orchestrator import AgentEvent
from zejzl_ray.errors import ZejzlError
from zejzl_ray.orchestrator import CoreOrchestrator, ProbeOutcome, RegistryConfig
from zejzl_ray.store import MemoryState, MemoryStore, Op
from zejzl_ray.testing.clock import ManualClock


class FakeProber:
    """Answers for the endpoints that a test has put up."""

    def __init__(self) -> None:
        self.up: set[tuple[str, int]] = set()
        self.asked: list[tuple[str, int]] = []
        self.before_each: Callable[[], Awaitable[object]] | None = None

    async def probe(self, host: str, port: int, timeout_s: float) -> ProbeOutcome:
        self.asked.append((host, port))
        if self.before_each is not None:
            await self.before_each()
        return (
            ProbeOutcome(True) if (host, port) in self.up else ProbeOutcome(False, f"{host}:{port}: refused")
        )


class FlakyStore(MemoryStore):
    """A memory store whose next commits fail as a test says."""

    fail_before: ZejzlError | None = None
    fail_after: ZejzlError | None = None
    commits = 0
    gate: Callable[[], Awaitable[object]] | None = None

    async def commit(
        self, ops: Sequence[Op], *, epoch: int, expect: Mapping[str, int] | None = None, commit_id: str = ""
    ) -> None:
        self.commits += 1
        if self.gate is not None:
            await self.gate()
        if self.fail_before is not None:
            error, self.fail_before = self.fail_before, None
            raise error
        await super().commit(ops, epoch=epoch, expect=expect, commit_id=commit_id)
        if self.fail_after is not None:
            error, self.fail_after = self.fail_after, None
            raise error


class Bench:
    """Starts services over one lasting state, and checks each of them at the end."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.state = MemoryState()
        self.prober = FakeProber()
        self.published: list[AgentEvent] = []
        self.is_subscriber_broken = False
        self.services: list[CoreOrchestrator] = []
        self.stores: list[FlakyStore] = []

    def publish(self, events: Sequence[AgentEvent]) -> None:
        if self.is_subscriber_broken:
            raise ZeroDivisionError
        self.published.extend(events)

    async def start(self, **settings: object) -> CoreOrchestrator:
        """Start a service; an earlier one is left as a killed process leaves it."""
        store = FlakyStore(clock=self.clock, state=self.state)
        config = RegistryConfig.model_validate({"probe_period_s": 10.0, **settings})
        service = CoreOrchestrator(store, self.clock, config, publisher=self, prober=self.prober)
        await service.start()
        self.stores.append(store)
        self.services.append(service)
        return service

    @property
    def store(self) -> FlakyStore:
        """The store of the last service."""
        return self.stores[-1]
