import asyncio
from typing import Any

import pytest

from zejzl_ray.bus.inboxes import Inboxes, namespace_of
from zejzl_ray.errors import BusClosed, StaleEpoch, StoreLocked, StoreUnavailable
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.store import MemoryState, MemoryStore
from zejzl_ray.testing import ManualClock


class Stores:
    """Opens memory stores whose content stays, and counts what is open."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.states: dict[str, MemoryState] = {}
        self.open = 0
        self.most_open = 0
        self.opened: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.close_error: Exception | None = None

    async def __call__(self, namespace: str) -> "CountedStore":
        await self.gate.wait()
        self.opened.append(namespace)
        if self.error is not None:
            raise self.error
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        return CountedStore(self, self.states.setdefault(namespace, MemoryState()))

    def inboxes(self) -> Inboxes:
        return Inboxes(self, self.clock)


class CountedStore(MemoryStore):
    def __init__(self, stores: Stores, state: MemoryState) -> None:
        super().__init__(clock=stores.clock, state=state)
        self._stores = stores

    async def close(self) -> None:
        self._stores.open -= 1
        await super().close()
        if self._stores.close_error is not None:
            raise self._stores.close_error


async def rest() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def stores() -> Stores:
    return Stores()


async def test_an_inbox_is_opened_when_it_is_first_looked_for(stores: Stores) -> None:
    inboxes = stores.inboxes()
    opened: list[str] = []
    inboxes.on_opened = opened.append
    assert inboxes.peek("reader") is None
    await rest()
    assert stores.opened == []  # looking without wanting opens nothing
    assert inboxes.find("reader") is None
    assert inboxes.find("reader") is None
    await rest()
    assert inboxes.find("reader") is not None
    assert inboxes.find("reader") is inboxes.peek("reader")
    assert stores.opened == ["agent.reader"]
    assert opened == ["reader"]
    await inboxes.close()
    await inboxes.close()
    assert stores.open == 0


async def test_what_is_acknowledged_is_told(stores: Stores) -> None:
    inboxes = stores.inboxes()
    await inboxes.load("reader")
    told: list[Any] = []
    inboxes.on_acknowledged = told.append
    inbox = inboxes.peek("reader")
    assert inbox is not None
    inbox.accept("h~1", 1)
    await inbox.acknowledge("h~1", 1)
    assert told == [{"h~1": [1]}]
    await inboxes.close()


async def test_a_state_is_there_in_the_next_process(stores: Stores) -> None:
    first, second = stores.inboxes(), stores.inboxes()
    assert await first.load("reader") is None
    await first.save("reader", b"one")
    assert await second.load("reader") == b"one"
    with pytest.raises(StaleEpoch):
        await first.save("reader", b"two")
    await first.close()
    await second.close()


async def test_an_agent_that_is_started_again_gets_the_state_it_acknowledged_last(stores: Stores) -> None:
    inboxes = stores.inboxes()
    await inboxes.load("reader")
    inbox = inboxes.peek("reader")
    assert inbox is not None
    inbox.accept("h~1", 1)
    inbox.acknowledge_soon("h~1", 1, state=b"after 1")
    assert await inboxes.load("reader") == b"after 1"
    await inboxes.close()


async def test_an_inbox_that_is_let_go_stores_what_is_under_way_before_it_is_opened_anew(
    stores: Stores,
) -> None:
    inboxes = stores.inboxes()
    await inboxes.load("reader")
    inbox = inboxes.peek("reader")
    assert inbox is not None
    inbox.accept("h~1", 1)
    inbox.acknowledge_soon("h~1", 1, state=b"after 1")
    inboxes.let_go("reader")
    inboxes.let_go("reader")
    assert inboxes.peek("reader") is None
    assert await inboxes.load("reader") == b"after 1"
    again = inboxes.peek("reader")
    assert again is not None
    assert again is not inbox
    assert stores.most_open == 1
    await inboxes.close()


async def test_an_inbox_that_is_let_go_while_it_is_opened_does_not_stay_open(stores: Stores) -> None:
    inboxes = stores.inboxes()
    stores.gate.clear()
    inboxes.find("reader")
    await rest()
    inboxes.let_go("reader")
    stores.gate.set()
    await rest()
    assert inboxes.peek("reader") is None
    assert stores.open == 0
    assert await inboxes.load("reader") is None
    await inboxes.close()
    assert stores.open == 0


async def test_an_inbox_that_is_let_go_again_before_it_was_closed_is_closed_once(stores: Stores) -> None:
    inboxes = stores.inboxes()
    await inboxes.load("reader")
    inboxes.let_go("reader")
    inboxes.find("reader")
    inboxes.let_go("reader")
    await inboxes.close()
    assert stores.opened == ["agent.reader"]
    assert stores.open == 0


async def test_who_waits_for_an_inbox_that_is_let_go_gets_an_error_and_is_not_cancelled(
    stores: Stores,
) -> None:
    inboxes = stores.inboxes()
    stores.gate.clear()
    loading = asyncio.create_task(inboxes.load("reader"))
    await rest()
    await inboxes.close()
    with pytest.raises(BusClosed):
        await loading


async def test_who_is_cancelled_while_it_waits_leaves_the_inbox_to_others(stores: Stores) -> None:
    inboxes = stores.inboxes()
    stores.gate.clear()
    loading, other = asyncio.create_task(inboxes.load("reader")), asyncio.create_task(inboxes.load("reader"))
    await rest()
    loading.cancel()
    stores.gate.set()
    assert await other is None
    assert loading.cancelled()
    assert stores.opened == ["agent.reader"]
    await inboxes.close()


async def test_who_is_cancelled_together_with_the_opening_is_cancelled(stores: Stores) -> None:
    inboxes = stores.inboxes()
    stores.gate.clear()
    loading = asyncio.create_task(inboxes.load("reader"))
    await rest()
    inboxes.let_go("reader")
    loading.cancel()
    await rest()
    assert loading.cancelled()
    await inboxes.close()


@pytest.mark.parametrize("error", [StoreLocked("locked"), StoreUnavailable("away"), OSError("disk")])
async def test_an_inbox_that_cannot_be_opened_is_tried_again_a_little_later(
    stores: Stores, error: Exception
) -> None:
    inboxes = stores.inboxes()
    stores.error = error
    for _ in range(5):
        assert inboxes.find("reader") is None
        await rest()
    assert len(stores.opened) == 1
    with pytest.raises(type(error)):  # an agent that starts does not wait
        await inboxes.load("reader")
    stores.error = None
    stores.clock.advance(1)
    inboxes.find("reader")
    await rest()
    assert inboxes.find("reader") is not None
    await inboxes.close()


async def test_a_store_is_closed_when_its_inbox_cannot_be_read(stores: Stores) -> None:
    stores.states["agent.reader"] = state = MemoryState()
    inboxes = stores.inboxes()
    await inboxes.load("reader")
    await inboxes.close()
    state.is_reachable = False
    with pytest.raises(StoreUnavailable):
        await inboxes.load("reader")
    assert stores.open == 0


async def test_a_store_that_fails_while_it_is_closed_does_not_keep_the_agent_away(stores: Stores) -> None:
    inboxes = stores.inboxes()
    await inboxes.load("reader")
    stores.close_error = RuntimeError("cannot close")
    inboxes.let_go("reader")
    assert await inboxes.load("reader") is None
    assert len(stores.opened) == 2
    await inboxes.close()


async def test_it_says_so_in_the_log_when_a_store_cannot_be_closed(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    inboxes = stores.inboxes()
    await inboxes.load("reader")
    stores.close_error = RuntimeError("cannot close")
    await inboxes.close()
    await rest()
    assert stores.open == 0
    assert "not closed properly" in "".join(capsys.readouterr())


@pytest.mark.parametrize("agent", ["reader", "a b", "é" * 256, "x" * 300, "../etc/passwd", ""])
def test_every_agent_has_a_namespace_that_a_store_takes(agent: str) -> None:
    assert NAME_REGEX.match(namespace_of(agent))


def test_agents_have_namespaces_of_their_own() -> None:
    names = ["reader", "a b", "a_b", "a.b", "x" * 200, "x" * 201, namespace_of("a b").removeprefix("agent.")]
    assert len({namespace_of(name) for name in names}) == len(names)
