"""A registry in memory behind the ``Caller`` protocol, with switches for what goes wrong."""

import asyncio
from collections.abc import Callable
from typing import Any

from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.contracts.machines import Machine, ReportMachine
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import AgentExists, AgentNotFound, MachineNotFound, RevisionCompacted, VersionConflict

NOW_S = 1_700_000_000.0


def agent(name: str, revision: int = 1, **fields: Any) -> wire.Agent:
    return wire.Agent(
        **{
            "name": name,
            "kind": wire.AgentKind.EXTERNAL,
            "host": "127.0.0.1",
            "state": wire.AgentState.HEALTHY,
            "state_since_s": NOW_S,
            "registered_at_s": NOW_S,
            "revision": revision,
            **fields,
        }
    )


class FakeRegistry:
    """Keeps agents, machines and events; every method of the wire that the ingress may call."""

    def __init__(self) -> None:
        self.agents: dict[str, wire.Agent] = {}
        self.machines: dict[str, Machine] = {}
        self.events: list[wire.AgentEvent] = []
        self.revision = 0
        self.boot = "boot-1"
        self.floor = 0
        # raised by every call while set; or only by the named operation
        self.failure: Exception | None = None
        self.failures: dict[str, Exception] = {}
        self.is_ready = True
        self.calls: list[tuple[str, Contract, CallContext]] = []
        self.is_closed = False
        self._changed = asyncio.Event()

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.calls.append((operation.name, request, call))
        failure = self.failure or self.failures.get(operation.name)
        if failure is not None:
            raise failure
        method: Callable[..., Any] = getattr(self, f"on_{operation.name}")
        reply = method(request)
        if asyncio.iscoroutine(reply):
            reply = await reply
        assert isinstance(reply, operation.reply)
        return reply

    async def close(self) -> None:
        self.is_closed = True

    def calls_of(self, name: str) -> list[tuple[Contract, CallContext]]:
        return [(request, call) for called, request, call in self.calls if called == name]

    def put(self, name: str, **fields: Any) -> wire.Agent:
        self.revision += 1
        record = agent(name, self.revision, **fields)
        self.agents[name] = record
        self._add("agent_registered", name, record)
        return record

    def remove(self, name: str) -> None:
        self.revision += 1
        del self.agents[name]
        self._add("agent_deregistered", name, None)

    def _add(self, kind: Any, name: str, record: wire.Agent | None) -> None:
        self.events.append(
            wire.AgentEvent(kind=kind, name=name, revision=self.revision, at_s=NOW_S, agent=record)
        )
        self._changed.set()
        self._changed = asyncio.Event()

    def _known(self, name: str) -> wire.Agent:
        if name not in self.agents:
            raise AgentNotFound(f"No agent is called {name}.", "Register it first.")
        return self.agents[name]

    def on_register_agent(self, request: wire.RegisterAgent) -> wire.Agent:
        if request.is_new_required and request.name in self.agents:
            raise AgentExists(f"{request.name} is registered.", "Choose another name.")
        fields = request.model_dump(exclude={"request_id", "is_new_required", "name"})
        return self.put(request.name, **fields)

    def on_register_agents(self, request: wire.RegisterAgents) -> wire.AgentsRegistered:
        for one in request.agents:
            self.on_register_agent(one)
        return wire.AgentsRegistered(
            created=len(request.agents), replaced=0, unchanged=0, revision=self.revision
        )

    def on_update_agent(self, request: wire.UpdateAgent) -> wire.Agent:
        record = self._known(request.name)
        if request.expected_revision not in (None, record.revision):
            raise VersionConflict("Changed since.", "Read it again.")
        changed = request.model_dump(exclude={"request_id", "name", "expected_revision"}, exclude_none=True)
        kept = record.model_dump(exclude={"name", "revision"})
        return self.put(request.name, **{**kept, **changed})

    def on_deregister_agent(self, request: wire.DeregisterAgent) -> wire.AgentDeregistered:
        was_known = request.name in self.agents
        if was_known:
            self.remove(request.name)
        return wire.AgentDeregistered(name=request.name, was_known=was_known, revision=self.revision)

    def on_heartbeat(self, request: wire.Heartbeat) -> wire.HeartbeatAccepted:
        record = self._known(request.name)
        return wire.HeartbeatAccepted(
            name=record.name, state=record.state, lease_expires_at_s=None, revision=self.revision
        )

    def on_explain_agent(self, request: wire.ExplainAgent) -> wire.AgentExplanation:
        record = self._known(request.name)
        return wire.AgentExplanation(
            name=record.name, state=record.state, reason="", since_s=record.state_since_s
        )

    async def on_watch_agents(self, request: wire.WatchAgents) -> wire.WatchBatch:
        if request.from_revision < self.floor:
            raise RevisionCompacted("Too old.", "List again.")
        while True:
            events = tuple(event for event in self.events if event.revision > request.from_revision)
            if events or request.timeout_s == 0:
                break
            try:
                async with asyncio.timeout(request.timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                break
        events = events[: request.limit]
        return wire.WatchBatch(events=events, revision=events[-1].revision if events else self.revision)

    def on_get_history(self, request: wire.GetHistory) -> wire.History:
        return wire.History(events=tuple(reversed(self.events))[: request.limit], oldest_kept_revision=1)

    def on_get_snapshot(self, request: wire.GetSnapshot) -> wire.RegistrySnapshot:
        return wire.RegistrySnapshot(
            agents=tuple(self.agents.values()),
            machines=tuple(self.machines.values()),
            revision=self.revision,
            boot=self.boot,
        )

    def on_get_registry_status(self, request: wire.GetRegistryStatus) -> wire.RegistryStatus:
        return wire.RegistryStatus(
            agents=len(self.agents),
            by_state={},
            machines=len(self.machines),
            revision=self.revision,
            is_protected=False,
        )

    def on_accept_losses(self, request: Contract) -> wire.RegistryStatus:
        return self.on_get_registry_status(wire.GetRegistryStatus())

    def on_declare_fleet(self, request: wire.DeclareFleet) -> wire.FleetDeclared:
        return wire.FleetDeclared(added=0, changed=0, removed=0, unchanged=0, revision=self.revision)

    def on_report_machine(self, request: ReportMachine) -> Machine:
        name = request.snapshot.machine
        self.machines[name] = Machine(
            name=name,
            snapshot=request.snapshot,
            is_alive=True,
            first_seen_at_s=NOW_S,
            last_seen_at_s=NOW_S,
            revision=1,
        )
        return self.machines[name]

    def on_list_machines(self, request: wire.ListMachines) -> wire.MachineList:
        return wire.MachineList(machines=tuple(self.machines.values()))

    def on_get_machine(self, request: wire.GetMachine) -> Machine:
        if request.name not in self.machines:
            raise MachineNotFound("No such machine.", "List them.")
        return self.machines[request.name]

    def on_health(self, request: Contract) -> ServiceHealth:
        checks = (Check(name="store", status=CheckStatus.DEGRADED, reason="slow"),)
        return ServiceHealth(service="core_orchestrator", is_ready=self.is_ready, checks=checks)
