"""The audit trail of a process: told at once, written in groups, over outages and restarts."""

import asyncio
from collections.abc import Sequence

import pytest

from zejzl_ray.auth.audit_chain import seal_all, verify_chain
from zejzl_ray.auth.audit_fact import make_fact
from zejzl_ray.auth.audit_store import StoreAuditSink
from zejzl_ray.auth.audit_trail import AuditTrail, TrailLimits
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.contracts.audit import AuditEntry, ChainHead, ReadAudit
from zejzl_ray.errors import Conflict, ServiceUnavailable, StoreUnavailable
from zejzl_ray.store.memory import MemoryState, MemoryStore
from zejzl_ray.testing.clock import ManualClock

CHAIN = "core_orchestrator"
FAST = TrailLimits(flush_period_s=0.001, anchor_period_s=0.001)


class FaultySink(StoreAuditSink):
    """Fails on demand; remembers how long each append was."""

    def __init__(self, state: MemoryState | None = None) -> None:
        super().__init__(MemoryStore(clock=ManualClock(), state=state), own_chain=CHAIN)
        self.faults: list[BaseException | str] = []
        self.sizes: list[int] = []
        self.turns = 0  # of the loop that an append takes
        self.appended = asyncio.Event()

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "hang":
            await asyncio.Event().wait()
        if isinstance(fault, BaseException):
            raise fault
        await super().append(entries)
        self.sizes.append(len(entries))
        self.appended.set()
        if fault == "done, and then away":
            raise StoreUnavailable("no answer")

    async def entries(self) -> list[AuditEntry]:
        page = await self.read(ReadAudit(limit=1000))
        assert verify_chain(page.entries, chain=CHAIN, head=page.head) is None
        return list(page.entries)

    async def told(self) -> list[str]:
        return [entry.target or entry.kind for entry in await self.entries()]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def make_trail(sink: FaultySink, clock: ManualClock, **limits: float) -> AuditTrail:
    sizes = {"max_waiting", "max_counters", "batch"}
    return AuditTrail(
        CHAIN,
        sink,
        clock,
        limits=TrailLimits(**{name: int(v) if name in sizes else v for name, v in limits.items()}),  # type: ignore[arg-type]
    )


def tell(recorder: AuditRecorder, *names: str) -> None:
    for name in names:
        recorder.record("denied", subject="user:ada", target=name)


async def test_what_is_told_is_written_behind_the_start(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock)
    tell(trail, "early")
    await trail.start()
    clock.advance(2.0)
    trail.record(
        "denied", subject="user:ada", operation="a.get", target="x", outcome="forbidden", reason="No scope.",
        address="::1", request_id="req-1", count=2, details={"scope": "a:b:read"},
    )  # fmt: skip
    assert trail.waiting == 1
    await trail.flush()
    entries = await sink.entries()
    assert [entry.kind for entry in entries] == ["started", "denied", "denied"]
    last = entries[-1]
    assert last.model_dump(exclude={"previous", "hash"}) == {
        "chain": CHAIN, "index": 3, "at_s": clock.now_s(), "kind": "denied", "subject": "user:ada",
        "operation": "a.get", "target": "x", "outcome": "forbidden", "reason": "No scope.", "address": "::1",
        "request_id": "req-1", "count": 2, "details": {"scope": "a:b:read"},
    }  # fmt: skip
    assert trail.head == ChainHead(chain=CHAIN, index=3, hash=last.hash)
    assert (trail.waiting, trail.fault) == (0, "")


async def test_a_group_is_one_append(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock, batch=4)
    tell(trail, *"abcdefghi")
    await trail.flush()
    await trail.flush()
    assert sink.sizes == [4, 4, 1]


async def test_a_restart_continues_the_chain_and_says_so(clock: ManualClock) -> None:
    state = MemoryState()
    first = make_trail(FaultySink(state), clock)
    await first.start()
    await first.start()
    tell(first, "a")
    await first.stop()
    sink = FaultySink(state)
    second = make_trail(sink, clock)
    await second.start()
    tell(second, "b")
    await second.stop()
    assert await sink.told() == ["started", "a", "started", "b"]


async def test_a_killed_process_loses_what_waited_and_its_successor_goes_on(clock: ManualClock) -> None:
    state = MemoryState()
    killed = make_trail(FaultySink(state), clock)
    await killed.start()
    tell(killed, "written")
    await killed.flush()
    tell(killed, "lost")
    sink = FaultySink(state)
    successor = make_trail(sink, clock)
    await successor.start()
    tell(successor, "next")
    await successor.flush()
    assert await sink.told() == ["started", "written", "started", "next"]


async def test_a_process_killed_between_commit_and_answer_repeats_nothing(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock)
    await trail.start()
    sink.faults = ["done, and then away", StoreUnavailable("away")]
    tell(trail, "a")
    await trail.flush()
    assert trail.fault == "no answer"
    tell(trail, "b")
    await trail.flush()
    assert (trail.fault, trail.waiting) == ("away", 2)
    await trail.flush()
    assert (trail.fault, trail.waiting) == ("", 0)
    assert await sink.told() == ["started", "a", "b"]


async def test_a_sink_that_is_away_at_the_start_gets_all_of_it_later(clock: ManualClock) -> None:
    state = MemoryState(is_reachable=False)
    sink = FaultySink(state)
    trail = make_trail(sink, clock)
    await trail.start()
    assert trail.head is None
    tell(trail, "a", "b")
    await trail.flush()
    state.is_reachable = True
    await trail.flush()
    assert await sink.told() == ["started", "a", "b"]


async def test_while_the_sink_is_away_memory_is_bounded_and_the_loss_is_an_entry(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock, max_waiting=5, batch=2)
    await trail.start()
    sink.faults = [OSError("no disk")] * 30
    for n in range(30):
        tell(trail, str(n))
        await trail.flush()
        assert trail.waiting <= 5 + 1 + 2 * 2
    assert trail.fault == "OSError"
    await trail.flush()
    entries = await sink.entries()
    kept = [entry.target for entry in entries if entry.kind == "denied"]
    dropped = [entry for entry in entries if entry.kind == "dropped"]
    assert kept == [str(n) for n in range(len(kept))]
    assert [(entry.count, entry.outcome) for entry in dropped] == [(30 - len(kept), "dropped")]


async def test_a_sink_that_hangs_is_left_after_the_time_limit_and_asked_again(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock, call_timeout_s=0.001)
    sink.faults = ["hang"]
    tell(trail, "a")
    await trail.flush()
    assert trail.fault == "no answer within 0.001 s"
    await trail.flush()
    assert await sink.told() == ["a"]


async def test_a_chain_that_was_moved_by_somebody_else_is_continued_where_it_stands(
    clock: ManualClock,
) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock)
    tell(trail, "a")
    await trail.flush()
    foreign = seal_all(trail.head, CHAIN, [make_fact(1.0, "denied", target="foreign")])
    await StoreAuditSink.append(sink, foreign)
    tell(trail, "b")
    await trail.flush()
    assert "foreign" not in trail.fault
    assert trail.fault
    tell(trail, "c")
    await trail.flush()
    assert await sink.told() == ["a", "foreign", "b", "c"]


@pytest.mark.parametrize(
    "fault", [StoreUnavailable("away"), Conflict("the chain stands elsewhere"), "done, and then away"]
)
async def test_the_group_behind_the_one_on_its_way_is_ready_and_waits_for_it(
    clock: ManualClock, fault: BaseException | str
) -> None:
    sink = FaultySink()
    sink.turns, sink.faults = 5, [fault]
    trail = make_trail(sink, clock, batch=2)
    tell(trail, *"abcde")
    await trail.flush()
    assert (bool(trail.fault), trail.waiting, sink.sizes) == (True, 5, [2] if isinstance(fault, str) else [])
    tell(trail, "f")
    await trail.flush()
    assert (trail.fault, trail.waiting, sink.sizes[-2:]) == ("", 0, [2, 2])
    assert await sink.told() == list("abcdef")


async def test_grants_are_counted_a_subject_operation_and_minute(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock)
    for _ in range(5):
        trail.count_grant("user:ada", "a.get")
    trail.count_grant("user:ada", "a." + "x" * 500)
    await trail.flush()
    assert await sink.entries() == []
    clock.advance(60.0)
    trail.count_grant("user:ada", "a.get")
    await trail.flush()
    assert [(e.kind, e.operation[:5], e.count) for e in await sink.entries()] == [
        ("grants_counted", "a.get", 5),
        ("grants_counted", "a.xxx", 1),
    ]
    await trail.stop()
    assert [entry.count for entry in await sink.entries()] == [5, 1, 1]


async def test_running_writes_soon_and_anchors_what_is_written(clock: ManualClock) -> None:
    sink, heads, anchored = FaultySink(), list[ChainHead](), asyncio.Event()

    async def anchor(head: ChainHead) -> None:
        heads.append(head)
        if len(heads) == 1:
            raise ServiceUnavailable("the gateway is away")
        anchored.set()

    trail = AuditTrail(CHAIN, sink, clock, anchor=anchor, limits=FAST)
    stop = asyncio.Event()
    running = asyncio.create_task(trail.run(stop))
    tell(trail, "a")
    async with asyncio.timeout(5):
        await anchored.wait()
        assert heads == [trail.head, trail.head]
        stop.set()
        await running
    tell(trail, "b")
    await trail.stop()
    assert await sink.told() == ["a", "b"]
    assert [head.index for head in heads] == [1, 1, 2]
    await trail.stop()
    assert len(heads) == 3


async def test_a_full_group_does_not_wait_for_the_period(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock, batch=3, flush_period_s=1000.0)
    stop = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(trail.run(stop))
        tell(trail, *"abc")
        await sink.appended.wait()
        stop.set()
    assert await sink.told() == ["a", "b", "c"]


async def test_a_sink_that_fails_is_tried_every_period_and_the_loop_goes_on(clock: ManualClock) -> None:
    sink = FaultySink()
    sink.faults = [StoreUnavailable("away"), RuntimeError("a bug"), StoreUnavailable("away")]
    trail = AuditTrail(CHAIN, sink, clock, limits=FAST)
    stop = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(trail.run(stop))
        tell(trail, "a")
        await sink.appended.wait()
        stop.set()
    assert (await sink.told(), sink.faults) == (["a"], [])


async def test_stopping_gives_up_after_its_time_limit(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock)
    sink.faults = ["hang"]
    tell(trail, "a")
    async with asyncio.timeout(5):
        await trail.stop(timeout_s=0.001)
    assert trail.waiting == 1


async def test_secrets_are_cut_out_before_anything_waits(clock: ManualClock) -> None:
    sink = FaultySink()
    trail = make_trail(sink, clock)
    trail.record(
        "denied", reason="the key zk_0123456789abcdef_" + "5f" * 32, details={"token": "eyJhbGciOiJF.x.y"}
    )
    await trail.flush()
    entry = (await sink.entries())[0]
    assert (entry.reason, entry.details) == ("the key [hidden]", {"token": "[hidden]"})
