"""What only the memory store offers to tests."""

import pytest

from zejzl_ray.errors import StoreUnavailable
from zejzl_ray.store import Append, LogEntry, MemoryState, MemoryStore, Put, Versioned
from zejzl_ray.testing import ManualClock


async def test_a_restart_is_a_new_store_over_the_same_state() -> None:
    state, clock = MemoryState(), ManualClock()
    before = MemoryStore(state=state, clock=clock)
    await before.commit([Put("k", b"1"), Append("l", b"1")], epoch=await before.take_epoch())
    await before.close()
    after = MemoryStore(state=state, clock=clock)
    assert await after.get("k") == Versioned(b"1", 1)
    assert await after.read_log("l") == [LogEntry(1, b"1")]
    assert await after.take_epoch() == 2


async def test_an_outage_can_be_acted_out() -> None:
    state = MemoryState()
    store = MemoryStore(state=state, clock=ManualClock())
    epoch = await store.take_epoch()
    state.is_reachable = False
    for call in (store.get("k"), store.scan(""), store.read_log("l"), store.commit([], epoch=epoch)):
        with pytest.raises(StoreUnavailable, match="not reachable"):
            await call
    state.is_reachable = True
    await store.commit([Put("k", b"1")], epoch=epoch)
    assert await store.get("k") == Versioned(b"1", 1)
