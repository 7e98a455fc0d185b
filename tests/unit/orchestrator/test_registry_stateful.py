"""Any sequence of commands, restarts and store failures leaves every index right and nothing acknowledged lost."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import (
    DeclareFleet,
    DeregisterAgent,
    GetHistory,
    Heartbeat,
    ListAgents,
    RegisterAgent,
    RegisterAgents,
    UpdateAgent,
)
from zejzl_ray.errors import ZejzlError
from zejzl_ray.orchestrator import CoreOrchestrator, ProbeOutcome, RegistryConfig
from zejzl_ray.store import MemoryState, MemoryStore
from zejzl_ray.testing.clock import ManualClock

CALL = CallContext()
NAMES = st.sampled_from([f"A{number}" for number in range(8)])


@st.composite
def registration(draw: st.DrawFn) -> RegisterAgent:
    return RegisterAgent.model_validate(
        {
            "name": draw(NAMES),
            "kind": draw(st.sampled_from(["actor", "process", "external"])),
            "machine": draw(st.sampled_from(["", "pc1", "pc2"])),
            "host": draw(st.sampled_from(["127.0.0.1", "10.0.0.1"])),
            "port": draw(st.sampled_from([None, 1, 2, 3])),
            "aliases": draw(st.sampled_from([(), ("X",), ("Y",), ("A1",)])),
            "capabilities": draw(st.sampled_from([(), ("c",), ("c", "d")])),
            "metadata": draw(st.sampled_from([{}, {"k": 1}, {"k": "v", "l": None}])),
        }
    )


class Prober:
    is_up = True

    async def probe(self, host: str, port: int, timeout_s: float) -> ProbeOutcome:
        return ProbeOutcome(self.is_up, "" if self.is_up else "down")


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.state = MemoryState()
        self.prober = Prober()
        self.boot()

    def boot(self) -> None:
        store = MemoryStore(clock=self.clock, state=self.state)
        config = RegistryConfig(history_length=20, repeat_window=8, protection_least=4)
        self.service = CoreOrchestrator(store, self.clock, config, prober=self.prober)
        self.runner.run(self.service.start())

    def send(self, command: Coroutine[Any, Any, object]) -> None:
        with contextlib.suppress(ZejzlError):  # refused; the invariant shows that nothing is half-done
            self.runner.run(command)

    @rule(command=registration())
    def register(self, command: RegisterAgent) -> None:
        self.send(self.service.register_agent(command, CALL))

    @rule(commands=st.lists(registration(), min_size=1, max_size=4))
    def register_many(self, commands: list[RegisterAgent]) -> None:
        self.send(self.service.register_agents(RegisterAgents(agents=tuple(commands)), CALL))

    @rule(commands=st.lists(registration(), max_size=4, unique_by=lambda command: command.name))
    def declare(self, commands: list[RegisterAgent]) -> None:
        self.send(self.service.declare_fleet(DeclareFleet(agents=tuple(commands)), CALL))

    @rule(name=NAMES, port=st.sampled_from([1, 2, 9]))
    def update(self, name: str, port: int) -> None:
        self.send(self.service.update_agent(UpdateAgent(name=name, port=port, metadata={"p": port}), CALL))

    @rule(name=NAMES)
    def deregister(self, name: str) -> None:
        self.send(self.service.deregister_agent(DeregisterAgent(name=name), CALL))

    @rule(name=NAMES, status=st.sampled_from(["healthy", "degraded", "unhealthy"]))
    def beat(self, name: str, status: str) -> None:
        self.send(self.service.heartbeat(Heartbeat.model_validate({"name": name, "status": status}), CALL))

    @rule(by_s=st.sampled_from([1, 15, 40, 90_000]), is_up=st.booleans())
    def wait(self, by_s: float, is_up: bool) -> None:
        self.clock.advance(by_s)
        self.prober.is_up = is_up
        self.runner.run(self.service.probe_round())
        self.runner.run(self.service.tick())

    @rule()
    def list_by_metadata(self) -> None:
        self.runner.run(self.service.list_agents(ListAgents(metadata_key="k"), CALL))

    @rule()
    def lose_a_commit(self) -> None:
        self.state.is_reachable = False
        self.send(self.service.register_agent(RegisterAgent(name="A0", port=1), CALL))
        self.state.is_reachable = True

    @rule()
    def kill_and_restart(self) -> None:
        agents = {agent.name: agent.revision for agent in self.service.registry.agents()}
        history = self.runner.run(self.service.get_history(GetHistory(), CALL))
        self.boot()
        assert {agent.name: agent.revision for agent in self.service.registry.agents()} == agents
        found = self.runner.run(self.service.get_history(GetHistory(), CALL))
        assert found == history, "each change with the record after it, though the log holds no record twice"

    @invariant()
    def everything_fits_together(self) -> None:
        self.service.registry.validate()

    def teardown(self) -> None:
        self.runner.run(self.service.stop())
        self.runner.close()


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
