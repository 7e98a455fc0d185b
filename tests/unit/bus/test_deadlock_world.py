"""Any system, in any order of events: what is found was true, and what is true is found."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.bus.wait_world import World
from zejzl_ray.bus.deadlock_finder import DeadlockPolicy

EVER = DeadlockPolicy(fresh_s=1e9, forget_s=1e9)
LEAVE_ALONE = DeadlockPolicy(break_youngest=False, fresh_s=1e9, forget_s=1e9)
SEEDS = st.integers(0, 2**32)


def settle(world: World, steps: int) -> None:
    for _ in range(steps):
        world.step(may_begin=False)


@settings(max_examples=150)
@given(seed=SEEDS, has_timeouts=st.booleans(), breaks=st.booleans())
def test_every_deadlock_that_is_found_was_one(seed: int, has_timeouts: bool, breaks: bool) -> None:
    world = World(random.Random(seed), EVER if breaks else LEAVE_ALONE, has_timeouts=has_timeouts)
    for _ in range(300):
        world.step(may_begin=True)
    for found in world.found:
        ids = set(found.correlation_ids)
        assert any(ids <= stuck for stuck in world.stuck_once), f"{found} was never there"


@settings(max_examples=60)
@given(seed=SEEDS)
def test_every_deadlock_is_found(seed: int) -> None:
    world = World(random.Random(seed), LEAVE_ALONE, has_timeouts=True)
    for _ in range(200):
        world.step(may_begin=True)
    settle(world, 1000)
    stuck = world.truly_stuck()
    told = [set(found.correlation_ids) for found in world.found]
    assert bool(stuck) == any(ids <= stuck for ids in told)


@settings(max_examples=60)
@given(seed=SEEDS)
def test_breaking_the_youngest_request_ends_every_deadlock(seed: int) -> None:
    world = World(random.Random(seed), EVER, has_timeouts=False)
    for _ in range(200):
        world.step(may_begin=True)
    rounds = 0
    while world.truly_stuck() and rounds < 100:
        settle(world, 300)
        rounds += 1
    assert not world.truly_stuck()


def test_the_worlds_do_have_deadlocks() -> None:
    """Otherwise the tests above would say nothing."""
    stuck = 0
    for seed in range(40):
        world = World(random.Random(seed), LEAVE_ALONE, has_timeouts=False)
        for _ in range(200):
            world.step(may_begin=True)
        stuck += bool(world.truly_stuck())
    assert stuck > 10
