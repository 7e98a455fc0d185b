from typing import Any

import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import (
    Agent,
    AgentKind,
    AgentState,
    DeregisterAgent,
    GetAgent,
    Heartbeat,
    ListAgents,
    RegisterAgent,
    RegisterAgents,
    UpdateAgent,
)
from zejzl_ray.errors import (
    AgentExists,
    AgentHeld,
    AgentNotFound,
    Conflict,
    InvalidInput,
    NoCapacity,
    PayloadTooLarge,
    VersionConflict,
)
from zejzl_ray.orchestrator import CoreOrchestrator

CALL = CallContext()


def agent(name: str = "Worker", **fields: object) -> RegisterAgent:
    return RegisterAgent.model_validate(
        {"name": name, "kind": "process", "machine": "pc1", "host": "127.0.0.1", **fields}
    )


async def find(service: CoreOrchestrator, name: str) -> Agent:
    return await service.get_agent(GetAgent(name=name), CALL)


async def test_a_registered_agent_is_found_by_name_and_alias(service: CoreOrchestrator) -> None:
    made = await service.register_agent(agent(port=5000, aliases=("OldWorker",)), CALL)
    assert made.state is AgentState.STARTING
    assert made.revision == 1
    assert await find(service, "Worker") is made, "a look-up copies nothing"
    assert await find(service, "OldWorker") is made


async def test_leases_and_kinds(service: CoreOrchestrator) -> None:
    leased = await service.register_agent(agent(), CALL)
    own = await service.register_agent(agent("Own", lease_s=5), CALL)
    external = await service.register_agent(agent("Old", kind="external"), CALL)
    assert (leased.lease_s, own.lease_s, external.lease_s) == (30.0, 5.0, None)
    assert leased.lease_expires_at_s == leased.registered_at_s + 30
    assert external.lease_expires_at_s is None


async def test_repeating_a_command_changes_nothing_and_gets_the_same_answer(
    service: CoreOrchestrator,
) -> None:
    command = agent()
    made = await service.register_agent(command, CALL)
    await service.update_agent(UpdateAgent(name="Worker", vram_mib=100), CALL)
    assert await service.register_agent(command, CALL) == made
    assert (await find(service, "Worker")).revision == 2


async def test_a_removal_that_is_sent_again_does_not_remove_the_next_agent(service: CoreOrchestrator) -> None:
    removal = DeregisterAgent(name="Worker")
    assert (await service.deregister_agent(removal, CALL)).was_known is False
    await service.register_agent(agent(), CALL)
    assert (await service.deregister_agent(removal, CALL)).was_known is False
    assert await find(service, "Worker")


async def test_a_request_id_that_was_used_for_something_else_is_refused(service: CoreOrchestrator) -> None:
    await service.register_agent(agent(request_id="one"), CALL)
    with pytest.raises(Conflict, match="used for register_agent Worker, not for register_agent Other"):
        await service.register_agent(agent("Other", request_id="one"), CALL)
    with pytest.raises(Conflict, match="Request id one"):
        await service.deregister_agent(DeregisterAgent(request_id="one", name="Worker"), CALL)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (agent(request_id="one", port=80), agent(request_id="one", port=81)),
        (agent(request_id="one", metadata={"x": 2**70}), agent(request_id="one", port=81)),
    ],
)
async def test_a_request_id_with_other_content_is_refused(
    service: CoreOrchestrator, first: RegisterAgent, second: RegisterAgent
) -> None:
    await service.register_agent(second, CALL)
    with pytest.raises(Conflict, match="used for another command: register_agent Worker with other content"):
        await service.register_agent(first, CALL)
    assert (await find(service, "Worker")).port == 81


async def test_a_bulk_repeated_by_a_client_that_sends_no_inner_ids_is_the_same(
    service: CoreOrchestrator,
) -> None:
    def bulk(**fields: object) -> RegisterAgents:
        return RegisterAgents(request_id="one", agents=(agent("A", metadata=fields),))

    made = await service.register_agents(bulk(x=1, y=2), CALL)
    assert await service.register_agents(bulk(y=2, x=1), CALL) == made
    with pytest.raises(Conflict, match="other content"):
        await service.register_agents(bulk(x=1), CALL)


async def test_the_same_registration_again_renews_and_raises_no_revision(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await service.register_agent(agent(), CALL)
    bench.clock.advance(20)
    answer = await service.register_agent(agent(), CALL)
    found = await find(service, "Worker")
    assert answer == found
    assert found.revision == 1
    assert found.lease_expires_at_s == bench.clock.now_s() + 30


async def test_the_last_registration_wins_as_a_whole(service: CoreOrchestrator) -> None:
    await service.register_agent(agent(capabilities=("a",), metadata={"x": 1}), CALL)
    await service.heartbeat(Heartbeat(name="Worker"), CALL)
    found = await service.register_agent(agent(capabilities=("b",), machine="pc2"), CALL)
    assert (found.capabilities, found.metadata, found.machine) == (("b",), {}, "pc2")
    assert found.state is AgentState.HEALTHY, "an agent that is well stays so"
    assert (await service.list_agents(ListAgents(capability="a"), CALL)).agents == ()
    assert (await service.list_agents(ListAgents(machine="pc1"), CALL)).agents == ()


async def test_a_taken_name_is_refused_when_it_must_be_new(service: CoreOrchestrator) -> None:
    await service.register_agent(agent(is_new_required=True), CALL)
    with pytest.raises(AgentExists, match="state starting"):
        await service.register_agent(agent(is_new_required=True), CALL)


async def test_an_endpoint_of_a_live_agent_is_refused_and_named(service: CoreOrchestrator) -> None:
    await service.register_agent(agent("First", port=5000), CALL)
    with pytest.raises(Conflict, match="agent First"):
        await service.register_agent(agent("Second", host="0.0.0.0", health_port=5000), CALL)
    await service.register_agent(agent("Second", port=5000, machine="pc2"), CALL)
    with pytest.raises(Conflict, match="agent First"):
        await service.update_agent(UpdateAgent(name="Second", machine="pc1"), CALL)


async def test_the_endpoint_of_a_lost_agent_may_be_taken(bench: Bench, service: CoreOrchestrator) -> None:
    await service.register_agent(agent("First", port=5000), CALL)
    bench.clock.advance(31)
    await service.tick()
    assert (await find(service, "First")).state is AgentState.LOST
    await service.register_agent(agent("Second", port=5000), CALL)


async def test_an_alias_means_one_agent(service: CoreOrchestrator) -> None:
    await service.register_agent(agent("First", aliases=("Old",)), CALL)
    with pytest.raises(Conflict, match="Alias Old"):
        await service.register_agent(agent("Second", aliases=("Old",)), CALL)
    with pytest.raises(Conflict, match="means agent First"):
        await service.register_agent(agent("Second", aliases=("First",)), CALL)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"host": "1.2.3"}, InvalidInput),
        ({"port": 5, "health_port": 5}, InvalidInput),
        ({"metadata": {"x": "y" * 17_000}}, PayloadTooLarge),
        ({"metadata": {f"k{number}": 1 for number in range(300)}}, PayloadTooLarge),
        ({"metadata": {"x": 2**70}}, InvalidInput),
    ],
)
async def test_what_cannot_be_used_is_refused_with_nothing_done(
    service: CoreOrchestrator, fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="Worker"):
        await service.register_agent(agent(**fields), CALL)
    assert service.registry.revision == 0
    assert len(service.registry) == 0


async def test_an_unknown_agent_is_answered_with_near_names(service: CoreOrchestrator) -> None:
    await service.register_agents(
        RegisterAgents(agents=(agent("ModelManager"), agent("ModelMonitor"), agent("Zebra"))), CALL
    )
    with pytest.raises(AgentNotFound, match="Did you mean ModelManager"):
        await find(service, "ModelManger")
    with pytest.raises(AgentNotFound, match="Register it first"):
        await find(service, "Qqq")


async def test_a_bulk_registration_is_all_or_none(service: CoreOrchestrator) -> None:
    await service.register_agent(agent("A1"), CALL)
    with pytest.raises(InvalidInput, match="A2"):
        await service.register_agents(
            RegisterAgents(agents=(agent("A0"), agent("A1"), agent("A2", port=1, health_port=1))), CALL
        )
    with pytest.raises(InvalidInput, match="stands twice"):
        await service.register_agents(RegisterAgents(agents=(agent("A0"), agent("A0"))), CALL)
    assert len(service.registry) == 1
    reply = await service.register_agents(
        RegisterAgents(agents=(agent("A0"), agent("A1"), agent("A2"))), CALL
    )
    assert (reply.created, reply.replaced, reply.unchanged, reply.revision) == (2, 0, 1, 3)
    reply = await service.register_agents(RegisterAgents(agents=(agent("A0", port=9), agent("A2"))), CALL)
    assert (reply.created, reply.replaced, reply.unchanged, reply.revision) == (0, 1, 1, 4)


async def test_a_bulk_registration_sees_its_own_conflicts(service: CoreOrchestrator) -> None:
    with pytest.raises(Conflict, match="agent A0"):
        await service.register_agents(
            RegisterAgents(agents=(agent("A0", port=80), agent("A1", port=80))), CALL
        )


async def test_a_large_bulk_registration_keeps_every_index_right(service: CoreOrchestrator) -> None:
    agents = tuple(agent(f"A{number:04d}", port=1000 + number, capabilities=("c",)) for number in range(600))
    await service.list_agents(ListAgents(metadata_key="x"), CALL)
    assert (await service.register_agents(RegisterAgents(agents=agents), CALL)).created == 600
    page = await service.list_agents(ListAgents(capability="c", limit=1000), CALL)
    assert [each.name for each in page.agents] == [each.name for each in agents]


async def test_a_command_that_fits_no_commit_is_refused(bench: Bench) -> None:
    service = await bench.start(max_batch_bytes=2000)
    with pytest.raises(PayloadTooLarge, match="fewer agents"):
        await service.register_agents(
            RegisterAgents(agents=tuple(agent(f"A{number}") for number in range(10))), CALL
        )
    await service.register_agent(agent(), CALL)


async def test_the_number_of_agents_is_bounded(bench: Bench) -> None:
    service = await bench.start(max_agents=2)
    with pytest.raises(NoCapacity):
        await service.register_agents(RegisterAgents(agents=(agent("A"), agent("B"), agent("C"))), CALL)
    await service.register_agents(RegisterAgents(agents=(agent("A"), agent("B"))), CALL)
    await service.register_agent(agent("B", port=9), CALL)
    with pytest.raises(NoCapacity):
        await service.register_agent(agent("C"), CALL)


async def test_an_update_changes_what_it_names_and_nothing_else(service: CoreOrchestrator) -> None:
    await service.register_agent(agent(capabilities=("a",), metadata={"x": 1}), CALL)
    updated = await service.update_agent(UpdateAgent(name="Worker", metadata={"y": 2}, port=80), CALL)
    assert (updated.capabilities, updated.metadata, updated.port) == (("a",), {"y": 2}, 80)
    same = await service.update_agent(UpdateAgent(name="Worker", port=80), CALL)
    assert same.revision == updated.revision == 2


async def test_an_update_against_an_old_revision_is_refused(service: CoreOrchestrator) -> None:
    await service.register_agent(agent(), CALL)
    await service.update_agent(UpdateAgent(name="Worker", port=80, expected_revision=1), CALL)
    with pytest.raises(VersionConflict, match="at revision 2, not 1"):
        await service.update_agent(UpdateAgent(name="Worker", port=81, expected_revision=1), CALL)
    with pytest.raises(AgentNotFound):
        await service.update_agent(UpdateAgent(name="Nobody", port=81), CALL)


async def test_a_deregistered_agent_is_forgotten_with_all_its_traces(service: CoreOrchestrator) -> None:
    await service.register_agent(agent(port=80, aliases=("Old",), capabilities=("c",)), CALL)
    await service.heartbeat(Heartbeat(name="Worker"), CALL)
    assert (await service.deregister_agent(DeregisterAgent(name="Worker"), CALL)).was_known
    for name in ("Worker", "Old"):
        with pytest.raises(AgentNotFound):
            await find(service, name)
    await service.register_agent(agent("Next", port=80, aliases=("Old",)), CALL)


async def test_an_agent_is_deregistered_by_its_alias(service: CoreOrchestrator) -> None:
    await service.register_agent(agent(aliases=("Old",)), CALL)
    removed = await service.deregister_agent(DeregisterAgent(name="Old"), CALL)
    assert (removed.name, removed.was_known) == ("Worker", True)
    with pytest.raises(AgentNotFound):
        await find(service, "Worker")
    assert not (await service.deregister_agent(DeregisterAgent(name="Old"), CALL)).was_known


async def test_lists_are_paged_in_order_of_names(service: CoreOrchestrator) -> None:
    await service.register_agents(
        RegisterAgents(
            agents=tuple(
                agent(f"A{number}", machine=f"pc{number % 2}", agent_type="t" if number < 6 else "u")
                for number in range(9)
            )
        ),
        CALL,
    )
    names, cursor = [], ""
    while True:
        page = await service.list_agents(ListAgents(machine="pc0", cursor=cursor, limit=2), CALL)
        names += [each.name for each in page.agents]
        cursor = page.next_cursor
        if not cursor:
            break
    assert names == ["A0", "A2", "A4", "A6", "A8"]
    page = await service.list_agents(
        ListAgents(machine="pc0", agent_type="t", kind=AgentKind.PROCESS, state=AgentState.STARTING), CALL
    )
    assert [each.name for each in page.agents] == ["A0", "A2", "A4"]
    assert len((await service.list_agents(ListAgents(), CALL)).agents) == 9


async def test_agents_are_found_by_free_form_metadata(service: CoreOrchestrator) -> None:
    long = "z" * 200
    await service.register_agent(agent("A", metadata={"role": "nlp", "gpu": True, "path": long}), CALL)
    await service.register_agent(agent("B", metadata={"role": "vision", "gpu": False, "slot": 5}), CALL)

    async def names(key: str, value: str | None = None) -> list[str]:
        page = await service.list_agents(ListAgents(metadata_key=key, metadata_value=value), CALL)
        return [each.name for each in page.agents]

    assert await names("role") == ["A", "B"]
    assert await names("role", "nlp") == ["A"]
    assert await names("gpu", "false") == ["B"]
    assert await names("slot", "5") == ["B"]
    assert await names("path", long) == ["A"]
    assert await names("path", "z" * 199) == []
    await service.update_agent(UpdateAgent(name="A", metadata={"role": "vision"}), CALL)
    await service.update_agent(UpdateAgent(name="A", port=90), CALL)
    await service.register_agent(agent("C", metadata={"role": "vision"}), CALL)
    await service.deregister_agent(DeregisterAgent(name="B"), CALL)
    assert await names("role", "vision") == ["A", "C"]
    with pytest.raises(InvalidInput, match="metadata_key"):
        await service.list_agents(ListAgents(metadata_value="x"), CALL)


async def test_the_process_that_holds_an_agent_keeps_it_until_it_lets_go(service: CoreOrchestrator) -> None:
    await service.register_agent(agent(held_by="agent_host:b"), CALL)
    for other in ("agent_host:c", ""):
        with pytest.raises(AgentHeld, match=r"held by agent_host:b \(state starting"):
            await service.register_agent(agent(held_by=other, machine="pc2"), CALL)
    with pytest.raises(AgentHeld):
        await service.register_agents(RegisterAgents(agents=(agent(held_by="agent_host:c"),)), CALL)
    with pytest.raises(AgentNotFound, match="not held by agent_host:c any more"):
        await service.heartbeat(Heartbeat(name="Worker", held_by="agent_host:c"), CALL)
    gone = await service.deregister_agent(DeregisterAgent(name="Worker", held_by="agent_host:c"), CALL)
    assert not gone.was_known
    await service.heartbeat(Heartbeat(name="Worker", held_by="agent_host:b"), CALL)
    assert (await find(service, "Worker")).state is AgentState.HEALTHY
    moved = await service.register_agent(agent(held_by="agent_host:b", machine="pc2"), CALL)
    assert (moved.machine, moved.held_by) == ("pc2", "agent_host:b")
    gone = await service.deregister_agent(DeregisterAgent(name="Worker", held_by="agent_host:b"), CALL)
    assert gone.was_known
    taken = await service.register_agent(agent(held_by="agent_host:c"), CALL)
    assert taken.held_by == "agent_host:c"


async def test_an_agent_whose_holder_is_silent_for_a_lease_can_be_taken(
    bench: Bench, service: CoreOrchestrator
) -> None:
    await service.register_agent(agent(held_by="agent_host:b"), CALL)
    bench.clock.advance(31)
    await service.tick()
    assert (await find(service, "Worker")).state is AgentState.LOST
    taken = await service.register_agent(agent(held_by="agent_host:c"), CALL)
    assert taken.held_by == "agent_host:c"
    with pytest.raises(AgentNotFound):
        await service.heartbeat(Heartbeat(name="Worker", held_by="agent_host:b"), CALL)
    with pytest.raises(AgentHeld):
        await service.register_agent(agent(held_by="agent_host:b"), CALL)
