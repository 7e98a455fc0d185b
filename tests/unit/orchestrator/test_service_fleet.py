import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import (
    AgentState,
    DeclareFleet,
    DeregisterAgent,
    ExplainAgent,
    FleetDeclared,
    GetAgent,
    Heartbeat,
    RegisterAgent,
    RegisterAgents,
)
from zejzl_ray.errors import AgentNotFound, Conflict, InvalidInput, NoCapacity
from zejzl_ray.orchestrator import CoreOrchestrator

CALL = CallContext()


def declared(name: str, **fields: object) -> RegisterAgent:
    return RegisterAgent.model_validate({"name": name, "host": "0.0.0.0", "machine": "pc1", **fields})


async def declare(service: CoreOrchestrator, *agents: RegisterAgent) -> FleetDeclared:
    return await service.declare_fleet(DeclareFleet(source="fleet.yaml", agents=agents), CALL)


def state(service: CoreOrchestrator, name: str) -> AgentState:
    agent = service.registry.agent(name)
    assert agent is not None
    return agent.state


async def test_declared_agents_are_known_and_not_counted_as_lost(
    bench: Bench, service: CoreOrchestrator
) -> None:
    reply = await declare(service, declared("A", port=1), declared("B", kind="actor"))
    assert (reply.added, reply.changed, reply.removed, reply.unchanged) == (2, 0, 0, 0)
    bench.clock.advance(1000)
    await service.tick()
    await service.probe_round()
    assert (state(service, "A"), state(service, "B")) == (AgentState.DECLARED, AgentState.DECLARED)
    agent = await service.get_agent(GetAgent(name="A"), CALL)
    assert agent.is_declared
    assert not agent.has_registered
    assert agent.last_seen_at_s is None


async def test_declaring_the_same_fleet_again_changes_nothing(service: CoreOrchestrator) -> None:
    await declare(service, declared("A", port=1))
    reply = await declare(service, declared("A", port=1))
    assert (reply.unchanged, reply.revision) == (1, 1)


async def test_addresses_of_a_fleet_are_not_checked_again(service: CoreOrchestrator) -> None:
    await declare(service, declared("A", port=1, aliases=("Old",)), declared("B", port=1, aliases=("Old",)))
    found = await service.get_agent(GetAgent(name="Old"), CALL)
    assert found.name == "A", "the first one keeps the alias"


async def test_an_agent_that_registers_keeps_the_declared_fields_that_it_does_not_send(
    service: CoreOrchestrator,
) -> None:
    await declare(
        service,
        declared("A", port=1, aliases=("Old",), dependencies=("B",), agent_type="nlp", kind="process"),
    )
    sent = RegisterAgent(name="A", host="10.0.0.5", port=2, is_new_required=True)
    agent = await service.register_agent(sent, CALL)
    assert (agent.host, agent.port) == ("10.0.0.5", 2)
    assert (agent.aliases, agent.dependencies, agent.agent_type) == (("Old",), ("B",), "nlp")
    assert agent.lease_s == 30
    assert agent.is_declared
    assert agent.has_registered


async def test_a_new_fleet_does_not_overwrite_what_an_agent_said_itself(service: CoreOrchestrator) -> None:
    await declare(service, declared("A", port=1))
    await service.register_agent(RegisterAgent(name="A", host="10.0.0.5", port=2), CALL)
    reply = await declare(service, declared("A", port=3, aliases=("Old",)))
    assert reply.changed == 1
    agent = await service.get_agent(GetAgent(name="Old"), CALL)
    assert (agent.port, agent.state) == (2, AgentState.STARTING)


async def test_a_new_fleet_moves_agents_that_it_alone_knows(bench: Bench, service: CoreOrchestrator) -> None:
    await declare(service, declared("A", port=1), declared("B"))
    bench.prober.up.add(("127.0.0.1", 1))
    bench.clock.advance(11)
    await service.probe_round()
    assert state(service, "A") is AgentState.HEALTHY
    reply = await declare(service, declared("A", port=7), declared("B", kind="actor"))
    assert reply.changed == 2
    agent = await service.get_agent(GetAgent(name="A"), CALL)
    assert (agent.port, agent.state) == (7, AgentState.HEALTHY)


async def test_a_probed_agent_that_gets_a_lease_is_given_one_period(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await declare(service, declared("A", port=1))
    await service.heartbeat(Heartbeat(name="A"), CALL)
    await declare(service, declared("A", port=1, kind="process"))
    agent = await service.get_agent(GetAgent(name="A"), CALL)
    assert agent.lease_expires_at_s == bench.clock.now_s() + 30


async def test_what_left_the_fleet_is_forgotten_unless_it_was_seen(service: CoreOrchestrator) -> None:
    await declare(service, declared("Never"), declared("Seen"), declared("Stopped"), declared("Stays"))
    await service.register_agent(RegisterAgent(name="Seen"), CALL)
    await service.deregister_agent(DeregisterAgent(name="Stopped", reason="by hand"), CALL)
    await service.register_agent(RegisterAgent(name="Foreign"), CALL)
    reply = await declare(service, declared("Stays"))
    assert (reply.removed, reply.changed, reply.unchanged) == (2, 1, 1)
    for gone in ("Never", "Stopped"):
        with pytest.raises(AgentNotFound):
            await service.get_agent(GetAgent(name=gone), CALL)
    assert not (await service.get_agent(GetAgent(name="Seen"), CALL)).is_declared
    assert await service.get_agent(GetAgent(name="Foreign"), CALL)


async def test_a_member_of_the_fleet_that_is_removed_is_stopped_until_it_registers(
    service: CoreOrchestrator,
) -> None:
    await declare(service, declared("A", port=1))
    await service.register_agent(RegisterAgent(name="A"), CALL)
    assert (await service.deregister_agent(DeregisterAgent(name="A", reason="update"), CALL)).was_known
    again = await service.deregister_agent(DeregisterAgent(name="A"), CALL)
    assert again.revision == 3
    explained = await service.explain_agent(ExplainAgent(name="A"), CALL)
    assert (explained.state, explained.reason) == (AgentState.STOPPED, "update")
    with pytest.raises(Conflict, match="stopped: update"):
        await service.heartbeat(Heartbeat(name="A"), CALL)
    await declare(service, declared("A", port=1))
    assert state(service, "A") is AgentState.STOPPED
    await service.register_agent(RegisterAgent(name="A", is_new_required=True), CALL)
    assert state(service, "A") is AgentState.STARTING


async def test_an_agent_twice_in_one_fleet_is_refused(service: CoreOrchestrator) -> None:
    with pytest.raises(InvalidInput, match=r"A stands twice in the fleet fleet\.yaml"):
        await declare(service, declared("A"), declared("A"))


async def test_a_fleet_above_the_limit_is_refused(bench: Bench) -> None:
    service = await bench.start(max_agents=1)
    with pytest.raises(NoCapacity):
        await declare(service, declared("A"), declared("B"))
    assert len(service.registry) == 0


async def test_a_live_agent_may_stand_where_a_declared_one_would(service: CoreOrchestrator) -> None:
    await declare(service, declared("A", port=1))
    await service.register_agents(RegisterAgents(agents=(declared("B", port=1),)), CALL)
    assert state(service, "B") is AgentState.STARTING
