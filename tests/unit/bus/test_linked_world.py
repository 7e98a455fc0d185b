"""Mail, requests, moves and failures between processes: nothing is read twice, and nothing is lost unseen."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.bus.linked_world import STRANGER, LinkedWorld
from tests.unit.bus.virtual_time import VirtualLoop
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import MessagePriority

AGENTS = ("a", "b", "c", "d")
FAULTS = ("", "", "gone", "refused", "overloaded", "broken", "answer lost", "answer late")
SEEDS = st.integers(0, 2**32)


def run(seed: int, *, faults: tuple[str, ...], moves: bool, steps: int = 60) -> None:
    """Let random things happen, then check."""
    rng = random.Random(seed)
    loop = VirtualLoop()
    try:
        world = LinkedWorld(loop, seed, rng.choice((2, 3)))
        for number, agent in enumerate(AGENTS):
            overflow = rng.choice(list(Overflow))
            world.open(number, agent, rng.choice((2, 5, 50)), overflow, rng.choice((0.0, 0.0, 0.05)))
        for _ in range(steps):
            step(world, rng, faults, moves=moves)
        world.check_in_the_end()
        assert not loop.problems, loop.problems[0]
    finally:
        loop.close()


def step(world: LinkedWorld, rng: random.Random, faults: tuple[str, ...], *, moves: bool) -> None:
    sender, to = rng.choice((*AGENTS, STRANGER)), rng.choice((*AGENTS, "nobody"))
    match rng.choice(("send",) * 5 + ("request",) * 3 + ("time",) * 3 + ("fault", "move", "cancel")):
        case "send":
            lives_s = rng.choice((None, None, 0.01, 1.0))
            for _ in range(rng.choice((1, 1, 5))):
                world.send(sender, to, rng.choice(list(MessagePriority)), lives_s)
        case "request":
            world.request(sender, to, rng.choice((0.05, 1.0, 10.0)))
        case "time":
            world.pass_time(rng.choice((0.0, 0.001, 0.05, 0.5)))
        case "fault" if faults:
            world.fault(rng.randrange(3), rng.randrange(3), rng.choices(faults, k=rng.randint(1, 3)))
        case "move" if moves:
            world.move(rng.choice(AGENTS), rng.randrange(3), rng.choice((0.0, 0.1, 1.0, 5.0)))
        case "cancel":
            world.cancel(rng.randrange(100))


@settings(max_examples=60)
@given(seed=SEEDS)
def test_without_failures_all_mail_is_read_in_order_or_comes_back(seed: int) -> None:
    run(seed, faults=(), moves=False)


@settings(max_examples=60)
@given(seed=SEEDS)
def test_mail_for_agents_that_move_is_read_once_or_comes_back_once(seed: int) -> None:
    run(seed, faults=(), moves=True)


@settings(max_examples=100)
@given(seed=SEEDS)
def test_failures_of_calls_and_answers_make_nobody_read_twice_and_lose_nothing_unseen(seed: int) -> None:
    run(seed, faults=FAULTS, moves=False)


@settings(max_examples=60)
@given(seed=SEEDS)
def test_moves_and_failures_together(seed: int) -> None:
    run(seed, faults=FAULTS, moves=True)
