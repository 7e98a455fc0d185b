"""Random histories with crashes between any two commits, and commits of which the answer is lost."""

import asyncio
import logging
from typing import Any

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.bus.durable_world import World
from zejzl_ray.store import MemoryState, MemoryStore
from zejzl_ray.testing import ManualClock

loses = st.sampled_from(["", "", "", "before", "after"])
agents = st.sampled_from(["a", "b"])
steps = st.one_of(
    st.tuples(st.just("send"), agents, st.integers(1, 5), loses),
    st.tuples(st.just("send"), agents, st.integers(1, 5), loses),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("handle"), agents, loses),
    st.tuples(st.just("handle"), agents, loses),
    st.tuples(st.just("tell"), agents),
    st.tuples(st.just("go_round"), agents),
    st.tuples(st.just("go_round"), agents),
    st.tuples(st.just("flush"), loses),
    st.tuples(st.just("crash_sender")),
    st.tuples(st.just("crash_receiver"), agents),
    st.tuples(st.just("wait"), st.integers(1, 10)),
)


async def run(history: list[tuple[Any, ...]]) -> World:
    clock = ManualClock()
    states: dict[str, MemoryState] = {}

    async def open_store(namespace: str) -> MemoryStore:
        return MemoryStore(clock=clock, state=states.setdefault(namespace, MemoryState()))

    world = World(open_store, clock)
    await world.start()
    for name, *arguments in history:
        if name == "wait":
            clock.advance(*arguments)
        else:
            await getattr(world, name)(*arguments)
    await world.check_in_the_end()
    await world.close()
    return world


@settings(max_examples=300)
@given(st.lists(steps, max_size=60))
def test_nothing_promised_is_lost_and_nothing_acknowledged_is_handled_twice(
    history: list[tuple[Any, ...]],
) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(run(history))


async def test_a_crash_between_handling_and_acknowledging_is_the_one_way_to_handle_twice() -> None:
    world = await run(
        [
            ("send", "a", 2, ""),
            ("deliver",),
            ("handle", "a", "before"),
            ("crash_receiver", "a"),
            ("handle", "a", ""),
            ("deliver",),
            ("handle", "a", ""),
        ]
    )
    assert sorted(world.handled.items()) == [(0, 2), (1, 1)]
    assert world.excused[0] == 1


async def test_a_crash_after_the_acknowledgement_was_stored_and_not_answered_handles_once() -> None:
    world = await run(
        [
            ("send", "a", 1, ""),
            ("deliver",),
            ("handle", "a", "after"),
            ("crash_receiver", "a"),
            ("crash_sender",),
        ]
    )
    assert world.handled == {0: 1}
