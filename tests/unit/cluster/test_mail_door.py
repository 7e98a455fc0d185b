"""Batches from process to process: a real gRPC server and real channels on loopback, with and without TLS."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from zejzl_ray.cluster.mail_calls import MailCalls
from zejzl_ray.cluster.mail_channel import CONNECTION_KEY, LIMITS, METHOD_PATH, MailTls, mail_tls
from zejzl_ray.cluster.mail_door import MailDoor
from zejzl_ray.contracts.agent_host import MAX_FRAME_BYTES, DeliverMail, MailDelivered
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import (
    DeadlineExceeded,
    NotFound,
    Overloaded,
    ServiceUnavailable,
    Unauthenticated,
    ZejzlError,
)
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names

HOST = "agent_host:b"
DELIVER = BY_SERVICE["agent_host"]["deliver_mail"].at(HOST)


@dataclass
class Taker:
    """What stands behind the door."""

    given: list[tuple[DeliverMail, CallContext]] = field(default_factory=list)
    answer: Callable[[DeliverMail], Awaitable[bytes]] | None = None

    async def deliver(self, request: DeliverMail, call: CallContext) -> MailDelivered:
        self.given.append((request, call))
        return MailDelivered(frame=b"answer" if self.answer is None else await self.answer(request))


@dataclass
class Pair:
    """A door and a caller that knows it."""

    taker: Taker
    door: MailDoor
    calls: MailCalls

    async def bring(self, frame: bytes = b"frame", **context: object) -> bytes:
        reply = await self.calls.call(
            DELIVER, DeliverMail(connection="c1", frame=frame), CallContext.model_validate(context)
        )
        assert isinstance(reply, MailDelivered)
        return reply.frame


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    taker = Taker()
    door = MailDoor("127.0.0.1", (), taker.deliver)
    calls = MailCalls(timeout_s=5.0)
    await door.start()
    calls.lead(HOST, door.address)
    yield Pair(taker, door, calls)
    await calls.close()
    await calls.close()
    await door.close()
    await door.close()


def raising(error: Exception) -> Callable[[DeliverMail], Awaitable[bytes]]:
    async def answer(request: DeliverMail) -> bytes:
        raise error

    return answer


async def test_a_batch_arrives_with_its_connection_and_the_proof_of_who_brings_it(pair: Pair) -> None:
    assert await pair.bring(token=SecretStr("a-token")) == b"answer"
    ((request, call),) = pair.taker.given
    assert request == DeliverMail(connection="c1", frame=b"frame")
    assert call.token is not None
    assert call.token.get_secret_value() == "a-token"


async def test_the_largest_batch_goes_through(pair: Pair) -> None:
    assert await pair.bring(b"x" * MAX_FRAME_BYTES) == b"answer"
    assert len(pair.taker.given[0][0].frame) == MAX_FRAME_BYTES


async def test_who_shows_nothing_is_seen_as_nobody_and_not_as_an_error(pair: Pair) -> None:
    pair.taker.answer = raising(Unauthenticated("who are you"))
    async with grpc.aio.insecure_channel(pair.door.address) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD_PATH)
        for metadata in ((), ((CONNECTION_KEY, "c1"), ("authorization", "Basic x"))):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await method(b"", metadata=metadata, timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert [call.token for _, call in pair.taker.given] == [None, None]


async def test_what_is_too_long_is_refused_in_one_sentence(pair: Pair) -> None:
    async with grpc.aio.insecure_channel(pair.door.address, options=LIMITS) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD_PATH)
        for frame, connection in ((b"", "c" * 129), (b"", ""), (b"x" * (MAX_FRAME_BYTES + 1), "c")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await method(frame, metadata=((CONNECTION_KEY, connection),), timeout=5)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "too long" in (refused.value.details() or "")
    assert pair.taker.given == []


@pytest.mark.parametrize("error", [NotFound("no such connection", "Open it."), Overloaded("busy")])
async def test_errors_travel(pair: Pair, error: ZejzlError) -> None:
    pair.taker.answer = raising(error)
    with pytest.raises(type(error)) as raised:
        await pair.bring()
    assert (raised.value.message, raised.value.remedy) == (error.message, error.remedy)


async def test_a_failure_is_told_without_what_failed(pair: Pair) -> None:
    pair.taker.answer = raising(RuntimeError("secret"))
    with capture_logs() as lines, pytest.raises(ZejzlError, match="RuntimeError") as raised:
        await pair.bring()
    assert "secret" not in str(raised.value)
    assert len(lines) == 1


async def test_a_host_that_is_gone_is_unavailable_and_says_where_it_was(pair: Pair) -> None:
    await pair.bring()
    address = pair.door.address
    await pair.door.close()
    with pytest.raises(ServiceUnavailable, match=address):
        await pair.bring()


async def test_nobody_calls_where_no_way_leads_or_anything_but_mail(pair: Pair) -> None:
    pair.calls.forget(HOST)
    pair.calls.forget(HOST)
    with pytest.raises(ServiceUnavailable):
        await pair.bring()
    pair.calls.lead(HOST, pair.door.address)
    with pytest.raises(ServiceUnavailable):
        await pair.calls.call(DELIVER, GetHealth(), CallContext())


async def test_an_answer_is_waited_for_within_the_limit_and_what_was_begun_is_finished(pair: Pair) -> None:
    go_on, is_done = asyncio.Event(), asyncio.Event()

    async def slow(request: DeliverMail) -> bytes:
        await go_on.wait()
        is_done.set()
        return b""

    pair.taker.answer = slow
    calls = MailCalls(timeout_s=0.05)
    calls.lead(HOST, pair.door.address)
    with pytest.raises(DeadlineExceeded):
        await Pair(pair.taker, pair.door, calls).bring()
    with pytest.raises(DeadlineExceeded):
        await pair.bring(deadline_at_s=1.0)
    await calls.close()
    go_on.set()
    await asyncio.wait_for(is_done.wait(), 5)


async def test_a_call_under_way_ends_with_the_way_and_is_no_end_of_its_task(pair: Pair) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang(request: DeliverMail) -> bytes:
        begun.set()
        await never.wait()
        return b""

    pair.taker.answer = hang
    calls = MailCalls(timeout_s=0.2)
    calls.lead(HOST, pair.door.address)
    bringing = asyncio.create_task(Pair(pair.taker, pair.door, calls).bring(deadline_at_s=4e9))
    await begun.wait()
    calls.forget(HOST)
    with pytest.raises((ServiceUnavailable, DeadlineExceeded)):
        await bringing
    await calls.close()
    never.set()


async def test_a_way_leads_elsewhere_after_the_host_was_started_anew(pair: Pair) -> None:
    other = Taker()
    door = MailDoor("127.0.0.1", (), other.deliver)
    await door.start()
    pair.calls.lead(HOST, door.address)
    await pair.bring()
    assert (len(pair.taker.given), len(other.given)) == (0, 1)
    await door.close()


async def test_the_first_free_port_of_the_range_is_taken(pair: Pair) -> None:
    taken = int(pair.door.address.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    door = MailDoor("127.0.0.1", (taken, port), pair.taker.deliver)
    assert door.address == ""
    await door.start()
    assert door.address == f"127.0.0.1:{port}"
    late = MailDoor("127.0.0.1", (taken, port), pair.taker.deliver)
    with pytest.raises(ServiceUnavailable, match=f"ports {taken} to {port} of 127.0.0.1") as refused:
        await late.start()
    assert "ZEJZL_MAIL_PORTS" in refused.value.remedy
    await door.close()
    assert door.address == ""


def tls_of(directory: Path) -> MailTls:
    made = TlsDirectory(directory)
    made.init(certificate_names("pc2", (), ("127.0.0.1",)), time.time())
    found = mail_tls(
        {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(directory / "pc2.pem"),
            "RAY_TLS_SERVER_KEY": str(directory / "pc2.key"),
            "RAY_TLS_CA_CERT": str(directory / "ca.pem"),
        }
    )
    assert found is not None
    return found


async def test_with_tls_only_machines_of_the_same_authority_are_let_in(tmp_path: Path) -> None:
    own, foreign = tls_of(tmp_path / "own"), tls_of(tmp_path / "foreign")
    taker = Taker()
    door = MailDoor("127.0.0.1", (), taker.deliver, tls=own)
    await door.start()
    for tls, is_let_in in ((own, True), (foreign, False), (None, False)):
        calls = MailCalls(timeout_s=5.0, tls=tls)
        calls.lead(HOST, door.address)
        if is_let_in:
            assert await Pair(taker, door, calls).bring() == b"answer"
        else:
            with pytest.raises(ServiceUnavailable):
                await Pair(taker, door, calls).bring()
        await calls.close()
    authority = grpc.ssl_channel_credentials(own.authority)  # no certificate of its own
    async with grpc.aio.secure_channel(door.address, authority) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD_PATH)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(b"", timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(taker.given) == 1
    await door.close()


def test_where_ray_speaks_no_tls_mail_speaks_none() -> None:
    assert mail_tls({"RAY_USE_TLS": "0"}) is None
