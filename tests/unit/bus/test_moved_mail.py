"""Mail whose receiver has moved: it follows in its order, once, or is given up for a true reason."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.unit.bus.virtual_time import clock, in_virtual_time, settle
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.mailbox import DEFAULT_CAPACITY, Overflow
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.moved_mail import MovedMail
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.errors import MailboxFull

UNKNOWN = DeadLetterReason.UNKNOWN_AGENT


class Following:
    """Mail that ``there`` did not take, a directory, and what was forwarded."""

    def __init__(self) -> None:
        self.local = LocalMail(clock(), BusOptions(), "here")
        self.where: dict[str, str] = {"r": "there"}
        self.forwarded: list[int] = []
        self.error: Exception | None = None
        self.takes_s = 0.0
        self.moved = MovedMail(self.local, self.where.get, self._forward)

    async def _forward(self, message: Message) -> None:
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        self.forwarded.append(message.content["number"])

    def follow(self, *messages: Message) -> None:
        self.moved.follow("there", messages, UNKNOWN, "not there")

    def dead(self) -> list[tuple[int, DeadLetterReason]]:
        return [
            (letter.message.content["number"], letter.reason) for letter in self.local.dead_letters.letters()
        ]


def mail(number: int, to: str = "r", **fields: Any) -> Message:
    return Message("s", to, "t", {"number": number}, **fields)


@in_virtual_time
async def test_mail_follows_in_its_order_as_soon_as_its_agent_turns_up_elsewhere() -> None:
    following = Following()
    following.follow(mail(0), mail(1))
    await asyncio.sleep(1.0)
    following.follow(mail(2))
    assert len(following.moved) == 3
    following.where["r"] = "elsewhere"
    await asyncio.sleep(0.1)
    assert following.forwarded == [0, 1, 2]
    assert len(following.moved) == 0
    assert not following.dead()


@in_virtual_time
async def test_mail_that_comes_while_other_mail_is_forwarded_stays_behind_it() -> None:
    following = Following()
    following.takes_s = 0.5
    following.where["r"] = "elsewhere"
    following.follow(mail(0), mail(1, to="nowhere"))
    await asyncio.sleep(0.2)
    following.follow(mail(2), mail(3, to="nowhere"))
    await asyncio.sleep(0.4)
    following.where["nowhere"] = "elsewhere"
    await asyncio.sleep(5.0)
    assert following.forwarded.index(0) < following.forwarded.index(2)
    assert following.forwarded.index(1) < following.forwarded.index(3)


@in_virtual_time
async def test_an_agent_that_has_come_to_this_process_gets_it_too() -> None:
    following = Following()
    following.follow(mail(0))
    following.local.open("r", DEFAULT_CAPACITY, Overflow.REJECT, "agents")
    await asyncio.sleep(0.1)
    assert following.forwarded == [0]


@in_virtual_time
async def test_an_agent_that_does_not_turn_up_is_waited_for_three_seconds() -> None:
    following = Following()
    following.follow(mail(0))
    del following.where["r"]
    await asyncio.sleep(2.9)
    assert not following.dead()
    await asyncio.sleep(0.2)
    assert following.dead() == [(0, UNKNOWN)]
    assert following.local.dead_letters.letters()[0].detail == "not there"
    following.where["r"] = "elsewhere"
    following.follow(mail(1))
    await settle()
    assert following.forwarded == [1]


@in_virtual_time
async def test_mail_whose_time_is_over_is_not_looked_after_any_longer() -> None:
    following = Following()
    following.follow(mail(0, expires_s=1.0), mail(1))
    await asyncio.sleep(1.5)
    assert following.dead() == [(0, DeadLetterReason.EXPIRED)]
    await following.moved.close()


@in_virtual_time
async def test_what_cannot_go_where_its_agent_is_now_is_given_up_with_that_reason() -> None:
    following = Following()
    following.where["r"] = "elsewhere"
    following.error = MailboxFull("full")
    following.follow(mail(0))
    await settle()
    following.error = RuntimeError("broken")
    with capture_logs() as logs:
        following.follow(mail(1))
        await settle()
    assert [entry["to_agent"] for entry in logs if entry["log_level"] == "error"] == ["r"]
    following.error = None
    following.follow(mail(2))
    await settle()
    assert following.dead() == [(0, DeadLetterReason.MAILBOX_FULL), (1, DeadLetterReason.REFUSED)]
    assert following.forwarded == [2]


@pytest.mark.parametrize("has_begun", [False, True])
@in_virtual_time
async def test_what_has_not_found_its_way_when_the_process_stops_is_a_dead_letter(has_begun: bool) -> None:
    following = Following()
    following.takes_s = 10.0
    following.where["q"] = "elsewhere"
    following.follow(mail(0), mail(1, to="q"), mail(2))
    if has_begun:
        await asyncio.sleep(0.01)
    await following.moved.close()
    await following.moved.close()
    assert following.dead() == [(number, DeadLetterReason.UNREACHABLE) for number in range(3)]
    assert len(following.moved) == 0
