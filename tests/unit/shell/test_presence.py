"""A service's heartbeat tells its own health, and corrects where it is."""

import asyncio
from collections.abc import Callable

import pytest

from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.contracts.orchestrator import (
    Agent,
    AgentKind,
    AgentState,
    GetAgent,
    HealthStatus,
    Heartbeat,
    HeartbeatAccepted,
    UpdateAgent,
)
from zejzl_ray.errors import AgentNotFound, ServiceUnavailable
from zejzl_ray.shell import Presence


class FakeRegistry:
    """Keeps one entry; each heartbeat first raises what the test has put into ``trouble``."""

    def __init__(self, machine: str = "mainpc") -> None:
        self.machine = machine
        self.heartbeats: list[Heartbeat] = []
        self.updates: list[UpdateAgent] = []
        self.reads = 0
        self.revision = 1
        self.trouble: list[Exception | None] = []
        self.on_heartbeat: Callable[[], None] = lambda: None

    async def heartbeat(self, request: Heartbeat) -> HeartbeatAccepted:
        self.heartbeats.append(request)
        self.on_heartbeat()
        error = self.trouble.pop(0) if self.trouble else None
        if error is not None:
            raise error
        return HeartbeatAccepted(
            name=request.name, state=AgentState.HEALTHY, lease_expires_at_s=None, revision=self.revision
        )

    async def get_agent(self, request: GetAgent) -> Agent:
        self.reads += 1
        return Agent(
            name=request.name,
            kind=AgentKind.ACTOR,
            host="127.0.0.1",
            machine=self.machine,
            state=AgentState.HEALTHY,
            state_since_s=1.0,
            registered_at_s=1.0,
            revision=1,
        )

    async def update_agent(self, request: UpdateAgent) -> Agent:
        self.updates.append(request)
        self.machine = request.machine or ""
        return await self.get_agent(GetAgent(name=request.name))


def health(*checks: Check, is_ready: bool = True) -> ServiceHealth:
    return ServiceHealth(service="error_bus", is_ready=is_ready, checks=checks)


OK = Check(name="store", status=CheckStatus.OK)
PORT = Check(name="health_port", status=CheckStatus.DEGRADED, reason="taken")
STORE = Check(name="store", status=CheckStatus.FAILED, reason="away")


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        (health(OK), HealthStatus.HEALTHY, ""),
        (health(OK, PORT), HealthStatus.DEGRADED, "health_port: taken"),
        (health(STORE, PORT, is_ready=False), HealthStatus.UNHEALTHY, "store: away; health_port: taken"),
    ],
)
async def test_a_heartbeat_tells_how_the_service_is(
    state: ServiceHealth, status: HealthStatus, reason: str
) -> None:
    registry = FakeRegistry()
    await Presence("error_bus", "mainpc", registry).report(state)
    (sent,) = registry.heartbeats
    assert (sent.name, sent.status, sent.reason) == ("error_bus", status, reason)


async def test_a_long_reason_is_cut_to_what_the_wire_takes() -> None:
    registry = FakeRegistry()
    long = Check(name="store", status=CheckStatus.FAILED, reason="x" * 5000)
    await Presence("error_bus", "mainpc", registry).report(health(long, is_ready=False))
    assert len(registry.heartbeats[0].reason) == 1024


async def test_an_entry_that_names_another_machine_is_corrected_once() -> None:
    registry = FakeRegistry(machine="pc2")
    presence = Presence("error_bus", "mainpc", registry)
    await presence.report(health(OK))
    await presence.report(health(OK))
    assert [update.machine for update in registry.updates] == ["mainpc"]
    assert len(registry.heartbeats) == 2


@pytest.mark.parametrize("machine", ["mainpc", ""])
async def test_a_true_entry_and_an_unknown_place_change_nothing(machine: str) -> None:
    registry = FakeRegistry(machine="mainpc")
    presence = Presence("error_bus", machine, registry)
    await presence.report(health(OK))
    await presence.report(health(OK))
    assert (registry.updates, registry.reads) == ([], 1)


async def test_no_trouble_of_the_registry_ends_the_reports() -> None:
    registry = FakeRegistry(machine="pc2")
    stop = asyncio.Event()
    registry.trouble = [None, AgentNotFound("unknown"), ServiceUnavailable("away"), ValueError("odd"), None]

    def beat() -> None:
        if len(registry.heartbeats) == 2:
            registry.machine = "pc2"  # a new fleet file was loaded
            registry.revision += 1
        if len(registry.heartbeats) == 5:
            stop.set()

    registry.on_heartbeat = beat
    presence = Presence("error_bus", "mainpc", registry, period_s=0.001)

    async def well() -> ServiceHealth:
        return health(OK)

    await asyncio.wait_for(presence.run(well, stop), 10)
    assert len(registry.heartbeats) == 5
    assert len(registry.updates) == 2


async def test_a_stop_ends_the_pause() -> None:
    registry = FakeRegistry()
    stop = asyncio.Event()
    registry.on_heartbeat = stop.set
    presence = Presence("error_bus", "mainpc", registry, period_s=3600)

    async def well() -> ServiceHealth:
        return health(OK)

    await asyncio.wait_for(presence.run(well, stop), 10)
    assert len(registry.heartbeats) == 1
