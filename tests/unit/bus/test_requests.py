"""Which reply belongs to which request."""

import asyncio

import pytest

from zejzl_ray.bus.message import Message
from zejzl_ray.bus.requests import PendingRequest, PendingRequests
from zejzl_ray.errors import RequestTimedOut


def request(correlation_id: str = "c", sender: str = "a", to: str = "b") -> Message:
    return Message(sender, to, "q", {}, correlation_id=correlation_id, id=f"id-{correlation_id}")


def reply(correlation_id: str | None = "c", sender: str = "b", to: str = "a") -> Message:
    return Message(sender, to, "r", {}, correlation_id=correlation_id, id="reply", is_reply=True)


def waiting(pending: PendingRequests, message: Message) -> "asyncio.Future[Message]":
    future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    pending.add(PendingRequest(future, message, 0.0))
    return future


async def test_a_reply_goes_to_its_request_and_to_no_other() -> None:
    pending = PendingRequests(10)
    first, second = waiting(pending, request("c1")), waiting(pending, request("c2"))
    answer = reply("c2")
    assert pending.resolve(answer, from_asked_only=True)
    assert second.result() is answer
    assert not first.done()
    assert len(pending) == 2
    assert [each.message.correlation_id for each in pending] == ["c1", "c2"]


@pytest.mark.parametrize(
    "message",
    [reply("other"), reply(None), reply(to="x"), request()],
    ids=["unknown", "none", "for somebody else", "the request itself"],
)
async def test_other_mail_is_no_reply(message: Message) -> None:
    pending = PendingRequests(10)
    future = waiting(pending, request())
    assert not pending.resolve(message, from_asked_only=False)
    assert not future.done()


async def test_only_the_agent_that_was_asked_may_answer_from_another_process() -> None:
    pending = PendingRequests(10)
    future = waiting(pending, request())
    assert not pending.resolve(reply(sender="stranger"), from_asked_only=True)
    assert pending.resolve(reply(sender="deputy"), from_asked_only=False)
    assert future.result().from_agent == "deputy"


async def test_a_second_reply_comes_too_late_already_before_the_request_has_gone_on() -> None:
    pending = PendingRequests(10)
    future = waiting(pending, request())
    assert pending.resolve(reply(), from_asked_only=True)
    assert not pending.resolve(reply(), from_asked_only=True)
    assert pending.has_ended("c")
    assert "c" in pending
    assert future.done()


async def test_ended_requests_are_remembered_for_a_while() -> None:
    pending = PendingRequests(2)
    for each in ("c1", "c2", "c3"):
        waiting(pending, request(each))
        assert not pending.has_ended(each)
        pending.remove(each)
        pending.remove(each)
    assert [pending.has_ended(each) for each in ("c1", "c2", "c3")] == [False, True, True]
    assert len(pending) == 0


async def test_nothing_is_remembered_where_that_is_the_bound() -> None:
    pending = PendingRequests(0)
    waiting(pending, request())
    pending.remove("c")
    assert not pending.has_ended("c")


async def test_a_request_fails_once_and_only_while_it_waits() -> None:
    pending = PendingRequests(10)
    future = waiting(pending, request())
    assert pending.fail("c", RequestTimedOut("too late"))
    assert not pending.fail("c", RequestTimedOut("too late"))
    assert not pending.fail("other", RequestTimedOut("too late"))
    assert isinstance(future.exception(), RequestTimedOut)


async def test_other_mail_with_the_correlation_id_is_not_the_request() -> None:
    pending = PendingRequests(10)
    asked = request()
    waiting(pending, asked)
    assert pending.is_request(asked)
    assert not pending.is_request(reply())
    assert not pending.is_request(Message("b", "x", "progress", {}, correlation_id="c", id="other"))
    assert pending.get("c") is not None
    assert pending.get("x") is None
