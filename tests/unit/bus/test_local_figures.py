"""What the bus counts about mailboxes that come back, and mail that gives way."""

from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import LOW, Message
from zejzl_ray.bus.post_office import PostOffice


async def test_mail_that_gives_way_is_counted_with_its_reason() -> None:
    office = PostOffice()
    office.open_mailbox("Sink", capacity=1, overflow=Overflow.DROP_OLDEST_LOW)
    for number in range(3):
        await office.send(Message("Source", "Sink", "note", {"n": number}, LOW))
    assert office.figures.events.value("bus_dropped_total") == 2
    assert office.figures.events.value("bus_dropped_total", "dropped_low") == 2
    await office.close()


async def test_the_figures_of_an_agent_that_came_back_do_not_give_way() -> None:
    office = PostOffice()
    for _ in range(2):
        office.open_mailbox("Sink")
        await office.send(Message("Sink", "Sink", "note", {}))
        office.close_mailbox("Sink")
    office.open_mailbox("Sink")
    for number in range(
        office.figures.max_series + 1
    ):  # more than there is room for: what is closed gives way
        office.figures.of(f"Other{number}", "note")
    assert office.figures.by_agent["Sink"]["note"].sent_total == 2
    await office.close()
