"""Mail that is sent at least once: whom its sender believes, and by which clock it goes."""

from collections.abc import Callable

import pytest

from tests.unit.bus.durable_offices import Process, World, mail, numbers
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.ports import News, Outgoing
from zejzl_ray.bus.redelivery import Redelivery

pytestmark = pytest.mark.usefixtures("no_patience")


async def held_by_b() -> tuple[World, Process, str]:
    """Return a world in which host b has taken message 1 of a's outbox, and that outbox."""
    world = World()
    a = await world.start("a", "writer")
    await world.start("b", "reader")
    await a.office.send(mail(1))
    await world.rest()
    for _ in range(4):
        await world.go_on()
    assert a.mail.outbox is not None
    return world, a, a.mail.outbox.origin


@pytest.mark.parametrize(
    "news",
    [
        lambda origin: News(welcome={origin: (1,)}),
        lambda origin: News(settled={origin: (1,)}),
        lambda origin: News(rejected={origin: ((1, DeadLetterReason.EXPIRED, "a lie"),)}),
    ],
)
async def test_news_of_a_stranger_change_nothing(news: Callable[[str], News]) -> None:
    world, a, origin = await held_by_b()
    sent = len(a.office.link("b")), a.office.link("b").messages
    a.mail.hear("c", news(origin))
    await world.go_on()
    assert (len(a.office.link("b")), a.office.link("b").messages) == sent
    assert a.unsettled == 1
    assert not a.office.dead_letters.counts()


async def test_a_welcome_of_the_host_that_let_go_is_believed() -> None:
    world, a, origin = await held_by_b()
    sent = a.office.link("b").messages
    a.mail.hear("b", News(welcome={origin: (1,)}))
    await world.rest()
    assert a.office.link("b").messages == sent + 1


def test_a_host_that_did_not_take_a_message_may_ask_for_it_until_it_goes_to_another() -> None:
    redelivery = Redelivery(roll=lambda: 0.5)
    redelivery.track(1, "x", None, 0.0)
    assert redelivery.sent_last_to([1, 2], "b") == []
    redelivery.due(0.0)
    redelivery.carried([1], "b")
    redelivery.refused([1], 0.0)
    assert redelivery.sent_last_to([1, 2], "b") == [1]
    assert redelivery.sent_last_to([1], "c") == []
    redelivery.carried([1], "c")
    assert redelivery.sent_last_to([1], "b") == []


async def test_mail_in_the_name_of_another_hosts_outbox_is_refused() -> None:
    world, _a, origin = await held_by_b()
    b = world.processes["b"]
    b.mail.hear("c", News(origin=origin, oldest={"reader": 100}))
    refused = b.mail.arrived("c", origin, mail(2, id="forged", sequence=2))
    assert refused is not None
    assert refused.reason is DeadLetterReason.REFUSED
    assert numbers(await b.take_all()) == [1]


class Stepping:
    """The clock of a world, with a wall clock that is put forward or back."""

    def __init__(self, world: World) -> None:
        self.clock = world.clock
        self.step_s = 0.0

    def now_s(self) -> float:
        return self.clock.now_s() + self.step_s

    def monotonic_s(self) -> float:
        return self.clock.monotonic_s()

    def advance(self, by_s: float) -> None:
        self.clock.advance(by_s)


@pytest.mark.parametrize(("step_s", "lives_s"), [(-3600.0, 60.0), (3600.0, None)])
async def test_a_step_of_the_clock_does_not_stop_what_is_sent_again(
    step_s: float, lives_s: float | None
) -> None:
    world = World()
    clock = Stepping(world)
    world.clock = clock  # type: ignore[assignment]  # it has what a world uses of one
    a = await world.start("a", "writer")
    b = await world.start("b")
    world.hosts["reader"] = "b"
    await a.office.send(mail(1, deadline_at_s=None if lives_s is None else clock.now_s() + lives_s))
    await world.rest()
    clock.step_s = step_s
    b.open_mailbox("reader")
    for _ in range(8):
        await world.go_on()
    assert numbers(await b.take_all()) == [1]
    assert not a.office.dead_letters.counts()


async def test_mail_that_went_back_with_an_answer_counts_as_taken_and_is_not_given_up_while_it_is_handled() -> (
    None
):
    world = World()
    a = await world.start("a", "writer")
    b = await world.start("b", "reader")
    await a.office.send(mail(0, deadline_at_s=world.clock.now_s() + 40))
    await world.rest()
    for _ in range(4):
        await world.go_on()
    await b.take_all()  # the inbox is open by now
    link = a.office.link("b")
    link.can_go_back = frozenset(["writer"])
    # Host b calls, and takes message 1 along with the answer.
    boot, calls = b.office.boot, 100
    link.offer = link._queue.offer  # type: ignore[method-assign]  # does not fly
    await a.office.send(mail(1, deadline_at_s=world.clock.now_s() + 40))
    await world.rest()
    assert len(link) == 1
    answer = await a.office.accept("b", Outgoing(boot=boot, call=calls), world)
    assert await b.office.away.take_back("a", answer) == []
    (message,) = await b.take_all()
    await a.office.accept("b", Outgoing(boot=boot, call=calls + 1, ended=calls), world)
    assert a.mail._sender._redelivery._tracked[message.sequence].boot == boot
    await world.go_on(60)
    assert a.unsettled == 2
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 1


async def test_a_step_of_the_clock_does_not_expire_kept_mail_within_a_process() -> None:
    world = World()
    clock = Stepping(world)
    world.clock = clock  # type: ignore[assignment]  # it has what a world uses of one
    a = await world.start("a", "writer", "reader")
    await a.office.send(mail(1, deadline_at_s=clock.now_s() + 60))
    clock.step_s = 3600.0
    await world.rest()
    for _ in range(4):
        await world.go_on()
    assert numbers(await a.take_all()) == [1]
    assert not a.office.dead_letters.counts()
