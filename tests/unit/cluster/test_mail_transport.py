"""Connections and lines to other hosts, over a caller that stands for their actors."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.frames import encode_frame
from zejzl_ray.bus.ports import Delivered, Outgoing, Refused
from zejzl_ray.cluster import mail_transport
from zejzl_ray.cluster.mail_proofs import Shown
from zejzl_ray.cluster.mail_transport import MailTransport
from zejzl_ray.contracts.access import ANONYMOUS, Principal
from zejzl_ray.contracts.agent_host import LineHeld, MailDelivered, MailOpened, OpenMail, Speaker
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import (
    AgentUnreachable,
    DeadlineExceeded,
    Forbidden,
    NotFound,
    Overloaded,
    SecurityFeedStale,
    SenderRefused,
    ServiceUnavailable,
    Unavailable,
)
from zejzl_ray.testing import ManualClock

BATCH = Outgoing(boot="boot")


class NoGuard:
    """Authentication is off."""

    is_required = False

    async def identify(self, call: CallContext, address: str = "", *, audiences: frozenset[str]) -> Principal:
        raise AssertionError("nobody has a token")

    def identify_again(self, call: CallContext, audiences: frozenset[str]) -> Principal:
        return Principal(subject=ANONYMOUS)


@dataclass
class Peers:
    """A ``Caller`` of other hosts.

    Attributes:
        faults: operation -> what its next calls raise.
        lines: futures of the lines that are held now.
    """

    calls: list[str] = field(default_factory=list)
    shown: list[list[str]] = field(default_factory=list)
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    delivered: Delivered = field(default_factory=lambda: Delivered(boot="b"))
    valid_s: float = 300.0
    speakers: tuple[Speaker, ...] = ()
    lines: list["asyncio.Future[None]"] = field(default_factory=list)
    ways: dict[str, str] = field(default_factory=dict)

    def lead(self, actor: str, address: str) -> None:
        self.ways[actor] = address

    def forget(self, actor: str) -> None:
        self.ways.pop(actor, None)

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.calls.append(operation.name)
        if waiting := self.faults.get(operation.name):
            raise waiting.pop(0)
        if isinstance(request, OpenMail):
            self.shown.append([speaker.agent for speaker in request.speakers])
            return MailOpened(
                connection=f"c{len(self.shown)}",
                address=f"10.0.0.1:{len(self.shown)}",
                boot="b",
                valid_s=self.valid_s,
                speakers=self.speakers,
            )
        if operation.name == "deliver_mail":
            assert operation.service in self.ways
            return MailDelivered(frame=encode_frame(self.delivered))
        line: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lines.append(line)
        try:
            await line
        finally:
            self.lines.remove(line)
        return LineHeld(boot="b")

    def count(self, operation: str) -> int:
        return self.calls.count(operation)

    async def close(self) -> None:
        raise AssertionError("its owner closes it")


@dataclass
class World:
    clock: ManualClock = field(default_factory=ManualClock)
    peers: Peers = field(default_factory=Peers)
    agents: list[str] = field(default_factory=lambda: ["X"])
    without: set[str] = field(default_factory=set)
    life_s: float = float("inf")
    asked_for: list[str] = field(default_factory=list)
    gone: list[tuple[str, str]] = field(default_factory=list)
    awaited: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.transport = MailTransport(
            "a",
            "boot",
            caller=self.peers,
            ways=self.peers,
            direct=self.peers,
            guard=NoGuard(),
            proofs=self._proofs,
            agents=lambda: self.agents,
            is_awaited=self.awaited.__contains__,
            on_gone=lambda host, why: self.gone.append((host, why)),
            clock=self.clock,
        )

    async def _proofs(self, host: str) -> Shown:
        self.asked_for.append(host)
        return Shown(
            tuple(Speaker(agent=agent) for agent in self.agents if agent not in self.without), self.life_s
        )

    async def deliver(self, host: str = "b") -> Delivered:
        delivered = await self.transport.deliver(host, BATCH)
        await self.rest()
        return delivered

    async def rest(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def end_line(self, error: Exception | None = None) -> None:
        (line,) = self.peers.lines
        if error is None:
            line.set_result(None)
        else:
            line.set_exception(error)
        await self.rest()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.transport.close()
    await made.transport.close()
    assert made.peers.lines == []


# --- connections ---


async def test_a_connection_is_opened_once_with_proofs_for_that_host_and_renewed_at_half_its_time(
    world: World,
) -> None:
    for at_s in (0, 149):
        await world.deliver()
        assert world.peers.shown == [["X"]], at_s
        world.clock.advance(149 if not at_s else 2)
    await world.deliver()
    assert world.peers.shown == [["X"], ["X"]]
    await world.deliver("c")
    assert world.asked_for == ["b", "b", "c"]


async def test_many_batches_at_once_open_one_connection(world: World) -> None:
    await asyncio.gather(*(world.transport.deliver("b", BATCH) for _ in range(5)))
    assert world.peers.count("open_mail") == 1


async def test_a_new_agent_is_shown_with_the_next_batch(world: World) -> None:
    await world.deliver()
    world.agents.append("Y")
    await world.deliver()
    assert world.peers.shown == [["X"], ["X", "Y"]]


async def test_a_connection_is_renewed_at_half_of_the_life_of_its_shortest_token(world: World) -> None:
    world.life_s = 20.0
    await world.deliver()
    world.clock.advance(9.9)
    await world.deliver()
    assert world.peers.count("open_mail") == 1
    world.clock.advance(0.2)
    await world.deliver()
    assert world.peers.count("open_mail") == 2


async def test_a_proof_that_was_missing_is_shown_soon_and_then_seldom_while_it_stays_missing(
    world: World,
) -> None:
    world.agents.append("Y")
    world.without.add("Y")
    opened: list[int] = []
    for second in range(70):
        await world.deliver()
        if world.peers.count("open_mail") > len(opened):
            opened.append(second)
        world.clock.advance(1.0)
    assert opened == [0, 1, 3, 7, 15, 31, 63]
    world.without.clear()
    world.clock.advance(60)
    await world.deliver()
    assert world.peers.shown[-1] == ["X", "Y"]
    world.clock.advance(100)
    await world.deliver()
    assert world.peers.count("open_mail") == 8


async def test_mail_that_is_refused_for_lack_of_a_proof_has_it_shown_again(world: World) -> None:
    await world.deliver()
    world.peers.delivered = Delivered(boot="b", refused=(Refused("m", DeadLetterReason.UNPROVED),))
    await world.deliver()
    world.peers.delivered = Delivered(boot="b")
    world.clock.advance(1.1)
    await world.deliver()
    assert world.peers.count("open_mail") == 2


async def test_mail_that_came_back_without_a_proof_has_the_other_side_show_its_own_again(
    world: World,
) -> None:
    world.peers.speakers = (Speaker(agent="Theirs"),)
    world.peers.delivered = Delivered(boot="b", number=1, back=b"x")
    await world.deliver()
    speakers = world.transport.speakers("b")
    assert speakers.agents == {"Theirs"}
    assert speakers.why_refused("Late", None)
    world.peers.speakers = (Speaker(agent="Theirs"), Speaker(agent="Late"))
    world.clock.advance(1.1)
    await world.deliver()
    assert speakers.why_refused("Late", None) == ""


async def test_a_connection_that_is_not_known_there_is_opened_anew_once(world: World) -> None:
    await world.deliver()
    world.peers.faults["deliver_mail"] = [NotFound("who")]
    await world.deliver()
    assert world.peers.count("open_mail") == 2
    world.peers.faults["deliver_mail"] = [NotFound("who"), NotFound("who")]
    with pytest.raises(AgentUnreachable):
        await world.deliver()


async def test_where_none_is_opened_now_the_old_one_is_used_until_its_end(world: World) -> None:
    await world.deliver()
    world.clock.advance(200)
    world.peers.faults["open_mail"] = [SecurityFeedStale("late news") for _ in range(9)]
    await world.deliver()
    await world.deliver()
    assert world.peers.count("open_mail") == 2  # and not with each batch
    world.clock.advance(101)
    with pytest.raises(SecurityFeedStale):
        await world.deliver()


@pytest.mark.parametrize("operation", ["open_mail", "deliver_mail"])
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ServiceUnavailable("dead"), AgentUnreachable),
        (Overloaded("busy"), Overloaded),
        (Forbidden("no"), SenderRefused),
    ],
)
async def test_errors_say_whether_the_host_is_gone_busy_or_unwilling(
    world: World, operation: str, raised: Exception, told: type[Exception]
) -> None:
    world.peers.faults[operation] = [raised]
    with pytest.raises(told):
        await world.deliver()


async def test_a_batch_without_an_answer_may_have_arrived_and_one_without_a_connection_has_not(
    world: World,
) -> None:
    world.peers.faults["deliver_mail"] = [DeadlineExceeded("late")]
    with pytest.raises(DeadlineExceeded):
        await world.deliver()
    world.peers.faults["open_mail"] = [DeadlineExceeded("late")]
    with pytest.raises(Unavailable):
        await world.deliver("c")
    await world.rest()
    assert len(world.peers.lines) == 2  # they say whether it is dead


async def test_hosts_that_were_not_used_for_long_are_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_transport, "_MANY_PEERS", 2)
    for name in ("b", "c"):
        world.transport.speakers(name)
    await world.deliver("d")
    assert set(world.transport._peers) == {"b", "c", "d"}
    world.clock.advance(901)
    world.transport.speakers("e")
    assert set(world.transport._peers) == {"d", "e"}  # d has a line
    await world.end_line()
    world.transport.speakers("f")
    assert set(world.transport._peers) == {"e", "f"}


async def test_batches_go_where_the_host_says_and_elsewhere_after_it_was_started_anew(world: World) -> None:
    await world.deliver()
    assert world.peers.ways == {"agent_host:b": "10.0.0.1:1"}
    world.peers.faults["deliver_mail"] = [ServiceUnavailable("nobody listens")]
    with pytest.raises(AgentUnreachable):
        await world.deliver()
    await world.deliver()
    assert world.peers.ways == {"agent_host:b": "10.0.0.1:2"}


# --- lines ---


async def test_the_end_of_a_host_is_told_at_once(world: World) -> None:
    await world.deliver()
    await world.end_line(ServiceUnavailable("it died"))
    assert world.gone == [("b", "it died")]
    await world.deliver()
    assert world.peers.count("open_mail") == 2
    assert len(world.peers.lines) == 1


async def test_a_line_is_held_for_as_long_as_the_connection_counts(world: World) -> None:
    await world.deliver()
    for _ in range(29):
        world.clock.advance(10)
        await world.end_line()
    assert len(world.peers.lines) == 1
    world.clock.advance(11)
    await world.end_line()
    assert world.peers.lines == []
    await world.deliver()  # and again, as soon as mail goes there
    assert len(world.peers.lines) == 1


async def test_a_line_is_held_while_requests_wait(world: World) -> None:
    await world.deliver()
    world.awaited.add("b")
    world.clock.advance(1000)
    await world.end_line()
    assert len(world.peers.lines) == 1
    world.awaited.clear()
    await world.end_line()
    assert world.peers.lines == []
    assert world.gone == []


async def test_a_host_that_mail_went_back_to_is_watched_too_and_by_one_line(world: World) -> None:
    world.transport.watch("b")
    world.transport.watch("b")
    await world.rest()
    assert len(world.peers.lines) == 1
    await world.deliver()
    assert world.peers.count("hold_line") == 1
    await world.end_line(DeadlineExceeded("frozen"))
    assert world.gone == [("b", "frozen")]


@pytest.mark.parametrize("trouble", [Forbidden("not let in"), Overloaded("busy"), RuntimeError("a fault")])
async def test_a_line_that_a_living_host_does_not_hold_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(mail_transport, "_LINE_PAUSE_S", 0.0)
    world.peers.faults["hold_line"] = [trouble]
    with capture_logs() as lines:
        await world.deliver()
    assert len(world.peers.lines) == 1
    assert world.gone == []
    assert bool(lines) is isinstance(trouble, RuntimeError)


async def test_after_the_end_no_line_is_opened(world: World) -> None:
    await world.transport.close()
    world.transport.watch("b")
    await world.rest()
    assert world.peers.calls == []
