import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.machines import MachineSnapshot, ReportMachine
from zejzl_ray.contracts.orchestrator import (
    AcceptLosses,
    Agent,
    AgentState,
    DeclareFleet,
    DeregisterAgent,
    ExplainAgent,
    GetRegistryStatus,
    Heartbeat,
    HeartbeatAccepted,
    RegisterAgent,
    RegisterAgents,
)
from zejzl_ray.errors import AgentNotFound, Conflict, StoreUnavailable
from zejzl_ray.orchestrator import CoreOrchestrator

CALL = CallContext()


def get(service: CoreOrchestrator, name: str) -> Agent:
    agent = service.registry.agent(name)
    assert agent is not None
    return agent


async def register(service: CoreOrchestrator, *names: str, **fields: object) -> None:
    agents = [RegisterAgent.model_validate({"name": name, "kind": "process", **fields}) for name in names]
    await service.register_agents(RegisterAgents(agents=tuple(agents)), CALL)


async def beat(service: CoreOrchestrator, name: str, **fields: object) -> HeartbeatAccepted:
    return await service.heartbeat(Heartbeat.model_validate({"name": name, **fields}), CALL)


# --- heartbeats and leases ---------------------------------------------------------------------------------------


async def test_the_first_heartbeat_makes_an_agent_healthy(service: CoreOrchestrator) -> None:
    await register(service, "A")
    accepted = await beat(service, "A")
    assert accepted.state is AgentState.HEALTHY
    assert get(service, "A").reason == "says it is healthy"


async def test_a_renewal_raises_no_revision_and_writes_nothing(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await register(service, "A")
    await beat(service, "A")
    revision, commits = service.registry.revision, bench.store.commits
    bench.clock.advance(2)
    accepted = await beat(service, "A")
    assert accepted.lease_expires_at_s == bench.clock.now_s() + 30
    assert (service.registry.revision, bench.store.commits) == (revision, commits)
    assert get(service, "A").last_seen_at_s == bench.clock.now_s()


async def test_a_renewal_that_is_sent_again_changes_nothing(bench: Bench, service: CoreOrchestrator) -> None:
    await register(service, "A")
    await beat(service, "A")
    first = await beat(service, "A", request_id="beat-1")
    bench.clock.advance(10)
    assert await beat(service, "A", request_id="beat-1") == first
    with pytest.raises(Conflict, match="heartbeat A with other content"):
        await beat(service, "A", request_id="beat-1", status="degraded")
    assert get(service, "A").state is AgentState.HEALTHY


async def test_a_heartbeat_that_changed_the_state_does_so_once(service: CoreOrchestrator) -> None:
    await register(service, "A")
    first = await beat(service, "A", request_id="beat-1", status="degraded")
    await beat(service, "A")
    assert await beat(service, "A", request_id="beat-1", status="degraded") == first
    assert get(service, "A").state is AgentState.HEALTHY


async def test_an_unknown_agent_has_to_register_first(service: CoreOrchestrator) -> None:
    with pytest.raises(AgentNotFound, match="Register it first"):
        await beat(service, "Nobody")


async def test_the_reason_that_an_agent_gives_is_kept_up_to_date(service: CoreOrchestrator) -> None:
    await register(service, "A")
    await beat(service, "A", status="degraded", reason="disk 91 %")
    revision = service.registry.revision
    await beat(service, "A", status="degraded", reason="disk 95 %")
    assert get(service, "A").reason == "disk 95 %"
    assert service.registry.revision == revision


async def test_a_lease_that_runs_out_means_lost_with_the_reason(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await register(service, "A")
    await beat(service, "A")
    bench.clock.advance(29)
    await service.tick()
    assert get(service, "A").state is AgentState.HEALTHY
    bench.clock.advance(2)
    await service.tick()
    lost = get(service, "A")
    assert (lost.state, lost.reason) == (AgentState.LOST, "no heartbeat for 31 s (lease 30 s)")
    assert lost.lease_expires_at_s is None


async def test_a_late_heartbeat_brings_an_agent_back_in_two_steps(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await register(service, "A")
    bench.clock.advance(31)
    await service.tick()
    assert (await beat(service, "A")).state is AgentState.STARTING
    assert (await beat(service, "A")).state is AgentState.HEALTHY
    explained = await service.explain_agent(ExplainAgent(name="A"), CALL)
    assert [change.to_state for change in explained.changes] == [
        AgentState.HEALTHY,
        AgentState.STARTING,
        AgentState.LOST,
        AgentState.STARTING,
    ]
    assert explained.changes[-1].from_state is None


@pytest.mark.parametrize("status", ["healthy", "degraded", "unhealthy"])
async def test_a_lost_agent_does_not_come_back_to_an_endpoint_that_another_has_now(
    bench: Bench, service: CoreOrchestrator, status: str
) -> None:
    await register(service, "A", machine="pc1", port=5000)
    bench.clock.advance(31)
    await service.tick()
    await register(service, "B", machine="pc1", port=5000)
    with pytest.raises(Conflict, match=r"A: port 5000 on pc1 belongs to agent B \(state starting\)"):
        await beat(service, "A", status=status)
    assert get(service, "A").state is AgentState.LOST
    await service.deregister_agent(DeregisterAgent(name="B"), CALL)
    assert (await beat(service, "A")).state is AgentState.STARTING


async def test_a_declared_agent_does_not_take_an_endpoint_by_a_heartbeat(service: CoreOrchestrator) -> None:
    member = RegisterAgent.model_validate({"name": "A", "kind": "process", "machine": "pc1", "port": 5000})
    await service.declare_fleet(DeclareFleet(agents=(member,)), CALL)
    await register(service, "B", machine="pc1", port=5000)
    with pytest.raises(Conflict, match="agent B"):
        await beat(service, "A")
    assert get(service, "A").state is AgentState.DECLARED


async def test_a_probed_agent_comes_back_to_a_shared_endpoint_and_says_so(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await register(service, "Old", kind="external", machine="pc1", port=5000)
    for _ in range(20):
        bench.clock.advance(11)
        await service.probe_round()
        await service.tick()
    assert get(service, "Old").state is AgentState.LOST
    await register(service, "New", kind="external", machine="pc1", port=5000)
    bench.prober.up.add(("127.0.0.1", 5000))
    for state in (AgentState.STARTING, AgentState.HEALTHY):
        bench.clock.advance(11)
        await service.probe_round()
        assert get(service, "Old").state is state
        assert get(service, "Old").reason.startswith(
            "answers probes, but port 5000 on pc1 belongs to agent New (state "
        )


async def test_an_unhealthy_agent_needs_two_good_heartbeats(service: CoreOrchestrator) -> None:
    await register(service, "A")
    await beat(service, "A", status="unhealthy", reason="model gone")
    assert (await beat(service, "A")).state is AgentState.UNHEALTHY
    explained = await service.explain_agent(ExplainAgent(name="A"), CALL)
    assert explained.reason == "model gone"
    assert explained.pending == "1 of 2 good signs in a row until healthy"
    assert (await beat(service, "A")).state is AgentState.HEALTHY


async def test_declared_agents_that_send_heartbeats_are_alive(
    bench: Bench, service: CoreOrchestrator
) -> None:
    fleet = (RegisterAgent(name="A", kind="actor"), RegisterAgent(name="B"))
    await service.declare_fleet(DeclareFleet(agents=fleet), CALL)
    for name in ("A", "B"):
        assert (await beat(service, name)).state is AgentState.HEALTHY
    assert get(service, "A").lease_expires_at_s == bench.clock.now_s() + 30
    assert get(service, "B").lease_expires_at_s is None


async def test_an_agent_lost_for_a_day_is_forgotten_except_members_of_the_fleet(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await service.declare_fleet(DeclareFleet(agents=(RegisterAgent(name="Member", kind="process"),)), CALL)
    await register(service, "Member", "Guest")
    await register(service, "Old", kind="external")
    bench.clock.advance(31)
    await service.tick()
    bench.clock.advance(86_400)
    await service.tick()
    assert service.registry.agent("Guest") is None
    assert get(service, "Member").state is AgentState.LOST
    assert get(service, "Old").state is AgentState.STARTING


async def test_a_store_that_is_away_delays_losses_and_keeps_the_loop_alive(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await register(service, "A")
    await service.tick()
    bench.clock.advance(31)
    bench.store.fail_before = StoreUnavailable("away")
    await service.tick()
    assert get(service, "A").state is AgentState.STARTING
    await service.tick()
    assert get(service, "A").state is AgentState.STARTING, (
        "after the doubt every lease gets a period of grace"
    )
    bench.clock.advance(31)
    await service.tick()
    assert get(service, "A").state is AgentState.LOST


# --- probes ------------------------------------------------------------------------------------------------------


async def probe(bench: Bench, service: CoreOrchestrator, times: int = 1) -> None:
    for _ in range(times):
        bench.clock.advance(10)
        await service.probe_round()
        await service.tick()


async def test_agents_without_lease_are_probed_into_health_and_out_of_it(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await register(service, "Old", kind="external", port=5000)
    bench.prober.up.add(("127.0.0.1", 5000))
    await probe(bench, service)
    assert get(service, "Old").state is AgentState.HEALTHY
    await probe(bench, service)
    assert get(service, "Old").last_seen_at_s == bench.clock.now_s()
    bench.prober.up.clear()
    await probe(bench, service, 2)
    assert get(service, "Old").state is AgentState.HEALTHY
    await probe(bench, service)
    unhealthy = get(service, "Old")
    assert unhealthy.state is AgentState.UNHEALTHY
    assert "127.0.0.1:5000: refused" in unhealthy.reason
    await probe(bench, service, 6)
    assert get(service, "Old").state is AgentState.LOST
    bench.prober.up.add(("127.0.0.1", 5000))
    await probe(bench, service)
    assert get(service, "Old").state is AgentState.STARTING
    await probe(bench, service)
    assert get(service, "Old").state is AgentState.HEALTHY


async def test_one_answer_does_not_make_an_unhealthy_agent_healthy(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await register(service, "Old", kind="external", port=5000)
    await probe(bench, service, 3)
    assert get(service, "Old").state is AgentState.UNHEALTHY
    bench.prober.up.add(("127.0.0.1", 5000))
    await probe(bench, service)
    assert get(service, "Old").state is AgentState.UNHEALTHY
    await probe(bench, service)
    assert get(service, "Old").state is AgentState.HEALTHY


async def test_a_wildcard_host_is_probed_at_the_machines_address(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await service.report_machine(
        ReportMachine(
            request_id="r1",
            snapshot=MachineSnapshot(
                machine="pc2", address="10.0.0.7", cpu_count=4, cpu_busy_ratio=0, ram_total_mib=1,
                ram_used_mib=0, disk_total_mib=1, disk_used_mib=0, net_sent_bytes=0, net_received_bytes=0,
                taken_at_s=0,
            ),
        ),
        CALL,
    )  # fmt: skip
    await register(service, "Old", kind="external", host="0.0.0.0", machine="pc2", port=1, health_port=2)
    await probe(bench, service)
    assert bench.prober.asked == [("10.0.0.7", 2)]


async def test_leased_stopped_and_portless_agents_are_not_probed(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await service.declare_fleet(DeclareFleet(agents=(RegisterAgent(name="Gone", port=1),)), CALL)
    await service.deregister_agent(DeregisterAgent(name="Gone"), CALL)
    await register(service, "Leased", port=2)
    await register(service, "Portless", kind="external")
    await probe(bench, service, 3)
    assert bench.prober.asked == []


async def test_an_outcome_for_an_agent_that_left_meanwhile_is_dropped(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await register(service, "Old", kind="external", port=5000)

    async def leave() -> None:
        await service.deregister_agent(DeregisterAgent(name="Old"), CALL)

    bench.prober.before_each = leave
    await probe(bench, service)
    assert service.registry.agent("Old") is None


async def test_an_answered_probe_takes_a_held_agent_off_the_silent(bench: Bench) -> None:
    service = await bench.start(protection_least=1)
    await register(service, "Old", kind="external", port=5000)
    await probe(bench, service, 9)
    assert get(service, "Old").state is AgentState.UNHEALTHY
    explained = await service.explain_agent(ExplainAgent(name="Old"), CALL)
    assert explained.pending.startswith("held by the protection")
    bench.prober.up.add(("127.0.0.1", 5000))
    await probe(bench, service, 2)
    assert get(service, "Old").state is AgentState.HEALTHY
    assert not (await service.get_registry_status(GetRegistryStatus(), CALL)).is_protected


# --- protection --------------------------------------------------------------------------------------------------


async def test_when_most_agents_fall_silent_at_once_the_list_is_kept_and_an_alarm_raised(
    bench: Bench, service: CoreOrchestrator
) -> None:
    names = [f"A{number}" for number in range(10)]
    await register(service, *names)
    for name in names:
        await beat(service, name)
    bench.clock.advance(31)
    for name in names[:4]:
        await beat(service, name)
    await service.tick()
    status = await service.get_registry_status(GetRegistryStatus(), CALL)
    assert status.is_protected
    assert status.by_state["healthy"] == 10
    assert status.by_state["lost"] == 0
    assert "6 of 10 agents fell silent" in status.alarm
    explained = await service.explain_agent(ExplainAgent(name="A9"), CALL)
    assert explained.pending.startswith("held by the protection: no heartbeat for 31 s")

    for name in names[4:8]:
        await beat(service, name)
    await service.tick()
    status = await service.get_registry_status(GetRegistryStatus(), CALL)
    assert not status.is_protected
    assert (status.by_state["healthy"], status.by_state["lost"]) == (8, 2)


async def test_an_operator_accepts_the_losses(bench: Bench, service: CoreOrchestrator) -> None:
    await register(service, *(f"A{number}" for number in range(6)))
    bench.clock.advance(31)
    await service.tick()
    assert (await service.get_registry_status(GetRegistryStatus(), CALL)).is_protected
    status = await service.accept_losses(AcceptLosses(), CALL)
    assert not status.is_protected
    assert status.by_state["lost"] == 6


async def test_a_held_agent_that_changes_is_still_held(bench: Bench, service: CoreOrchestrator) -> None:
    await register(service, *(f"A{number}" for number in range(6)))
    bench.clock.advance(31)
    await service.tick()
    await service.deregister_agent(DeregisterAgent(name="A0"), CALL)
    await service.tick()
    assert (await service.get_registry_status(GetRegistryStatus(), CALL)).by_state["starting"] == 5
