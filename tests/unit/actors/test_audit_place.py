"""A service's own audit trail: its store is opened when it is needed, given up when somebody else writes it."""

import asyncio

import pytest

from actors.audit_place import AuditPlace
from zejzl_ray.auth.audit_chain import seal_all
from zejzl_ray.auth.audit_fact import make_fact
from zejzl_ray.contracts.audit import AuditEntry, ChainHead, ReadAudit
from zejzl_ray.errors import NotFound, StaleEpoch, StoreUnavailable
from zejzl_ray.store.memory import MemoryState, MemoryStore
from zejzl_ray.testing import ManualClock

CHAIN = "error_bus"


class Disk:
    """Opens stores over one state; fails as often as it is told."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.opened: list[MemoryStore] = []
        self.faults: list[Exception] = []

    async def open(self) -> MemoryStore:
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        self.opened.append(MemoryStore(clock=ManualClock(), state=self.state))
        return self.opened[-1]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def place(disk: Disk) -> AuditPlace:
    return AuditPlace(CHAIN, disk.open)


def entries(previous: ChainHead | None, *kinds: str) -> list[AuditEntry]:
    facts = [make_fact(1.0, kind, "", "", "", "ok", "", "", "", 1, None) for kind in kinds]
    return list(seal_all(previous, CHAIN, facts))


async def is_closed(store: MemoryStore) -> bool:
    try:
        await store.get("any")
    except StoreUnavailable:
        return True
    return False


async def test_nothing_is_opened_before_it_is_needed_and_then_once(disk: Disk, place: AuditPlace) -> None:
    await place.close()
    assert disk.opened == []
    heads = await asyncio.gather(place.head(CHAIN), place.head(CHAIN), place.chains())
    assert len(disk.opened) == 1
    assert heads[0] is None


async def test_what_was_appended_is_read_also_without_naming_the_chain(disk: Disk, place: AuditPlace) -> None:
    assert (await place.read(ReadAudit())).entries == ()
    sealed = entries(None, "started", "denied")
    await place.append(sealed)
    for request in (ReadAudit(), ReadAudit(chain=CHAIN)):
        assert list((await place.read(request)).entries) == sealed
    assert (await place.head(CHAIN)) == (await place.chains()).heads[0]
    with pytest.raises(NotFound):
        await place.read(ReadAudit(chain="another"))


async def test_a_store_that_is_away_is_tried_again_with_the_next_call(disk: Disk, place: AuditPlace) -> None:
    disk.faults = [StoreUnavailable("away")]
    with pytest.raises(StoreUnavailable, match="away"):
        await place.head(CHAIN)
    assert await place.head(CHAIN) is None


async def test_a_store_that_cannot_be_taken_over_is_closed(
    disk: Disk, place: AuditPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: MemoryStore) -> int:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "take_epoch", refuse)
        with pytest.raises(StoreUnavailable, match="no answer"):
            await place.head(CHAIN)
    assert await is_closed(disk.opened[0])
    assert await place.head(CHAIN) is None
    assert len(disk.opened) == 2


async def test_a_process_that_was_replaced_writes_no_more(disk: Disk, place: AuditPlace) -> None:
    await place.append(entries(None, "started"))
    successor = AuditPlace(CHAIN, disk.open)
    head = await successor.head(CHAIN)
    with pytest.raises(StaleEpoch):
        await place.append(entries(head, "too late"))
    assert await is_closed(disk.opened[0])
    with pytest.raises(StaleEpoch):  # and never takes it back
        await place.append(entries(head, "too late"))
    assert len(disk.opened) == 2
    await successor.append(entries(head, "started"))
    assert [entry.kind for entry in (await successor.read(ReadAudit())).entries] == ["started", "started"]
    await successor.close()
    await successor.close()
    assert await is_closed(disk.opened[1])
