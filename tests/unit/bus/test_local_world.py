"""Any mixture of sending, waiting, asking, closing, giving up and running out of time: the account is always right."""

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.unit.bus.local_world import LocalWorld
from tests.unit.bus.virtual_time import VirtualLoop
from zejzl_ray.bus import local_mail, post_office
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import MessagePriority

AGENTS = st.sampled_from(["a", "b", "c"])
SENDERS = st.sampled_from(["a", "b", "c", "x"])
PRIORITIES = st.sampled_from(list(MessagePriority))
THINGS = st.sampled_from(
    [
        *("send", "receive", "step") * 3,
        *("request", "respond", "pass", "close", "open", "open"),
        *("cancel send", "cancel receive", "cancel receive", "cancel request", "cancel respond"),
    ]
)
LIMITS = st.sampled_from([0.0, 1.0, 7.0, 50.0])


class LocalMachine(RuleBasedStateMachine):
    """See ``LocalWorld``."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.world = LocalWorld(self.loop)

    @initialize(overflow=st.sampled_from(list(Overflow)), capacity=st.integers(1, 4))
    def begin(self, overflow: Overflow, capacity: int) -> None:
        for agent in ("a", "b", "c"):
            self.world.open(agent, capacity, overflow)

    @rule(agent=AGENTS, capacity=st.integers(1, 4), overflow=st.sampled_from(list(Overflow)))
    def open(self, agent: str, capacity: int, overflow: Overflow) -> None:
        self.world.open(agent, capacity, overflow)

    @rule(agent=AGENTS)
    def close(self, agent: str) -> None:
        self.world.close(agent)

    @rule(agent=AGENTS)
    def clear(self, agent: str) -> None:
        self.world.clear(agent)

    @rule(
        sender=SENDERS,
        to=AGENTS,
        priority=PRIORITIES,
        lives_s=st.one_of(st.none(), LIMITS),
        count=st.integers(1, 4),
    )
    def send(
        self, sender: str, to: str, priority: MessagePriority, lives_s: float | None, count: int
    ) -> None:
        for _ in range(count):
            self.world.send(sender, to, priority, lives_s)

    @rule(sender=SENDERS)
    def broadcast(self, sender: str) -> None:
        self.world.broadcast(sender)
        self.world.step(30)

    @rule(sender=AGENTS, to=AGENTS, limit_s=LIMITS)
    def request(self, sender: str, to: str, limit_s: float) -> None:
        self.world.request(sender, to, limit_s)

    @rule(which=st.integers(0, 9))
    def respond(self, which: int) -> None:
        self.world.respond(which)

    @rule(agent=AGENTS, limit_s=LIMITS, count=st.integers(1, 3))
    def receive(self, agent: str, limit_s: float, count: int) -> None:
        for _ in range(count):
            self.world.receive(agent, limit_s)

    @rule(agent=AGENTS, things=st.lists(THINGS, min_size=5, max_size=30))
    def rush(self, agent: str, things: list[str]) -> None:
        """Much at once around one agent, with hardly a step of the loop in between."""
        for number, thing in enumerate(things):
            self._one(thing, agent, number)

    def _one(self, thing: str, agent: str, number: int) -> None:
        world, limit_s = self.world, 7.0 if number % 3 else 0.0
        match thing:
            case "send":
                world.send("x", agent, MessagePriority.NORMAL, None if number % 4 else limit_s)
            case "receive":
                world.receive(agent, limit_s)
            case "request":
                world.request("a", agent, 7.0)
            case "respond":
                world.respond(number)
            case "step":
                world.step(1)
            case "pass":
                world.pass_time(7.0)
            case "close":
                world.close(agent)
            case "open":
                world.open(agent, 1 + number % 2, Overflow.WAIT)
            case cancelled:
                world.cancel(cancelled.removeprefix("cancel "), number if number % 2 else 0)

    @rule(rounds=st.integers(1, 3))
    def step(self, rounds: int) -> None:
        self.world.step(rounds)

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def look(self) -> None:
        self.world.check_now()

    @invariant()
    def nothing_unseen(self) -> None:
        assert self.loop.problems == []

    def teardown(self) -> None:
        try:
            self.world.check_in_the_end()
            assert self.loop.problems == []
        finally:
            self.loop.close()


@pytest.mark.parametrize("yield_every", [63, 0])
def test_every_message_ends_once_in_order_and_for_a_true_reason(
    yield_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 0 everybody lets others go first after every message, so that everything may come in between."""
    monkeypatch.setattr(local_mail, "YIELD_EVERY", yield_every)
    monkeypatch.setattr(post_office, "YIELD_EVERY", yield_every)
    settings = hypothesis.settings(
        max_examples=60,
        stateful_step_count=30,
        phases=[hypothesis.Phase.generate],  # making a failure smaller takes longer than a test may
    )
    run_state_machine_as_test(LocalMachine, settings=settings)
