"""The bus of one process: its mailboxes, and the way to those of others."""

import asyncio
import itertools
import secrets
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import msgspec

from zejzl_ray.bus import codec
from zejzl_ray.bus.arrivals import Arrivals
from zejzl_ray.bus.dead_letters import DeadLetterReason, DeadLetters
from zejzl_ray.bus.failures import error_from, is_failure
from zejzl_ray.bus.handling import Handlings, current
from zejzl_ray.bus.history import History
from zejzl_ray.bus.link import PeerLink
from zejzl_ray.bus.mailbox import DEFAULT_CAPACITY, Mailbox, Overflow
from zejzl_ray.bus.message import HIGH, Guarantee, Message, MessagePriority, check
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Delivered, Directory, Durable, Outgoing, Refused, Speakers, Transport
from zejzl_ray.bus.requests import PendingRequest, PendingRequests
from zejzl_ray.bus.topics import TopicTable
from zejzl_ray.bus.undeliverable import error_for, reason_for
from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import (
    AgentUnreachable,
    BusClosed,
    BusError,
    Conflict,
    InvalidInput,
    MailboxFull,
    RequestTimedOut,
    UnknownAgent,
)
from zejzl_ray.metrics.figures import MailFigures

_YIELD_EVERY = 63  # messages that go through without anybody having waited; a power of two less one
_FOLLOW_S = 3.0  # how long news of where an agent has moved to are waited for
_LOOK_S = 0.02
_TAKEN = 1000


class PostOffice:
    """Sends, keeps and hands out the mail of the agents of one process; belongs to one event loop.

    A message to an agent of the same process is put into its mailbox as it is, and ``send`` returns then. One to another
    process is written as bytes and waits for the next batch to it; ``send`` returns as soon as it waits. Whatever cannot
    be delivered after ``send`` has returned goes to the dead letters with its reason, and ends the request that waits for
    it. Mail of a process that ends is gone, unless it was sent at least once.

    Args:
        clock: wall time for deadlines, monotonic time for latencies.
        options: sizes and time limits.
        host: name of this process among those of the cluster; empty for a process alone.
        directory: where the other mailboxes are; None: nowhere.
        transport: the way to them.
        durable: keeps mail that is sent at least once; None refuses such mail.

    Attributes:
        dead_letters: what could not be delivered.
        figures: counts and latencies.
        handlings: the handlers at work, kept by the runners of agents.
        pending: requests that wait.
        boot: of this process; another one at every start.
        sent: messages sent by agents of this process, copies of broadcasts each.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        options: BusOptions | None = None,
        host: str = "",
        directory: Directory | None = None,
        transport: Transport | None = None,
        durable: Durable | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.options = options or BusOptions()
        self.host = host
        self.figures = MailFigures()
        self._series = self.figures.by_agent
        self.handlings = Handlings()
        self.dead_letters = DeadLetters(self.options.dead_letters)
        self.pending = PendingRequests(self.options.finished_requests)
        self.started_at_s = self.clock.now_s()
        self.sent = 0
        self._directory = directory
        self._transport = transport
        self._durable = durable
        self._history = History(self.options.history_size)
        self._topics = TopicTable()
        # agent without a runner -> requests that it has taken and not answered yet
        self._taken: dict[str, dict[str, None]] = {}
        self._boxes: dict[str, Mailbox] = {}
        self._links: dict[str, PeerLink] = {}
        self.boot = secrets.token_hex(6)
        self._prefix = f"{host or 'msg'}-{self.boot}-"
        self._numbers = itertools.count(1)
        self._since_yield = 0
        self._is_closed = False
        self._monotonic_s = self.clock.monotonic_s
        self._arrivals = Arrivals(self)
        self._tasks: set[asyncio.Task[None]] = set()
        if durable is not None:
            durable.attach(self)

    def connect(self, transport: Transport) -> None:
        """Give the bus its way to other processes; before the first message there."""
        self._transport = transport

    # --- mailboxes ---------------------------------------------------------------------------------------------------

    def open_mailbox(
        self,
        agent: str,
        *,
        capacity: int = DEFAULT_CAPACITY,
        overflow: Overflow = Overflow.REJECT,
        mail_scope: str = "agents",
    ) -> Mailbox:
        """Open the mailbox of an agent.

        Raises:
            Conflict: it is open already.
            InvalidInput: no such name, capacity or policy.
        """
        if self._is_closed:
            raise BusClosed("The bus of this process is closed.", "Make a new one.")
        if agent in self._boxes:
            raise Conflict(f"The mailbox of {agent} is open already.", "Close it first.")
        if type(agent) is not str or not 0 < len(agent) <= 256:
            raise InvalidInput(f"{agent!r} names no agent.", "Give a text of 1 to 256 characters.")
        box = self._boxes[agent] = Mailbox(agent, capacity=capacity, overflow=overflow, mail_scope=mail_scope)
        return box

    def close_mailbox(self, agent: str) -> list[Message]:
        """Close a mailbox and return what was in it, which goes to the dead letters; safe to repeat.

        Whoever waits for its mail gets BusClosed.
        """
        box = self._boxes.pop(agent, None)
        if box is None:
            return []
        self._topics.remove(agent)
        self.figures.close_agent(agent)
        self._taken.pop(agent, None)
        left = box.close()
        for message in left:
            self.lose(message, DeadLetterReason.MAILBOX_CLOSED, f"{agent} stopped before it read it")
        return left

    def mailbox(self, agent: str) -> Mailbox:
        """Return the mailbox of an agent of this process.

        Raises:
            UnknownAgent: it has none here.
        """
        box = self._boxes.get(agent)
        if box is None:
            raise self._unknown(agent)
        return box

    def is_local(self, agent: str) -> bool:
        """Whether this process holds the mailbox of an agent."""
        return agent in self._boxes

    def agents(self) -> list[str]:
        """Return the agents of this process, in the order in which their mailboxes were opened."""
        return list(self._boxes)

    # --- sending -----------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> str:
        """Send a message and return its id; what that promises stands in the class docstring.

        Raises:
            UnknownAgent: nobody holds a mailbox of this name.
            MailboxFull: the mailbox, or the way to its process, is full and does not wait; or it waited in vain.
            AgentUnreachable: its process is gone; says where the agent moves to, if that is known.
            NotSerialisable, MessageTooLarge: it is for another process and cannot go there.
            InvalidInput: a field is of the wrong type, or its deadline has passed.
            BusClosed: the bus of this process is closed.
        """
        if (
            message.priority.__class__ is not MessagePriority
            or message.content.__class__ is not dict
            or message.to_agent.__class__ is not str
        ):
            check(message)
        if not message.id:
            message.id = self._prefix + str(next(self._numbers))
        handling = current.get()
        if handling is not None:
            if not message.caused_by:
                message.caused_by = handling.message.id
            if message.traceparent is None:
                message.traceparent = handling.message.traceparent
        message.sent_at_s = self._monotonic_s()
        if message.correlation_id is not None and (taken := self._taken.get(message.from_agent)) is not None:
            taken.pop(message.correlation_id, None)
        if message.guarantee is Guarantee.AT_MOST_ONCE:
            box = self._boxes.get(message.to_agent)
            if box is None:
                await self._send_away(message)
            elif message.correlation_id is None or not self.is_reply(message, is_own=True):
                if box.overflow is Overflow.WAIT and box.is_full:
                    await box.room(message, self.patience_s(message))
                dropped = box.put(message)
                if dropped is not None:
                    self.lose(dropped, DeadLetterReason.DROPPED_LOW, f"made room for {message.id}")
        else:
            if self._durable is None:
                raise BusError(
                    "This bus keeps no mail, so it cannot promise at least once.", "Give it a store."
                )
            self._route(message.to_agent)  # an unknown agent is an error here, not a dead letter later
            await self._durable.send(message)
        self.sent += 1
        self._series[message.from_agent][message.message_type].sent[message.priority] += 1
        self._history.add(message)
        self._since_yield += 1
        if not self._since_yield & _YIELD_EVERY:
            await asyncio.sleep(0)
        return message.id

    async def request(self, message: Message, timeout_s: float | None = None) -> Message:
        """Send a message and return the reply to it.

        Its deadline becomes the end of the time limit unless it has one, so that nobody handles it in vain.

        Raises:
            RequestTimedOut: no reply within ``timeout_s``; it is a TimeoutError.
            AgentUnreachable: the process of the receiver ended meanwhile.
            DeadlockDetected: agents wait for one another in a circle, and this request was chosen to end it.
            BusClosed: the bus was closed meanwhile.
            ZejzlError: as for ``send``; or what the receiver's handler failed with.
        """
        limit_s = self.options.default_timeout_s if timeout_s is None else timeout_s
        loop = asyncio.get_running_loop()
        handling = current.get()
        if not message.correlation_id:
            message.correlation_id = self._prefix + str(next(self._numbers))
        elif message.correlation_id in self.pending:
            raise Conflict(
                f"A request {message.correlation_id} waits already.", "Leave the correlation id out."
            )
        now_s = self.clock.now_s()
        if message.deadline_at_s is None:
            message.deadline_at_s = now_s + limit_s
        correlation_id = message.correlation_id
        future: asyncio.Future[Message] = loop.create_future()
        self.pending.add(PendingRequest(future, message, now_s, None if handling is None else handling.slot))
        timer = loop.call_later(limit_s, self._time_out, correlation_id, limit_s)
        if handling is not None:
            handling.awaits.add(correlation_id)
        try:
            await self.send(message)
            reply = await future
            if is_failure(reply):
                raise error_from(reply.content)
            return reply
        finally:
            timer.cancel()
            self.pending.remove(correlation_id)
            if future.done() and not future.cancelled():
                future.exception()  # looked at, also when sending failed before anybody waited
            if handling is not None:
                handling.awaits.discard(correlation_id)

    async def respond(
        self,
        request: Message,
        content: dict[str, object],
        *,
        message_type: str = "",
        priority: MessagePriority = HIGH,
        from_agent: str = "",
        metadata: dict[str, object] | None = None,
    ) -> None:
        """Answer a request; the answer reaches the one who asked, and never anybody else's mailbox.

        Raises:
            InvalidInput: the message has no correlation id, so nobody waits for an answer.
            ZejzlError: as for ``send``.
        """
        if not request.correlation_id:
            raise InvalidInput(f"Message {request.id} is no request.", "Answer with send.")
        await self.send(
            Message(
                from_agent=from_agent or request.to_agent,
                to_agent=request.from_agent,
                message_type=message_type or f"{request.message_type}_response",
                content=content,
                priority=priority,
                correlation_id=request.correlation_id,
                metadata=metadata or {},
                deadline_at_s=request.deadline_at_s,
                is_reply=True,
                traceparent=request.traceparent,
                caused_by=request.id,
            )
        )

    async def broadcast(self, message: Message, exclude: Iterable[str] = ()) -> list[str]:
        """Send a copy to every agent of this process but the sender and ``exclude``; return who got one.

        A mailbox that is full does not keep the others waiting: its copy goes to the dead letters.

        Raises:
            InvalidInput: a field is of the wrong type.
        """
        left_out = {message.from_agent, *exclude}
        return await self._copies(message, [agent for agent in self._boxes if agent not in left_out])

    async def publish(self, topic: str, message: Message) -> int:
        """Send a copy to everybody who subscribed to the topic; return how many that were, as far as is known here.

        Raises:
            InvalidInput: the topic has wildcards or empty words.
        """
        here = self._topics.matching(topic)
        there = self._directory.subscribers(topic) if self._directory is not None else ()
        published = msgspec.structs.replace(message, topic=topic)
        got = await self._copies(published, [agent for agent in here if agent != message.from_agent])
        away = [agent for agent, host in there if host != self.host and agent not in self._boxes]
        return len(got) + len(await self._copies(published, away))

    def subscribe(self, agent: str, pattern: str) -> None:
        """Have copies of what is published on matching topics put into an agent's mailbox; safe to repeat.

        Raises:
            UnknownAgent: the agent has no mailbox here.
            InvalidInput: no such pattern.
        """
        self.mailbox(agent)
        self._topics.subscribe(agent, pattern)

    def unsubscribe(self, agent: str, pattern: str) -> None:
        """Take a subscription back; safe to repeat."""
        self._topics.unsubscribe(agent, pattern)

    def subscriptions(self, agent: str) -> tuple[str, ...]:
        """Return the patterns that an agent of this process subscribed to."""
        return tuple(pattern for pattern, agents in self._topics.patterns().items() if agent in agents)

    # --- receiving ---------------------------------------------------------------------------------------------------

    async def receive(self, agent: str, timeout_s: float | None = None) -> Message:
        """Return the next message for an agent; several receivers of one agent share its mail.

        Args:
            agent: whose mail.
            timeout_s: longest wait; 0 takes what is there; None is the default of the options.

        Raises:
            UnknownAgent: it has no mailbox here.
            RequestTimedOut: none came in time; it is a TimeoutError.
            BusClosed: the mailbox was closed.
        """
        box = self._boxes.get(agent)
        if box is None:
            raise self._unknown(agent)
        limit_s = self.options.default_timeout_s if timeout_s is None else timeout_s
        while True:
            message = box.take()
            if message is None:
                message = await box.wait(limit_s)
            elif not box.streak & _YIELD_EVERY:
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    box.put_back(message)
                    raise
            if message.deadline_at_s is not None and message.deadline_at_s <= self.clock.now_s():
                self.lose(message, DeadLetterReason.EXPIRED, "nobody read it before its deadline")
                continue
            series = self._series[agent][message.message_type]
            series.received += 1
            series.latency.record(self._monotonic_s() - message.sent_at_s)
            if (
                message.correlation_id is not None
                and not message.is_reply
                and self.handlings.slots(agent) is None
            ):
                self._note_taken(agent, message.correlation_id)
            return message

    def _note_taken(self, agent: str, correlation_id: str) -> None:
        taken = self._taken.setdefault(agent, {})
        taken[correlation_id] = None
        if len(taken) > _TAKEN:
            del taken[next(iter(taken))]

    def taken(self, agent: str) -> tuple[str, ...]:
        """Return the requests that an agent without a runner has received and not answered, by correlation id."""
        return tuple(self._taken.get(agent, ()))

    async def ack(self, message: Message) -> None:
        """Say that a message is done with; of weight for mail that is sent at least once only. Safe to repeat.

        Raises:
            StoreUnavailable: it could not be written down; the message may come again.
        """
        if message.sequence and self._durable is not None:
            await self._durable.ack(message)

    async def nack(self, message: Message, reason: str) -> None:
        """Give a message back that could not be handled: it comes again, a limited number of times."""
        if message.sequence and self._durable is not None:
            await self._durable.nack(message, reason)

    # --- looking -----------------------------------------------------------------------------------------------------

    def history(self, limit: int | None = None) -> list[dict[str, object]]:
        """Return what was sent last, oldest first: envelopes without content."""
        return self._history.entries(limit)

    def sent_within(self, seconds: float) -> int:
        """Return how many messages were sent in the last ``seconds``, at most 60, to a second."""
        return self._recent.within(self._monotonic_s(), seconds)

    def replay(
        self,
        *,
        since_s: float | None = None,
        after_id: str | None = None,
        to_agent: str | None = None,
        topic: str | None = None,
        limit: int = 1000,
    ) -> list[Message]:
        """Return copies of kept messages from a point in time or an id on, oldest first.

        Raises:
            RevisionCompacted: the id is not kept any more.
        """
        return self._history.replay(
            since_s=since_s, after_id=after_id, to_agent=to_agent, topic=topic, limit=limit
        )

    def links(self) -> tuple[PeerLink, ...]:
        """Return the links to other processes."""
        return tuple(self._links.values())

    # --- the other side ----------------------------------------------------------------------------------------------

    async def accept(
        self, host: str, outgoing: Outgoing, speakers: Speakers, *, linger_s: float = 0.0
    ) -> Delivered:
        """Take a batch of another process and say what was refused.

        Args:
            host: which process.
            outgoing: from its link.
            speakers: for whom it may speak, and to whom these may write.
            linger_s: how long to wait for mail that can go back with the answer, where the sender wants that.

        Raises:
            InvalidInput: the bytes are no batch; nothing was taken.
        """
        messages = codec.decode_batch(outgoing.batch) if outgoing.batch else []
        link = self.link(host)
        link.end_lingering()
        link.take_returned(outgoing.returned)
        async with link.incoming.turn(outgoing.boot, outgoing.number):
            self.hear(host, outgoing.settled, outgoing.oldest_unsettled)
            refused = await self._arrivals.take_in(host, messages, speakers)
        if linger_s > 0 and outgoing.wants_reply and not link.has_mail and not refused:
            await link.linger(linger_s)
        return link.answer(tuple(refused))

    async def take_back(
        self, link: PeerLink, delivered: Delivered, messages: Sequence[Message], speakers: Speakers
    ) -> list[Refused]:
        """Take mail that came with the answer to a batch; return what was refused."""
        async with link.incoming.turn(delivered.boot, delivered.number):
            return await self._arrivals.take_in(link.host, messages, speakers)

    # --- what links and durable mail need ----------------------------------------------------------------------------

    def put_local(self, message: Message) -> None:
        """Put a message into a mailbox of this process, above all checks.

        Raises:
            UnknownAgent, MailboxFull: it cannot be.
        """
        dropped = self.mailbox(message.to_agent).put(message)
        if dropped is not None:
            self.lose(dropped, DeadLetterReason.DROPPED_LOW, f"made room for {message.id}")

    async def forward(self, message: Message) -> None:
        """Bring a message on its way that has been sent before: here, or to the process that holds the mailbox now.

        Raises:
            ZejzlError: as for ``send``.
        """
        if message.to_agent in self._boxes:
            self.put_local(message)
        else:
            await self._send_away(message)

    def lose(self, message: Message, reason: DeadLetterReason, detail: str) -> None:
        """Put a message to the dead letters, and end the request that waits for it."""
        self.dead_letters.add(message, reason, detail, self.clock.now_s())
        series = self._series[message.to_agent][message.message_type]
        series.dead += 1
        if reason is DeadLetterReason.DROPPED_LOW:
            series.dropped += 1
        self.figures.events.add("bus_dead_letters_total", reason.value)
        if message.sequence and self._durable is not None:
            self._durable.lost(message)
        if message.correlation_id and not message.is_reply:
            self.pending.fail(message.correlation_id, error_for(message, reason, detail))

    def follow(self, message: Message, host: str, why: str) -> None:
        """Bring a message that a process did not take, or that it is too late to take, to where its agent is now.

        It is delivered there or becomes a dead letter, once. Mail that follows an agent may come after mail that was
        sent later.
        """
        self._launch(self._follow(message, host, why))

    async def _follow(self, message: Message, host: str, why: str) -> None:
        until_s = self._monotonic_s() + min(_FOLLOW_S, self.patience_s(message))
        while not self._is_closed:
            now_at = self._locate(message.to_agent)
            if message.to_agent in self._boxes or (now_at is not None and now_at != host):
                try:
                    await self.forward(message)
                except BusError as error:
                    self.lose(message, reason_for(error), error.message)
                return
            if self._monotonic_s() >= until_s:
                break
            await asyncio.sleep(_LOOK_S)
        is_gone = host in self._links and self._links[host].is_down
        self.lose(message, DeadLetterReason.UNREACHABLE if is_gone else DeadLetterReason.UNKNOWN_AGENT, why)

    def _launch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _locate(self, agent: str) -> str | None:
        return self._directory.locate(agent) if self._directory is not None else None

    def find(self, agent: str) -> Mailbox | None:
        """Return the mailbox of an agent of this process, None when it has none here."""
        return self._boxes.get(agent)

    def durable_news(self, host: str) -> tuple[tuple[int, ...], int]:
        """Return what another process is to hear of mail that is sent at least once: settled there, oldest open here."""
        if self._durable is None:
            return (), 0
        return self._durable.settled_for(host), self._durable.oldest_unsettled(host)

    def durable_told_again(self, host: str, settled: Sequence[int]) -> None:
        """Take back news that may not have reached another process."""
        if self._durable is not None and settled:
            self._durable.tell_again(host, settled)

    def durable_arrived(self, host: str, message: Message) -> Refused | None:
        """Take a message of another process's outbox; return why not."""
        if self._durable is None:
            return Refused(message.id, DeadLetterReason.REFUSED, "this process keeps no mail")
        return self._durable.arrived(host, message)

    def durable_refused(self, host: str, message: Message, refused: Refused) -> None:
        """Pass on that a message of the outbox was not taken."""
        if self._durable is not None:
            self._durable.refused(host, message, refused)

    def durable_unsent(self, host: str, messages: Sequence[Message]) -> None:
        """Pass on that messages of the outbox may not have arrived."""
        if self._durable is not None:
            self._durable.unsent(host, messages)

    def hear(self, host: str, settled: Sequence[int], oldest_unsettled: int) -> None:
        """Pass on what another process says of mail that is sent at least once."""
        if self._durable is not None and (settled or oldest_unsettled):
            self._durable.hear(host, settled, oldest_unsettled)

    def unreachable(self, host: str, detail: str) -> None:
        """Another process is gone: end the requests that wait for its agents."""
        for pending in self.pending:
            if pending.host == host:
                self.pending.fail(
                    pending.message.correlation_id or "", self._gone(pending.message.to_agent, host, detail)
                )

    def _gone(self, agent: str, host: str, detail: str) -> AgentUnreachable:
        now_at = self._locate(agent)
        moves_to = now_at if now_at not in (None, host) else ""
        return AgentUnreachable(
            f"{agent} cannot be reached: its process {host} is gone ({detail}).",
            f"It is at {moves_to} now: send again." if moves_to else "Send again once it is back.",
            {"to_agent": agent, "host": host, "moves_to": moves_to},
        )

    def is_reply(self, message: Message, *, is_own: bool) -> bool:
        """Give a reply to the request that waits for it; False when it is other mail."""
        if self.pending.resolve(message, from_asked_only=not is_own):
            return True
        if message.is_reply and self.pending.was_finished(message.correlation_id or ""):
            self.lose(message, DeadLetterReason.LATE_REPLY, "nobody waits for it any more")
            return True
        return False

    def _time_out(self, correlation_id: str, limit_s: float) -> None:
        pending = self.pending.get(correlation_id)
        if pending is None:
            return
        message = pending.message
        self.figures.events.add("bus_request_timeouts_total", message.to_agent)
        self.pending.fail(
            correlation_id,
            RequestTimedOut(
                f"{message.to_agent} did not answer the {message.message_type!r} request of {message.from_agent} within "
                f"{limit_s:g} s.",
                "Give it more time, or look whether the agent is stuck: zejzl deadlocks, zejzl logs --agent.",
                {"to_agent": message.to_agent, "correlation_id": correlation_id, "timeout_s": limit_s},
            ),
        )

    async def _copies(self, message: Message, agents: Sequence[str]) -> list[str]:
        got = []
        for agent in agents:
            copy = message.copied(agent)
            try:
                await self.send(copy)
            except BusError as error:
                self.lose(copy, reason_for(error), error.message)
            else:
                got.append(agent)
        return got

    async def _send_away(self, message: Message) -> None:
        host = self._route(message.to_agent)
        if message.correlation_id and (pending := self.pending.get(message.correlation_id)) is not None:
            pending.host = host
        link = self.link(host)
        wire_at_s = message.sent_at_s
        message.sent_at_s = self.clock.now_s()
        encoded = codec.encode(message, self.options.max_message_bytes)
        message.sent_at_s = wire_at_s
        if not link.offer(message, encoded):
            await link.room(message, len(encoded), self.patience_s(message))
            link.offer(message, encoded)

    def _route(self, agent: str) -> str:
        if agent in self._boxes:
            return self.host
        host = self._locate(agent)
        if host is None or self._transport is None or host == self.host:
            raise self._unknown(agent)
        link = self._links.get(host)
        if link is not None and link.is_down:
            raise self._gone(agent, host, link.why_down)
        return host

    def link(self, host: str) -> PeerLink:
        """Return the link to another process."""
        link = self._links.get(host)
        if link is None:
            link = self._links[host] = PeerLink(host, self, self._transport, self.options)
        return link

    def patience_s(self, message: Message) -> float:
        """Return how long a message may wait for room: its deadline, at most the default time limit."""
        limit_s = self.options.default_timeout_s
        if message.deadline_at_s is not None:
            limit_s = min(limit_s, max(0.0, message.deadline_at_s - self.clock.now_s()))
        return limit_s

    def _unknown(self, agent: str) -> BusError:
        if self._is_closed:
            return BusClosed("The bus of this process is closed.", "Make a new one.")
        known = sorted(
            {*self._boxes, *(self._directory.known_agents() if self._directory is not None else ())}
        )
        shown = known[:100]
        return UnknownAgent(
            f"Unknown agent: {agent}",
            "See zejzl agents list.",
            {"to_agent": agent, "available_agents": shown},
        )

    async def close(self) -> None:
        """Close all mailboxes, end all requests and links; safe to repeat."""
        self._is_closed = True
        for pending in self.pending:
            self.pending.fail(
                pending.message.correlation_id or "", BusClosed("The bus of this process is closed.")
            )
        for agent in tuple(self._boxes):
            self.close_mailbox(agent)
        for task in tuple(self._tasks):
            task.cancel()
        for link in self._links.values():
            await link.close()
