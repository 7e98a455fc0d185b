"""What the bus promises for mail that is sent at least once, over every kind of store."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.unit.bus.durable_bench import mail, numbers
from tests.unit.bus.durable_world import World
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.inbox import Inbox
from zejzl_ray.bus.outbox import Outbox
from zejzl_ray.bus.received import Receipt
from zejzl_ray.errors import StaleEpoch
from zejzl_ray.store import Store
from zejzl_ray.testing import ManualClock

Open = Callable[[str], Awaitable[Store]]
LOSE = ["", "", "", "", "before", "after"]


async def walk(world: World, dice: random.Random, steps: int) -> None:
    for _ in range(steps):
        name = dice.choice(world.names)
        match dice.randrange(12):
            case 0 | 1 | 2:
                await world.send(name, dice.randint(1, 8), dice.choice(LOSE))
            case 3 | 4:
                await world.deliver()
            case 5 | 6:
                await world.handle(name, dice.choice(LOSE))
            case 7:
                await world.go_round(name)
            case 8:
                await world.tell(name)
            case 9:
                await world.flush(dice.choice(LOSE))
            case 10:
                await world.crash_sender()
            case _:
                await world.crash_receiver(name)


@pytest.mark.parametrize("seed", range(4))
async def test_a_random_walk_with_crashes_loses_nothing_and_repeats_nothing(
    make_open: Callable[[], Open], clock: ManualClock, seed: int
) -> None:
    world = World(make_open(), clock)
    await world.start()
    await walk(world, random.Random(seed), 120)
    await world.check_in_the_end()
    assert len(world.promised) > 50
    assert world.excused.total() > 0
    await world.close()


async def test_thousands_of_messages_take_few_commits_and_leave_little_behind(
    make_open: Callable[[], Open], clock: ManualClock
) -> None:
    open_store = make_open()
    out_store, in_store = await open_store("outbox.h"), await open_store("agent.reader")
    outbox, inbox = Outbox(out_store, "h", clock), Inbox(in_store, "reader", clock)
    await outbox.start()
    await inbox.start()
    numbered = iter(range(5000))

    async def work() -> None:
        for number in numbered:
            await outbox.add(message := mail(number))
            assert inbox.accept(outbox.origin, message.sequence) is Receipt.NEW
            await inbox.acknowledge(outbox.origin, message.sequence)
            outbox.settle([message.sequence])
            inbox.advance(outbox.origin, outbox.oldest_unsettled("reader"))

    await asyncio.gather(*(work() for _ in range(100)))
    await outbox.flush()
    assert outbox.commits <= 500
    assert inbox.commits <= 500
    assert len(await out_store.read_log("mail")) <= 2
    assert len(await in_store.scan("")) <= 3
    assert outbox.totals() == {"acknowledged": 5000}
    await outbox.stop()
    await inbox.stop()
    await out_store.close()
    await in_store.close()


async def test_state_and_dead_letters_outlive_the_process(
    make_open: Callable[[], Open], clock: ManualClock
) -> None:
    open_store = make_open()
    for start in range(3):
        out_store, in_store = await open_store("outbox.h"), await open_store("agent.reader")
        outbox, inbox = Outbox(out_store, "h", clock), Inbox(in_store, "reader", clock)
        assert numbers(await outbox.start()) == list(range(start))
        assert await inbox.start() == (b"%d" % (start - 1) if start else None)
        await outbox.add_all([mail(100 + start), keep := mail(start)])
        outbox.settle([keep.sequence - 1], DeadLetterReason.EXPIRED)
        await inbox.acknowledge(outbox.origin, keep.sequence, state=b"%d" % start)
        await outbox.flush()
        assert numbers([letter.message for letter in await outbox.dead_letters()]) == [
            100 + n for n in range(start + 1)
        ]
        await out_store.close()  # a crash: nothing is stopped
        await in_store.close()


async def test_a_newer_process_fences_the_older_one(
    make_open: Callable[[], Open], clock: ManualClock
) -> None:
    open_store = make_open()
    out_store, in_store = await open_store("outbox.h"), await open_store("agent.reader")
    old_outbox, old_inbox = Outbox(out_store, "h", clock), Inbox(in_store, "reader", clock)
    await old_outbox.start()
    await old_inbox.start()
    # The same opened stores: SQLite lets no second process open them, Redis does.
    new_outbox, new_inbox = Outbox(out_store, "h", clock), Inbox(in_store, "reader", clock)
    await new_outbox.start()
    await new_inbox.start()
    with pytest.raises(StaleEpoch):
        await old_outbox.add(mail(1))
    with pytest.raises(StaleEpoch):
        await old_inbox.acknowledge(new_outbox.origin, 1, state=b"old")
    await new_outbox.add(mail(2))
    assert new_outbox.pending() == [1]
    assert new_inbox.accept(new_outbox.origin, 1) is Receipt.NEW
    for each in (old_outbox, new_outbox, old_inbox, new_inbox):
        await each.stop()
    await out_store.close()
    await in_store.close()
