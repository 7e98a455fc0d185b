"""What is left after a service was killed, fenced or had a bad store."""

import asyncio
from collections.abc import Callable

import orjson
import pytest

from tests.unit.orchestrator.bench import Bench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.orchestrator import (
    AgentState,
    DeclareFleet,
    DeregisterAgent,
    ExplainAgent,
    GetAgent,
    GetHistory,
    Heartbeat,
    RegisterAgent,
    RegisterAgents,
    UpdateAgent,
    WatchAgents,
)
from zejzl_ray.errors import (
    AgentNotFound,
    Conflict,
    DeadlineExceeded,
    ServiceUnavailable,
    StoreError,
    StoreUnavailable,
)
from zejzl_ray.orchestrator import CoreOrchestrator, RegistryConfig
from zejzl_ray.store import Delete, MemoryStore, Op, Put

CALL = CallContext()


def process(name: str, **fields: object) -> RegisterAgent:
    return RegisterAgent.model_validate({"name": name, "kind": "process", **fields})


async def test_everything_acknowledged_is_there_after_a_kill(bench: Bench) -> None:
    first = await bench.start()
    await first.declare_fleet(DeclareFleet(agents=(process("Member", aliases=("Old",)),)), CALL)
    await first.register_agents(
        RegisterAgents(agents=(process("A", metadata={"x": [1]}), process("B"))), CALL
    )
    await first.update_agent(UpdateAgent(name="A", port=80), CALL)
    await first.deregister_agent(DeregisterAgent(name="B", reason="done"), CALL)
    await first.heartbeat(Heartbeat(name="A", status="degraded", reason="slow"), CALL)
    second = await bench.start()
    grace_s = RegistryConfig().confirmed_within_s
    kept = {agent.name: agent for agent in second.registry.agents()}
    assert kept == {
        agent.name: agent.model_copy(
            update={"lease_expires_at_s": agent.lease_expires_at_s and agent.lease_expires_at_s + grace_s}
        )
        for agent in first.registry.agents()
    }
    assert second.registry.revision == first.registry.revision == 6
    before = await first.get_history(GetHistory(), CALL) if not first.is_fenced else None
    after = await second.get_history(GetHistory(), CALL)
    assert before == after
    explained = await second.explain_agent(ExplainAgent(name="A"), CALL)
    assert explained.reason == "slow"
    assert [change.to_state for change in explained.changes] == [AgentState.DEGRADED, AgentState.STARTING]
    history = await second.get_history(GetHistory(name="B"), CALL)
    assert [event.kind for event in history.events] == ["agent_deregistered", "agent_registered"]


async def test_the_history_keeps_every_record_as_it_was(bench: Bench) -> None:
    first = await bench.start()
    await first.register_agents(RegisterAgents(agents=(process("A", port=1), process("B"))), CALL)
    bench.clock.advance(3)
    await first.heartbeat(Heartbeat(name="A", status="healthy"), CALL)  # stored: it changes the state
    bench.clock.advance(3)
    await first.heartbeat(Heartbeat(name="A", status="healthy"), CALL)  # renewed in memory only
    # several changes of one agent in one commit, and an agent that goes and comes back
    await asyncio.gather(
        *(first.update_agent(UpdateAgent(name="A", port=port), CALL) for port in (2, 3, 4)),
        first.deregister_agent(DeregisterAgent(name="B"), CALL),
        first.register_agent(process("B", port=9), CALL),
    )
    second = await bench.start()
    before = await first.get_history(GetHistory(), CALL)
    assert await second.get_history(GetHistory(), CALL) == before
    ports = [event.agent.port if event.agent else "gone" for event in reversed(before.events)]
    assert ports == [1, None, 1, 2, 3, 4, "gone", 9]
    await second.update_agent(UpdateAgent(name="A", port=5), CALL)
    third = await bench.start()
    assert (await third.get_history(GetHistory(), CALL)).events[1:] == before.events


async def test_a_record_is_stored_once(bench: Bench) -> None:
    service = await bench.start()
    await service.register_agent(process("A", metadata={"mark": "first"}), CALL)
    await service.update_agent(UpdateAgent(name="A", metadata={"mark": "second"}), CALL)
    values = [found.value for _, found in await bench.store.scan("agent/")]
    values += [entry.value for entry in await bench.store.read_log("changes")]
    stored = b"".join(values)
    assert stored.count(b'"first"') == stored.count(b'"second"') == 1


async def test_a_command_repeated_after_a_restart_gets_its_first_answer(bench: Bench) -> None:
    first = await bench.start()
    command = process("A")
    made = await first.register_agent(command, CALL)
    await first.update_agent(UpdateAgent(name="A", port=9), CALL)
    second = await bench.start()
    assert await second.register_agent(command, CALL) == made
    assert second.registry.revision == 2
    with pytest.raises(Conflict, match="other content"):
        await second.register_agent(command.model_copy(update={"port": 7}), CALL)


async def test_the_window_of_repeats_is_bounded_and_survives(bench: Bench) -> None:
    first = await bench.start(repeat_window=3)
    commands = [process(f"A{number}") for number in range(5)]
    for command in commands:
        await first.register_agent(command, CALL)
    second = await bench.start(repeat_window=3)
    revision = second.registry.revision
    assert (await second.register_agent(commands[4], CALL)).revision == 5
    assert (await second.register_agent(commands[2], CALL)).revision == 3
    await second.update_agent(UpdateAgent(name="A0", port=1), CALL)
    await second.register_agent(commands[0], CALL)
    assert second.registry.revision == revision + 2, "the oldest command is forgotten and runs again"


async def test_after_a_restart_every_lease_gets_one_period_of_grace_and_what_the_one_before_may_renew(
    bench: Bench,
) -> None:
    first = await bench.start()
    await first.register_agents(RegisterAgents(agents=(process("A"), process("B", lease_s=5))), CALL)
    bench.clock.advance(500)
    second = await bench.start()
    await second.tick()
    assert [agent.state for agent in second.registry.agents()] == [AgentState.STARTING] * 2
    bench.clock.advance(5 + RegistryConfig().confirmed_within_s)
    await second.tick()
    states = {agent.name: agent.state for agent in second.registry.agents()}
    assert states == {"A": AgentState.STARTING, "B": AgentState.LOST}


async def test_renewals_are_written_in_batches(bench: Bench) -> None:
    first = await bench.start()
    await first.register_agents(RegisterAgents(agents=(process("A"), process("B"))), CALL)
    await first.heartbeat(Heartbeat(name="A"), CALL)
    await first.tick()
    bench.clock.advance(10)
    await first.heartbeat(Heartbeat(name="A"), CALL)
    seen_at_s = bench.clock.now_s()
    commits = bench.store.commits
    await first.tick()
    await first.tick()
    assert bench.store.commits == commits + 1
    second = await bench.start()
    agent = await second.get_agent(GetAgent(name="A"), CALL)
    assert agent.last_seen_at_s == seen_at_s
    assert agent.revision == 3


async def test_an_old_writer_is_fenced_and_says_so(bench: Bench) -> None:
    first = await bench.start()
    await first.register_agent(process("A"), CALL)
    second = await bench.start()
    with pytest.raises(ServiceUnavailable, match="taken over"):
        await first.register_agent(process("B"), CALL)
    assert first.is_fenced
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="taken over"):
            await first.get_agent(GetAgent(name="A"), CALL)
    health = await first.health(GetHealth(), CALL)
    assert not health.is_ready
    assert {check.name: check.reason for check in health.checks}[
        "writer"
    ] == "another instance has taken over"
    await first.tick()
    await first.probe_round()
    await asyncio.wait_for(first.run(asyncio.Event()), 5)
    with pytest.raises(AgentNotFound):
        await second.get_agent(GetAgent(name="B"), CALL)


async def test_an_idle_old_writer_notices_with_its_next_flush(bench: Bench) -> None:
    first = await bench.start()
    await bench.start()
    await first.tick()
    assert first.is_fenced


async def test_a_commit_that_failed_has_changed_nothing(bench: Bench) -> None:
    service = await bench.start()
    await service.register_agent(process("A"), CALL)
    bench.store.fail_before = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await service.register_agent(process("B"), CALL)
    health = await service.health(GetHealth(), CALL)
    assert not health.is_ready
    assert {check.name: check.reason for check in health.checks}["store"] == "away"
    assert service.registry.agent("B") is None
    assert (await service.register_agent(process("C"), CALL)).revision == 2
    assert (await service.health(GetHealth(), CALL)).is_ready
    assert service.registry.agent("B") is None
    assert [event.name for event in bench.published] == ["A", "C"]


async def test_a_commit_that_happened_although_it_failed_is_found_and_published(bench: Bench) -> None:
    service = await bench.start()
    await service.register_agent(process("A"), CALL)
    command = process("B")
    bench.store.fail_after = StoreUnavailable("the answer was lost")
    with pytest.raises(StoreUnavailable):
        await service.register_agent(command, CALL)
    again = await service.register_agent(command, CALL)
    assert again.revision == 2
    assert service.registry.revision == 2
    assert [event.name for event in bench.published] == ["A", "B"]


async def test_a_reload_keeps_renewals_and_machines_in_memory(bench: Bench) -> None:
    service = await bench.start()
    await service.register_agent(process("A"), CALL)
    await service.heartbeat(Heartbeat(name="A"), CALL)
    bench.clock.advance(5)
    await service.heartbeat(Heartbeat(name="A"), CALL)
    bench.store.fail_before = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await service.register_agent(process("B"), CALL)
    await service.register_agent(process("C"), CALL)
    assert (await service.get_agent(GetAgent(name="A"), CALL)).last_seen_at_s == bench.clock.now_s()


async def test_a_late_commit_of_somebody_else_leads_to_a_second_decision(bench: Bench) -> None:
    service = await bench.start()
    await service.register_agent(process("A"), CALL)
    meta = await bench.store.get("meta")
    assert meta is not None
    await MemoryStore.commit(bench.store, [Put("meta", meta.value)], epoch=bench.state.epoch)
    assert (await service.register_agent(process("B"), CALL)).revision == 2


async def test_a_store_that_stays_away_makes_every_command_fail_and_no_look_up(bench: Bench) -> None:
    service = await bench.start()
    await service.register_agent(process("A"), CALL)
    bench.state.is_reachable = False
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await service.register_agent(process("B"), CALL)
    assert await service.get_agent(GetAgent(name="A"), CALL)
    await service.tick()
    bench.state.is_reachable = True
    await service.register_agent(process("B"), CALL)


async def test_commands_that_arrive_during_a_commit_share_the_next_one(bench: Bench) -> None:
    service = await bench.start()
    opened = asyncio.Event()
    bench.store.gate = opened.wait
    commands = [
        asyncio.create_task(service.register_agent(process(f"A{number}"), CALL)) for number in range(9)
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(AgentNotFound):
        await service.get_agent(GetAgent(name="A0"), CALL)
    late = asyncio.create_task(service.register_agent(process("A9"), CALL))
    await asyncio.sleep(0)
    opened.set()
    revisions = [made.revision for made in await asyncio.gather(*commands, late)]
    assert revisions == list(range(1, 11))
    assert bench.store.commits == 2


async def test_the_same_command_twice_in_one_commit_is_done_once(bench: Bench) -> None:
    service = await bench.start()
    command = process("A")
    first, second = await asyncio.gather(
        service.register_agent(command, CALL), service.register_agent(command, CALL)
    )
    assert first is second
    replies = await asyncio.gather(
        service.register_agent(process("B", request_id="x"), CALL),
        service.register_agent(process("C", request_id="x"), CALL),
        return_exceptions=True,
    )
    assert "Request id x" in str(replies[1])


async def test_a_heartbeat_during_a_commit_of_its_agent_waits_for_it(bench: Bench) -> None:
    service = await bench.start()
    await service.register_agent(process("A"), CALL)
    await service.heartbeat(Heartbeat(name="A"), CALL)
    opened = asyncio.Event()
    bench.store.gate = opened.wait
    removal = asyncio.create_task(service.deregister_agent(DeregisterAgent(name="A"), CALL))
    for _ in range(3):
        await asyncio.sleep(0)
    heartbeat = asyncio.create_task(service.heartbeat(Heartbeat(name="A"), CALL))
    await asyncio.sleep(0)
    assert not heartbeat.done()
    opened.set()
    assert (await removal).was_known
    with pytest.raises(AgentNotFound):
        await heartbeat


async def test_a_renewal_during_an_update_is_kept(bench: Bench) -> None:
    service = await bench.start()
    await service.register_agent(process("A"), CALL)
    await service.heartbeat(Heartbeat(name="A"), CALL)
    opened = asyncio.Event()
    bench.store.gate = opened.wait
    update = asyncio.create_task(service.update_agent(UpdateAgent(name="A", port=80), CALL))
    for _ in range(3):
        await asyncio.sleep(0)
    bench.clock.advance(7)
    heartbeat = asyncio.create_task(service.heartbeat(Heartbeat(name="A"), CALL))
    await asyncio.sleep(0)
    opened.set()
    await asyncio.gather(update, heartbeat)
    agent = await service.get_agent(GetAgent(name="A"), CALL)
    assert (agent.port, agent.last_seen_at_s) == (80, bench.clock.now_s())


async def test_a_commit_that_hangs_ends_in_time(bench: Bench) -> None:
    service = await bench.start(commit_timeout_s=0.01)
    never = asyncio.Event()
    bench.store.gate = never.wait
    with pytest.raises(StoreUnavailable, match="did not finish"):
        await service.register_agent(process("A"), CALL)
    bench.store.gate = None


async def test_a_deadline_is_kept(bench: Bench) -> None:
    service = await bench.start(command_timeout_s=0.01)
    over = CallContext(deadline_at_s=bench.clock.now_s() - 1)
    with pytest.raises(DeadlineExceeded, match="was over"):
        await service.register_agent(process("A"), over)
    opened = asyncio.Event()
    bench.store.gate = opened.wait
    with pytest.raises(DeadlineExceeded, match="may still take effect"):
        await service.register_agent(process("B"), CALL)
    opened.set()


async def test_a_service_answers_only_between_start_and_stop(bench: Bench) -> None:
    store = MemoryStore(clock=bench.clock, state=bench.state)
    service = CoreOrchestrator(store, bench.clock)
    with pytest.raises(ServiceUnavailable, match="not serving"):
        await service.get_agent(GetAgent(name="A"), CALL)
    assert not (await service.health(GetHealth(), CALL)).is_ready
    await service.tick()
    await service.start()
    assert (await service.health(GetHealth(), CALL)).epoch == 1
    watching = asyncio.create_task(service.watch_agents(WatchAgents(), CALL))
    await asyncio.sleep(0)
    await service.stop()
    await service.stop()
    with pytest.raises(ServiceUnavailable, match="not serving"):
        await watching
    with pytest.raises(ServiceUnavailable, match="not serving"):
        await service.register_agent(process("A"), CALL)


async def test_a_start_without_a_store_fails_and_can_be_repeated(bench: Bench) -> None:
    bench.state.is_reachable = False
    service = CoreOrchestrator(MemoryStore(clock=bench.clock, state=bench.state), bench.clock)
    with pytest.raises(StoreUnavailable):
        await service.start()
    bench.state.is_reachable = True
    await service.start()
    await service.stop()


def lose_record(meta: bytes) -> Delete:
    return Delete("agent/A")


def swap_record(meta: bytes) -> Put:
    fields = {"name": "A", "kind": "process", "host": "h", "state": "starting", "revision": 2}
    return Put("agent/A", orjson.dumps({**fields, "state_since_s": 1, "registered_at_s": 1}))


def break_record(meta: bytes) -> Put:
    return Put("agent/A", b'{"name": "A"}')


def break_meta(meta: bytes) -> Put:
    return Put("meta", b"[]")


def raise_format(meta: bytes) -> Put:
    return Put("meta", orjson.dumps({**orjson.loads(meta), "format": 99}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_record, "log changes, entry 1"),
        (swap_record, "log changes, entry 1"),
        (break_record, "agent/A"),
        (break_meta, "unreadable at meta"),
        (raise_format, "format 99"),
    ],
)
async def test_a_store_that_cannot_be_read_is_named(
    bench: Bench, damage: Callable[[bytes], Op], message: str
) -> None:
    service = await bench.start()
    await service.register_agent(process("A"), CALL)
    meta = await bench.store.get("meta")
    assert meta is not None
    await MemoryStore.commit(bench.store, [damage(meta.value)], epoch=bench.state.epoch)
    with pytest.raises(StoreError, match=message):
        await CoreOrchestrator(bench.store, bench.clock).start()


async def test_the_loop_ticks_until_it_is_stopped(bench: Bench) -> None:
    service = await bench.start(tick_s=0.001, lease_s=5)
    await service.register_agent(process("A"), CALL)
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    bench.clock.advance(6)
    await asyncio.wait_for(service.watch_agents(WatchAgents(from_revision=1), CALL), 5)
    assert (await service.get_agent(GetAgent(name="A"), CALL)).state is AgentState.LOST
    bench.clock.advance(100)
    stop.set()
    await asyncio.wait_for(running, 5)
    bench.clock.advance(100)
    checks = {check.name: check for check in (await service.health(GetHealth(), CALL)).checks}
    assert checks["upkeep"].status == "degraded"


async def test_one_bad_turn_does_not_end_the_loop(bench: Bench) -> None:
    service = await bench.start(tick_s=0.001)
    turns = 0

    stop = asyncio.Event()

    async def break_down() -> None:
        nonlocal turns
        turns += 1
        bench.clock.advance(11)
        if turns > 2:
            stop.set()
        raise ZeroDivisionError

    bench.prober.before_each = break_down
    await service.register_agent(RegisterAgent(name="Old", port=1), CALL)
    bench.clock.advance(11)
    await asyncio.wait_for(service.run(stop), 5)
    assert turns > 2


async def test_a_subscriber_that_fails_does_not_undo_a_commit(bench: Bench) -> None:
    service = await bench.start()
    bench.is_subscriber_broken = True
    assert (await service.register_agent(process("A"), CALL)).revision == 1
