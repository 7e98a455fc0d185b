"""The audit trail in a store: kept once, in order, found again, and readable where it is damaged."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.auth.test_audit_chain import CHAIN, make_chain, resealed
from zejzl_ray.auth.audit_chain import Fault, head_after, verify_chain
from zejzl_ray.auth.audit_log import join_lines, locate, oldest_to_keep
from zejzl_ray.auth.audit_store import StoreAuditSink
from zejzl_ray.contracts.audit import GENESIS, AuditEntry, ReadAudit
from zejzl_ray.errors import Conflict, NotFound, StaleEpoch, StoreError, StoreUnavailable, VersionConflict
from zejzl_ray.store.memory import MemoryState, MemoryStore
from zejzl_ray.store.protocol import Op, Put
from zejzl_ray.testing.clock import ManualClock

LOG = f"audit/{CHAIN}".encode()


def make_sink(state: MemoryState, keep: int = 1_000_000) -> StoreAuditSink:
    return StoreAuditSink(MemoryStore(clock=ManualClock(), state=state), own_chain=CHAIN, keep=keep)


async def read_all(sink: StoreAuditSink, limit: int = 1000) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    after = 0
    while page := (await sink.read(ReadAudit(after=after, limit=limit))).entries:
        entries += page
        after = page[-1].index
    return entries


class FlakyStore(MemoryStore):
    """Fails commits: before they happen, after, or with them arriving late."""

    def __init__(self, state: MemoryState, *faults: str) -> None:
        super().__init__(clock=ManualClock(), state=state)
        self.faults = list(faults)
        self._late: list[tuple[Sequence[Op], int, Mapping[str, int] | None]] = []

    async def commit(
        self, ops: Sequence[Op], *, epoch: int, expect: Mapping[str, int] | None = None, commit_id: str = ""
    ) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "late":
            self._late.append((ops, epoch, expect))
        if fault == "overtaken":
            for late, late_epoch, late_expect in self._late:
                await super().commit(late, epoch=late_epoch, expect=late_expect)
        if fault not in {"before", "late"}:
            await super().commit(ops, epoch=epoch, expect=expect, commit_id=commit_id)
        if fault in {"before", "after", "late"}:
            raise StoreUnavailable("no answer")
        if fault == "cancelled":
            raise asyncio.CancelledError


async def test_entries_are_read_as_they_were_appended() -> None:
    sink, chain = make_sink(MemoryState()), make_chain(9)
    assert await sink.head(CHAIN) is None
    await sink.append(chain[:4])
    await sink.append(chain[4:5])
    await sink.append(chain[5:])
    await sink.append([])
    page = await sink.read(ReadAudit(limit=1000))
    assert (list(page.entries), page.head, page.oldest) == (chain, head_after(chain), 1)
    assert await sink.head(CHAIN) == head_after(chain)
    assert (await sink.chains()).heads == (head_after(chain),)


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12), limit=st.integers(1, 40))
def test_every_page_begins_behind_the_one_before_it(sizes: list[int], limit: int) -> None:
    async def run() -> None:
        sink, chain = make_sink(MemoryState()), make_chain(sum(sizes))
        start = 0
        for size in sizes:
            await sink.append(chain[start : start + size])
            start += size
        assert await read_all(sink, limit) == chain
        newest = await sink.read(ReadAudit(limit=limit, is_newest=True))
        assert list(newest.entries) == chain[-limit:]
        assert (await sink.read(ReadAudit(after=len(chain)))).entries == ()
        assert (await sink.read(ReadAudit(after=len(chain) + 5))).entries == ()

    asyncio.run(run())


@given(start=st.integers(0, 6), end=st.integers(1, 9))
def test_entries_that_are_there_already_are_passed_over(start: int, end: int) -> None:
    async def run() -> None:
        state = MemoryState()
        chain = make_chain(9)
        await make_sink(state).append(chain[:6])
        sink = make_sink(state)
        await sink.append(chain[start : max(end, start + 1)])
        await sink.append(chain[start:])
        await sink.append(chain[2:3])
        assert await read_all(sink) == chain

    asyncio.run(run())


async def test_what_does_not_continue_the_chain_is_refused_and_nothing_is_kept() -> None:
    sink, chain = make_sink(MemoryState()), make_chain(9)
    await sink.append(chain[:4])
    other = make_chain(9, text="Other")
    wrong = [
        chain[5:7],
        [chain[4], chain[6]],
        [chain[4], chain[4]],
        [chain[4], *make_chain(6, "other")[5:]],
        other[4:5],
        other[2:6],
        [chain[4], other[5]],
        [resealed(chain[0], subject="user:eve"), *chain[1:5]],
    ]
    for entries in wrong:
        with pytest.raises(Conflict):
            await sink.append(entries)
    assert await read_all(sink) == chain[:4]
    with pytest.raises(Conflict, match="leaves a gap"):
        await make_sink(MemoryState()).append(chain[1:])
    with pytest.raises(Conflict):
        await make_sink(MemoryState()).append([resealed(chain[0], previous="0f" * 32)])


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_commit_in_doubt_is_safe_to_repeat(fault: str) -> None:
    state, chain = MemoryState(), make_chain(6)
    store = FlakyStore(state, "", fault)
    sink = StoreAuditSink(store, own_chain=CHAIN)
    await sink.append(chain[:2])
    with pytest.raises(StoreUnavailable):
        await sink.append(chain[2:4])
    await sink.append(chain[2:4])
    await sink.append(chain[4:])
    assert await read_all(sink) == chain


async def test_a_cancelled_append_is_safe_to_repeat() -> None:
    chain = make_chain(4)
    sink = StoreAuditSink(FlakyStore(MemoryState(), "", "cancelled"), own_chain=CHAIN)
    await sink.append(chain[:2])
    with pytest.raises(asyncio.CancelledError):
        await sink.append(chain[2:])
    await sink.append(chain[2:])
    assert await read_all(sink) == chain


async def test_a_commit_that_arrives_late_adds_nothing_twice() -> None:
    chain = make_chain(6)
    sink = StoreAuditSink(FlakyStore(MemoryState(), "", "late", "overtaken"), own_chain=CHAIN)
    await sink.append(chain[:2])
    with pytest.raises(StoreUnavailable):
        await sink.append(chain[2:4])
    await sink.append(chain[2:5])  # the lost commit lands just before this one
    await sink.append(chain[5:])
    assert await read_all(sink) == chain


async def test_a_store_that_keeps_changing_is_given_up() -> None:
    class Moving(MemoryStore):
        async def commit(
            self,
            ops: Sequence[Op],
            *,
            epoch: int,
            expect: Mapping[str, int] | None = None,
            commit_id: str = "",
        ) -> None:
            raise VersionConflict("changed")

    sink = StoreAuditSink(Moving(clock=ManualClock()), own_chain=CHAIN)
    with pytest.raises(VersionConflict):
        await sink.append(make_chain(1))


async def test_a_successor_goes_on_where_the_chain_stands_and_its_predecessor_is_shut_out() -> None:
    state, chain = MemoryState(), make_chain(6)
    first, second = make_sink(state), make_sink(state)
    await first.append(chain[:2])
    await second.open()
    assert await second.head(CHAIN) == head_after(chain[:2])
    await second.append(chain[2:])
    with pytest.raises(StaleEpoch):
        await first.append(chain[2:4])
    assert await read_all(second) == chain


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_old_entries_are_given_up_and_the_rest_still_checks(size: int) -> None:
    sink, chain = make_sink(MemoryState(), keep=100), make_chain(640)
    for start in range(0, len(chain), size):
        await sink.append(chain[start : start + size])
    page = await sink.read(ReadAudit(limit=1000))
    assert 100 <= len(page.entries) <= 101 + 2 * size
    assert page.entries[0].index == page.oldest == 641 - len(page.entries)
    found = verify_chain(page.entries, page.entries[0].previous, page.oldest, head=page.head)
    assert found is None


@pytest.mark.parametrize(
    ("oldest", "last", "keep", "stays"),
    [(1, 100, 100, 1), (1, 101, 100, 1), (1, 102, 100, 3), (1, 1_010_000, 1_000_000, 1), (1, 2, 1, 1)],
)
def test_trimming_waits_for_a_hundredth_more(oldest: int, last: int, keep: int, stays: int) -> None:
    assert oldest_to_keep(oldest, last, keep) == stays


async def test_a_chain_without_entries_shows_an_empty_page_and_an_unknown_one_is_not_found() -> None:
    sink = make_sink(MemoryState())
    page = await sink.read(ReadAudit())
    assert (page.entries, page.head.index, page.head.hash, page.head.chain) == ((), 0, GENESIS, CHAIN)
    with pytest.raises(NotFound):
        await sink.read(ReadAudit(chain="other"))
    with pytest.raises(NotFound):
        await StoreAuditSink(MemoryStore(clock=ManualClock())).read(ReadAudit())


async def test_a_head_that_cannot_be_read_is_named() -> None:
    store = MemoryStore(clock=ManualClock())
    await store.commit([Put(f"head/{CHAIN}", b"{}")], epoch=await store.take_epoch())
    with pytest.raises(StoreError, match=f"head/{CHAIN}"):
        await StoreAuditSink(store).head(CHAIN)


async def test_an_away_store_is_said_and_comes_back() -> None:
    state, chain = MemoryState(is_reachable=False), make_chain(3)
    sink = make_sink(state)
    with pytest.raises(StoreUnavailable):
        await sink.append(chain)
    state.is_reachable = True
    await sink.append(chain)
    assert await read_all(sink) == chain


@given(data=st.data(), sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5))
def test_a_byte_that_changes_on_the_disk_is_found_at_its_entry(data: st.DataObject, sizes: list[int]) -> None:
    async def run() -> None:
        state, chain = MemoryState(), make_chain(sum(sizes))
        sink = make_sink(state)
        start = 0
        for size in sizes:
            await sink.append(chain[start : start + size])
            start += size
        rows = state.logs[LOG].entries
        row = data.draw(st.integers(0, len(rows) - 1))
        position = data.draw(st.integers(0, len(rows[row]) - 1))
        value = data.draw(st.integers(0, 255).filter(lambda value: value != rows[row][position]))
        first_hit = sum(sizes[:row]) + rows[row][:position].count(b"\n") + 1
        rows[row] = rows[row][:position] + bytes([value]) + rows[row][position + 1 :]
        limit = data.draw(st.integers(1, 20))
        entries: list[AuditEntry] = []
        while len(entries) < len(chain):
            page = await sink.read(ReadAudit(after=len(entries), limit=limit))
            if not page.entries:
                break
            entries += page.entries
        broken = verify_chain(entries, chain=CHAIN, head=head_after(chain))
        assert broken is not None
        assert broken.index == first_hit

    asyncio.run(run())


async def test_a_chain_cut_off_in_its_store_is_read_from_what_is_left() -> None:
    state, chain = MemoryState(), make_chain(9)
    sink = make_sink(state)
    for entry in chain:
        await sink.append([entry])
    del state.logs[LOG].entries[:5]
    page = await sink.read(ReadAudit(limit=2))
    assert [entry.index for entry in page.entries] == [6, 7]
    broken = verify_chain(page.entries, first_index=page.oldest, head=page.head)
    assert broken is not None
    assert (broken.index, broken.fault) == (1, Fault.CUT_AT_FRONT)
    del state.logs[LOG].entries[:]
    assert (await sink.read(ReadAudit())).entries == ()


async def test_a_place_is_found_among_many_with_few_look_ups() -> None:
    state = MemoryState()
    store = MemoryStore(clock=ManualClock(), state=state)
    sink, chain = StoreAuditSink(store), make_chain(3000)
    for start in range(0, 3000, 3):
        await sink.append(chain[start : start + 3])
    looks = 0

    class Counting(MemoryStore):
        async def read_log(self, log: str, *, after: int = 0, limit: int = 1000):  # type: ignore[no-untyped-def]
            nonlocal looks
            looks += 1
            return await super().read_log(log, after=after, limit=limit)

    place = await locate(Counting(clock=ManualClock(), state=state), f"audit/{CHAIN}", 2000)
    assert place is not None
    assert (place.first, place.row.value) == (1999, join_lines(chain[1998:2001]))
    assert looks <= 15
