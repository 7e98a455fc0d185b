"""Processes whose calls are slow, fail or lose their answers, agents that move, and a ledger of all mail."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.unit.bus.ledger import Ledger, Sent
from tests.unit.bus.virtual_time import VirtualLoop
from zejzl_ray.bus.dead_letters import DeadLetter, DeadLetterReason
from zejzl_ray.bus.frames import decode_delivered, decode_outgoing, encode_frame
from zejzl_ray.bus.mailbox import Mailbox, Overflow
from zejzl_ray.bus.message import HIGH, Message, MessagePriority
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Delivered, Outgoing
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import (
    AgentUnreachable,
    BusClosed,
    BusError,
    DeadlineExceeded,
    MailboxFull,
    Overloaded,
    RequestTimedOut,
    SenderRefused,
    UnknownAgent,
)

STRANGER = "stranger"
DEFAULT_S = 20.0
_LINGER_S = 0.002
_SLOWEST_S = 0.3  # of a call, and of an answer


@dataclass
class Letter(Sent):
    """One message; several processes may give it up."""

    read: int = 0
    dead: dict[str, DeadLetterReason] = field(default_factory=dict)  # by process


class Wire:
    """The ``Transport`` of one office.

    Calls arrive in their order. All takes a random time, so that answers overtake one another, and calls.
    """

    def __init__(self, world: "LinkedWorld", host: str) -> None:
        self._world = world
        self._host = host
        self._arrive_at_s: dict[str, float] = {}

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        world = self._world
        fault = world.next_fault(self._host, host)
        at_s = max(self._arrive_at_s.get(host, 0.0), world.loop.time() + world.delay_s()) + 1e-6
        self._arrive_at_s[host] = at_s
        await asyncio.sleep(at_s - world.loop.time())
        if fault == "gone":
            raise AgentUnreachable("nobody there", "", {"host": host})
        if fault == "refused":
            raise SenderRefused("not let in", "", {"host": host})
        if fault == "overloaded":
            raise Overloaded("too much to do")
        if fault == "broken":
            raise RuntimeError("a fault in the transport")
        frame = encode_frame(outgoing)
        answer = await world.offices[host].accept(
            self._host, decode_outgoing(frame), world, linger_s=_LINGER_S if world.lingers else 0.0
        )
        await asyncio.sleep(world.delay_s())
        if fault == "answer lost":
            raise AgentUnreachable("connection lost", "", {"host": host})
        if fault == "answer late":
            raise DeadlineExceeded("no answer in time")
        return decode_delivered(encode_frame(answer))

    def speakers(self, host: str) -> "LinkedWorld":
        return self._world

    def watch(self, host: str) -> None:
        pass


class LinkedWorld(Ledger[Letter]):
    """Offices, their directory, who may write, and the ledger.

    Args:
        loop: whose time is made up.
        seed: of all delays.
        hosts: how many.
    """

    def __init__(self, loop: VirtualLoop, seed: int, hosts: int) -> None:
        super().__init__(loop, Letter)
        self._rng = random.Random(seed)
        self._slowest_s = self._rng.choice((0.0, 0.01, _SLOWEST_S))
        self.lingers = self._rng.random() < 0.7
        self.names = [f"h{number}" for number in range(hosts)]
        options = BusOptions(
            default_timeout_s=DEFAULT_S,
            link_capacity=self._rng.choice((3, 1000)),
            batch_messages=self._rng.choice((1, 3, 384)),
            dead_letters=100_000,
        )
        self.offices: dict[str, PostOffice] = {}
        for name in self.names:
            office = self.offices[name] = PostOffice(
                clock=self.clock, options=options, host=name, directory=self
            )
            office.connect(Wire(self, name))
            office.dead_letters.on_letter(partial(self._dead, name))
        self.where: dict[str, str] = {}  # as the directory says it
        self.is_at: dict[str, str] = {}  # as it is
        self.readers: dict[str, asyncio.Task[None]] = {}
        self.read: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        self.faults: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.had: Counter[str] = Counter()
        self.moved: set[str] = set()
        self.is_calm = False

    # --- what the offices see ----------------------------------------------------------------------------------------

    def locate(self, agent: str) -> str | None:
        return self.where.get(agent)

    def known_agents(self) -> Sequence[str]:
        return sorted(self.where)

    def subscribers(self, topic: str) -> Sequence[tuple[str, str]]:
        return []

    def why_refused(self, from_agent: str, box: Mailbox | None) -> str:
        return "it may not write here" if from_agent == STRANGER else ""

    def is_unproved(self, from_agent: str) -> bool:
        return False

    def next_fault(self, host: str, to: str) -> str:
        faults = self.faults[host, to]
        fault = "" if self.is_calm or not faults else faults.pop(0)
        self.had[fault] += 1
        return fault

    def delay_s(self) -> float:
        return self._rng.choice((0.0, self._rng.random() * self._slowest_s))

    # --- what may happen ---------------------------------------------------------------------------------------------

    def open(self, host: int, agent: str, capacity: int, overflow: Overflow, pause_s: float) -> None:
        """Open an agent that answers requests and takes its time for each message."""
        name = self.names[host % len(self.names)]
        if agent in self.is_at:
            return
        self.offices[name].open_mailbox(agent, capacity=capacity, overflow=overflow)
        self.is_at[agent] = self.where[agent] = name
        self._connect()
        self.readers[agent] = self.spawn("reader", self._serve(name, agent, pause_s))

    def move(self, agent: str, host: int, hears_after_s: float) -> None:
        """Have an agent leave its process and go on in another one; the directory hears of it later."""
        name = self.names[host % len(self.names)]
        old = self.is_at.get(agent)
        if old is None or old == name:
            return
        self.moved.add(agent)
        self.offices[old].close_mailbox(agent)
        self.offices[name].open_mailbox(agent, capacity=50)
        self.is_at[agent] = name
        self.readers[agent] = self.spawn("reader", self._serve(name, agent, 0.0))
        self.spawn("news", self._tell(agent, name, hears_after_s))

    def send(self, sender: str, to: str, priority: MessagePriority, lives_s: float | None) -> None:
        if (office := self._office_of(sender)) is not None:
            message = self.new(sender, to, "mail", priority, lives_s)
            self.spawn("send", self._send(office, message), message)

    def request(self, sender: str, to: str, limit_s: float) -> None:
        if sender in self.is_at:
            message = self.new(sender, to, "request", MessagePriority.NORMAL)
            self.spawn("request", self._request(self.offices[self.is_at[sender]], message, limit_s), message)

    def fault(self, host: int, to: int, kinds: Sequence[str]) -> None:
        self.faults[self.names[host % len(self.names)], self.names[to % len(self.names)]] += kinds

    def cancel(self, which: int) -> None:
        if tasks := self.tasks_of("send", "request"):
            tasks[which % len(tasks)].cancel()

    # --- what must hold ----------------------------------------------------------------------------------------------

    def check_in_the_end(self) -> None:
        """Let the faults end and everything come to rest, then settle the account."""
        self.is_calm = True
        self.pass_time(3 * DEFAULT_S)
        # So that everybody hears which answers were lost.
        for name, office in self.offices.items():
            for other in self.names:
                if other != name:
                    self.loop.call_soon(office.tell, other)
        for sender, to in [(a, b) for a in self.is_at for b in self.is_at if self.is_at[a] != self.is_at[b]]:
            self.send(sender, to, HIGH, None)
        self.pass_time(3 * DEFAULT_S)
        assert not [kind for kind in self.tasks.values() if kind != "reader"], "something never ended"
        for office in self.offices.values():
            assert not len(office.pending)
            assert all(link.is_idle for link in office.links()), "mail waits for ever"
            assert not any(len(office.mailbox(agent)) for agent in office.agents()), "mail was never read"
        is_sure = not (self.had["answer lost"] or self.had["answer late"])
        for sent in self.ledger.values():
            self._check(sent, is_sure=is_sure)
        for (sender, receiver, _), numbers in self.read.items():
            if not {sender, receiver} & self.moved:
                assert numbers == sorted(numbers), f"{receiver} read mail of {sender} out of order"
        self.loop.run_until_complete(self._close())

    def _check(self, sent: Letter, *, is_sure: bool) -> None:
        assert sent.outcome != "under way"
        assert sent.read <= 1, f"{sent} was read twice"
        if sent.outcome == "sent":
            assert sent.read or sent.dead, f"{sent} is lost"
        if is_sure:
            assert sent.read + len(sent.dead) <= 1, f"{sent} was read and given up, or given up twice"
        if sent.message.from_agent == STRANGER and self.is_away(sent):
            assert not sent.read

    def is_away(self, sent: Letter) -> bool:
        """Tell whether a stranger's mail has to cross a process's border."""
        return (
            self.is_at.get(sent.message.to_agent) != self.names[0] and sent.message.to_agent not in self.moved
        )

    # --- how it is done ----------------------------------------------------------------------------------------------

    def _office_of(self, agent: str) -> PostOffice | None:
        return (
            self.offices[self.names[0]] if agent == STRANGER else self.offices.get(self.is_at.get(agent, ""))
        )

    def _connect(self) -> None:
        """Let every answer bring back mail of every agent that is there."""
        for name, office in self.offices.items():
            for other in self.names:
                if other != name:
                    office.link(other).can_go_back = frozenset(
                        a for a, at in self.is_at.items() if at == name
                    )

    async def _tell(self, agent: str, name: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if self.is_at[agent] == name:
            self.where[agent] = name

    async def _send(self, office: PostOffice, message: Message) -> None:
        sent = self.sent(message)
        try:
            await office.send(message)
        except (MailboxFull, UnknownAgent, AgentUnreachable, BusClosed) as error:
            sent.outcome = "refused"
            assert error.details["to_agent"] == message.to_agent
            assert not sent.dead
        else:
            sent.outcome = "sent"

    async def _request(self, office: PostOffice, message: Message, limit_s: float) -> None:
        sent = self.sent(message)
        begun_s = self.loop.time()
        try:
            reply = await office.request(message, limit_s)
        except BusError as error:
            sent.outcome = "refused"
            self._check_error(message, error, self.loop.time() - begun_s, limit_s)
        else:
            sent.outcome = "sent"
            assert reply.content["answers"] == message.content["number"]
            assert reply.from_agent == message.to_agent
            self.sent(reply).read += 1
        assert self.loop.time() - begun_s <= limit_s + 0.1

    def _check_error(self, message: Message, error: BusError, waited_s: float, limit_s: float) -> None:
        if isinstance(error, RequestTimedOut):
            assert waited_s >= limit_s - 0.01 or DeadLetterReason.EXPIRED in self.sent(message).dead.values()
        elif isinstance(error, SenderRefused):
            assert self.had["refused"]
        elif isinstance(error, AgentUnreachable):
            assert self.had["gone"] + self.had["answer lost"] + self.had["answer late"] + self.had["broken"]
        elif isinstance(error, UnknownAgent | BusClosed):
            names = {message.to_agent, message.from_agent}
            assert names & self.moved or message.to_agent not in self.is_at
        else:
            assert isinstance(error, MailboxFull)
        assert error.details["to_agent"] in (message.to_agent, message.from_agent)

    async def _serve(self, host: str, agent: str, pause_s: float) -> None:
        office = self.offices[host]
        while True:
            try:
                message = await office.receive(agent)
            except RequestTimedOut:
                continue
            except (BusClosed, UnknownAgent):
                return
            assert message.to_agent == agent
            self.sent(message).read += 1
            key = message.from_agent, agent, int(message.priority)
            self.read[key].append(message.content["number"])
            await asyncio.sleep(pause_s)
            if message.message_type == "request":
                reply = self.new(agent, message.from_agent, "reply", HIGH)
                reply.content["answers"] = message.content["number"]
                reply.correlation_id, reply.is_reply = message.correlation_id, True
                await self._send(office, reply)

    def _dead(self, host: str, letter: DeadLetter) -> None:
        message, reason = letter.message, letter.reason
        sent = self.sent(message)
        assert host not in sent.dead, f"{sent} was given up twice"
        sent.dead[host] = reason
        crossed = self.had["gone"] + self.had["answer lost"] + self.had["answer late"] + self.had["broken"]
        match reason:
            case DeadLetterReason.EXPIRED:
                assert message.deadline_at_s is not None
                assert message.deadline_at_s <= self.clock.now_s() + 1e-6
            case DeadLetterReason.UNREACHABLE:
                assert crossed or letter.detail == "this process stopped" or message.to_agent in self.moved
            case DeadLetterReason.REFUSED:
                assert message.from_agent == STRANGER or self.had["refused"]
            case DeadLetterReason.UNKNOWN_AGENT:
                assert message.to_agent in self.moved or message.to_agent not in self.is_at
            case DeadLetterReason.MAILBOX_CLOSED:
                assert message.to_agent in self.moved
            case DeadLetterReason.LATE_REPLY:
                assert sent.kind == "reply"
            case _:
                assert reason in (DeadLetterReason.MAILBOX_FULL, DeadLetterReason.DROPPED_LOW)

    async def _close(self) -> None:
        for office in self.offices.values():
            await office.close()
