"""Mail that is sent at least once: processes that end, with what they were doing."""

import pytest

from tests.unit.bus.durable_offices import World, delivered, mail, numbers, pair

pytestmark = pytest.mark.usefixtures("no_patience")


async def test_a_receiver_that_ended_before_it_handled_a_message_gets_it_when_it_is_back() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.kill("b")
    b = await world.start("b", "reader")
    await delivered(world)
    message = await b.take()
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 0
    assert await b.take_all() == []


async def test_a_receiver_that_ended_between_handling_and_acknowledging_gets_it_once_more() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    assert numbers(await b.take_all()) == [1]
    world.kill("b")
    b = await world.start("b", "reader")
    await delivered(world)
    assert numbers(await b.take_all()) == [1]


async def test_a_receiver_that_ended_before_it_told_the_sender_does_not_get_it_again() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    world.faults["b", "a"] = "cut"
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 1
    world.kill("b")
    b = await world.start("b", "reader")
    await delivered(world)
    assert await b.take_all() == []
    assert a.unsettled == 0


async def test_a_receiver_that_came_back_unnoticed_is_sent_what_its_old_process_held() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.kill("b", is_noticed=False)
    b = await world.start("b", "reader")
    await a.office.send(mail(2))  # its delivery tells of the new process
    await delivered(world)
    assert sorted(numbers(await b.take_all())) == [1, 2]


async def test_a_receiver_that_ended_unnoticed_is_asked_after_a_while() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.kill("b", is_noticed=False)
    b = await world.start("b", "reader")
    await world.go_on(20)
    assert await b.take_all() == []
    await world.go_on(10)
    await delivered(world)
    assert numbers(await b.take_all()) == [1]


async def test_a_sender_that_ended_after_send_has_its_mail_delivered_when_it_is_back() -> None:
    world, a, b = await pair()
    world.cut.add("b")
    for number in range(5):
        await a.office.send(mail(number))
    world.kill("a")
    world.cut.clear()
    a = await world.start("a", "writer")
    await delivered(world)
    messages = await b.take_all()
    assert numbers(messages) == [0, 1, 2, 3, 4]
    for message in messages:
        await b.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_a_sender_that_ended_while_its_mail_was_handled_causes_no_second_delivery() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    message = await b.take()
    world.kill("a")
    a = await world.start("a", "writer")
    await delivered(world)
    assert await b.take_all() == []
    await b.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_an_answer_that_is_lost_causes_no_second_delivery() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.faults["a", "b"] = "answer"
    await a.office.send(mail(2))
    await delivered(world)
    messages = await b.take_all()
    assert numbers(messages) == [1, 2]
    for message in messages:
        await b.ack(message)
    await world.rest()
    assert a.unsettled == 0


async def test_news_that_were_not_heard_are_told_again() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    world.faults["b", "a"] = "cut"
    await b.ack(await b.take())
    await world.rest()
    assert a.unsettled == 1
    await world.go_on()
    assert a.unsettled == 0


async def test_an_emptied_store_begins_an_outbox_of_its_own_and_loses_no_new_mail() -> None:
    world, a, b = await pair()
    await a.office.send(mail(1))
    await delivered(world)
    await b.ack(await b.take())
    await world.rest()
    world.kill("a")
    del world.states["outbox.a"]
    a = await world.start("a", "writer")
    await a.office.send(mail(2))
    await delivered(world)
    assert numbers(await b.take_all()) == [2]


async def test_acknowledgements_of_an_outbox_that_is_no_more_are_left_out() -> None:
    world = World()
    a = await world.start("a", "writer", "reader")
    await a.office.send(mail(1))
    await delivered(world)
    a.mail._settled("a~gone", (1,))
    assert a.unsettled == 1
    assert "a" not in {link.host for link in a.office.links()}
