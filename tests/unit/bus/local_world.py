"""Agents of one process that do whatever comes to mind, and a ledger of every single message."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.unit.bus.ledger import Ledger, Sent
from tests.unit.bus.virtual_time import VirtualLoop
from zejzl_ray.bus.dead_letters import DeadLetter, DeadLetterReason
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import LOW, Message, MessagePriority
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import BusClosed, BusError, MailboxFull, RequestTimedOut, UnknownAgent

DEFAULT_S = 20.0


@dataclass
class Letter(Sent):
    """One message, and how it ended."""

    ends: list[str] = field(default_factory=list)


class LocalWorld(Ledger[Letter]):
    """One post office, tasks that use it, and the ledger.

    Agents named in ``single`` have one reader at a time, so that the order in which they read can be judged.
    """

    single = ("a", "b")

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop, Letter)
        self.office = PostOffice(
            clock=self.clock,
            options=BusOptions(default_timeout_s=DEFAULT_S, dead_letters=100_000, history_size=10),
        )
        self.office.dead_letters.on_letter(self._dead)
        self.readers: Counter[str] = Counter()
        self.incarnation: Counter[str] = Counter()
        # (receiver, its incarnation, sender, priority) -> numbers in the order of sending, of reading
        self.read: dict[tuple[str, int, str, int], list[int]] = defaultdict(list)
        self.requests: dict[int, Message] = {}  # taken and not answered
        self.has_put_back = False
        self.reasons: Counter[DeadLetterReason] = Counter()
        self.received = 0

    # --- what may happen ---------------------------------------------------------------------------------------------

    def open(self, agent: str, capacity: int, overflow: Overflow) -> None:
        if not self.office.is_local(agent):
            self.office.open_mailbox(agent, capacity=capacity, overflow=overflow)
            self.incarnation[agent] += 1

    def close(self, agent: str) -> None:
        self.office.close_mailbox(agent)

    def clear(self, agent: str) -> None:
        box = self.office.find(agent)
        if box is not None:
            for message in box.clear():
                self._end(message, "cleared")

    def send(self, sender: str, to: str, priority: MessagePriority, lives_s: float | None) -> None:
        message = self.new(sender, to, "mail", priority, lives_s)
        self.spawn("send", self._send(message), message)

    def broadcast(self, sender: str) -> None:
        self.spawn("broadcast", self._broadcast(sender))

    def request(self, sender: str, to: str, limit_s: float) -> None:
        message = self.new(sender, to, "request", MessagePriority.NORMAL)
        self.spawn("request", self._request(message, limit_s), message)

    def respond(self, which: int) -> None:
        if self.requests:
            number = sorted(self.requests)[which % len(self.requests)]
            request = self.requests.pop(number)
            reply = self.new(request.to_agent, request.from_agent, "reply", MessagePriority.HIGH)
            self.spawn("respond", self._respond(request, reply), reply)

    def receive(self, agent: str, limit_s: float) -> None:
        if agent not in self.single or not self.readers[agent]:
            self.readers[agent] += 1
            task = self.spawn("receive", self._receive(agent, limit_s))
            task.add_done_callback(lambda _: self.readers.subtract([agent]))

    def cancel(self, kind: str, which: int) -> None:
        if tasks := self.tasks_of(kind):
            self.has_put_back |= kind == "receive"
            tasks[which % len(tasks)].cancel()

    def step(self, rounds: int) -> None:
        """Let the loop go round a few times: each is a place where anything may come in between."""
        for _ in range(rounds):
            self.loop.go_round()

    # --- what must hold ----------------------------------------------------------------------------------------------

    def check_now(self) -> None:
        """Check what holds at every moment at which nothing is left to do at once."""
        self.step(30)
        for agent in self.office.agents():
            box = self.office.mailbox(agent)
            assert not (box.has_receiver and len(box)), "somebody waits for mail that is there"
            assert not (box._senders and not box.is_full), "somebody waits for room that is there"
            assert not box._granted, "room is kept for nobody"
            if not self.has_put_back:
                assert len(box) <= box.capacity
        assert len(self.office.pending) == sum(kind == "request" for kind in self.tasks.values())
        for sent in self.ledger.values():
            assert len(sent.ends) <= 1, f"{sent} ended twice"

    def check_in_the_end(self) -> None:
        """Read what is left, close everything, and settle the account."""
        for agent in self.single:
            self.close_down(agent)
        self.check_now()
        self.loop.run_until_complete(self.office.close())
        self.step(5)
        self.pass_time(2 * DEFAULT_S)
        assert not self.tasks, "a task never ended"
        assert not len(self.office.pending)
        for sent in self.ledger.values():
            assert sent.outcome != "under way"
            if sent.outcome == "sent":
                assert len(sent.ends) == 1, f"{sent} is lost"
            elif sent.outcome == "refused" and sent.kind != "request":
                assert not sent.ends, f"{sent} was refused, and ended as well"
        self._check_order()
        self._check_counters()

    def close_down(self, agent: str) -> None:
        """Read all mail of an agent, one after the other."""
        for task in self.tasks_of("receive"):
            task.cancel()
        self.step(10)
        rounds = 0
        while self.office.is_local(agent) and len(self.office.mailbox(agent)):
            self.receive(agent, 0.0)
            self.step(10)
            rounds += 1
            assert rounds < 1000, f"{agent} cannot read its mail: {self.readers}, {self.tasks}"

    def _check_order(self) -> None:
        for (receiver, _, sender, priority), numbers in self.read.items():
            if receiver in self.single:
                assert numbers == sorted(numbers), (
                    f"{receiver} read mail of {sender}, {priority}, out of order"
                )

    def _check_counters(self) -> None:
        office = self.office
        totals = office.figures.totals()
        ends = Counter(end for sent in self.ledger.values() for end in sent.ends)
        assert totals.received == self.received == ends["read"]
        assert totals.sent == office.sent
        went = [sent for sent in self.ledger.values() if sent.outcome == "sent"]
        perhaps = [sent for sent in self.ledger.values() if sent.outcome == "cancelled" and sent.ends]
        unsent = [sent for sent in self.ledger.values() if sent.kind == "copy" and "dead" in sent.ends]
        assert len(went) - len(unsent) <= office.sent <= len(went) + len(perhaps) + len(self.ledger)
        assert totals.dead == sum(self.reasons.values()) == ends["dead"]
        assert office.dead_letters.counts() == self.reasons
        assert totals.dropped == self.reasons[DeadLetterReason.DROPPED_LOW]

    # --- how it is done ----------------------------------------------------------------------------------------------

    async def _send(self, message: Message) -> None:
        sent = self.sent(message)
        try:
            await self.office.send(message)
        except MailboxFull:
            sent.outcome = "refused"
            box = self.office.find(message.to_agent)
            assert box is not None
            assert len(box) >= box.capacity
            assert box.overflow is not Overflow.DROP_OLDEST_LOW or all(
                each.priority is not LOW for each in box
            )
        except UnknownAgent as error:
            sent.outcome = "refused"
            assert not self.office.is_local(message.to_agent)
            assert error.details["available_agents"] == sorted(self.office.agents())
        except BusClosed:  # it waited for room
            sent.outcome = "refused"
        else:
            sent.outcome = "sent"

    async def _broadcast(self, sender: str) -> None:
        before = {agent for agent in self.office.agents() if agent != sender}
        first = len(self.ledger)
        original = Message(sender, "all", "copy", {}, LOW)
        copied = type(self.office)._copies
        got: list[str] = []

        async def numbered(message: Message, agents: Any) -> list[str]:
            assert set(agents) == before
            for agent in agents:
                copy = self.new(sender, agent, "copy", LOW)
                got.extend(await copied(self.office, copy, [agent]))
                self.sent(copy).outcome = "sent"
            return got

        self.office._copies = numbered  # type: ignore[method-assign] # gives each copy a number of its own
        try:
            assert await self.office.broadcast(original) == got
        finally:
            del self.office._copies
            for number in range(first, len(self.ledger)):
                if self.ledger[number].outcome == "under way" and self.ledger[number].kind == "copy":
                    self.ledger[number].outcome = "cancelled"

    async def _request(self, message: Message, limit_s: float) -> None:
        sent = self.sent(message)
        begun_s = self.loop.time()
        try:
            reply = await self.office.request(message, limit_s)
        except (RequestTimedOut, UnknownAgent, MailboxFull, BusClosed) as error:
            sent.outcome = "refused"
            self._check_request_error(sent, error, self.loop.time() - begun_s, limit_s)
        else:
            sent.outcome = "sent"
            assert reply.content["answers"] == message.content["number"]
            assert reply.correlation_id == message.correlation_id
            self._end(reply, "replied")

    def _check_request_error(self, sent: Letter, error: BusError, waited_s: float, limit_s: float) -> None:
        if isinstance(error, RequestTimedOut):
            assert waited_s >= limit_s or sent.ends == ["dead"]
        elif isinstance(error, UnknownAgent):
            assert not sent.ends
        else:
            assert waited_s <= limit_s

    async def _respond(self, request: Message, reply: Message) -> None:
        sent = self.sent(reply)
        reply.content["answers"] = request.content["number"]
        reply.correlation_id, reply.is_reply = request.correlation_id, True
        was_waiting = (request.correlation_id or "") in self.office.pending
        try:
            await self.office.send(reply)
        except (UnknownAgent, MailboxFull, BusClosed):
            sent.outcome = "refused"
            assert not was_waiting
        else:
            sent.outcome = "sent"

    async def _receive(self, agent: str, limit_s: float) -> None:
        incarnation = self.incarnation[agent]
        try:
            message = await self.office.receive(agent, limit_s)
        except (RequestTimedOut, UnknownAgent, BusClosed):
            return
        self.received += 1
        assert message.to_agent == agent
        assert message.deadline_at_s is None or message.deadline_at_s > self.clock.now_s()
        self._end(message, "read")
        self.read[agent, incarnation, message.from_agent, message.priority].append(message.content["number"])
        if message.message_type == "request":
            self.requests[message.content["number"]] = message

    def _dead(self, letter: DeadLetter) -> None:
        message, reason = letter.message, letter.reason
        self.reasons[reason] += 1
        self._end(message, "dead")
        sent = self.sent(message)
        if reason is DeadLetterReason.EXPIRED:
            assert message.deadline_at_s is not None
            assert message.deadline_at_s <= self.clock.now_s()
        elif reason is DeadLetterReason.DROPPED_LOW:
            assert message.priority is LOW
            assert self.office.mailbox(message.to_agent).overflow is Overflow.DROP_OLDEST_LOW
        elif reason is DeadLetterReason.LATE_REPLY:
            assert sent.kind == "reply"
        elif reason is DeadLetterReason.MAILBOX_CLOSED:
            assert not self.office.is_local(message.to_agent) or self.incarnation[message.to_agent] > 1
        else:
            assert sent.kind == "copy"
            assert reason in (DeadLetterReason.MAILBOX_FULL, DeadLetterReason.UNKNOWN_AGENT)

    def _end(self, message: Message, how: str) -> None:
        self.sent(message).ends.append(how)
