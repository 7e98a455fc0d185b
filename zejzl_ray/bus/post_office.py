"""The bus of one process: what agents, runners and hosts use."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from zejzl_ray.bus.away_mail import AwayMail
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.failures import WITHDRAWN, error_from, is_failure
from zejzl_ray.bus.handling import Handling, current
from zejzl_ray.bus.hands import hand_at_work
from zejzl_ray.bus.link import PeerLink
from zejzl_ray.bus.local_mail import YIELD_EVERY, LocalMail
from zejzl_ray.bus.mailbox import DEFAULT_CAPACITY, Mailbox, Overflow
from zejzl_ray.bus.message import HIGH, Guarantee, Message, MessagePriority, check
from zejzl_ray.bus.office_views import OfficeViews
from zejzl_ray.bus.options import BusOptions, check_time_limit
from zejzl_ray.bus.ports import Delivered, Directory, Durable, Outgoing, Speakers, Transport
from zejzl_ray.bus.requests import PendingRequest
from zejzl_ray.bus.undeliverable import reason_for
from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import BusClosed, BusError, Conflict, InvalidInput, ZejzlError

_AT_MOST_ONCE: Final = Guarantee.AT_MOST_ONCE
_WAIT: Final = Overflow.WAIT
_current: Final = current.get


class PostOffice(OfficeViews):
    """Sends, keeps and hands out the mail of the agents of one process; belongs to one event loop.

    A message to an agent of the same process is put into its mailbox as it is, and ``send`` returns then. One to
    another process is written as bytes and waits for the next batch to it; ``send`` returns as soon as it waits.
    Whatever cannot be delivered after ``send`` has returned goes to the dead letters with its reason, and ends the
    request that waits for it. Mail of a process that ends is gone, unless it was sent at least once.

    Args:
        clock: wall time for deadlines, monotonic time for latencies.
        options: sizes and time limits.
        host: name of this process among those of the cluster; empty for a process alone.
        directory: where the other mailboxes are; None: nowhere.

    Attributes:
        local: what stays in this process.
        away: what goes to others.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        options: BusOptions | None = None,
        host: str = "",
        directory: Directory | None = None,
    ) -> None:
        self.local = LocalMail(clock or SystemClock(), options or BusOptions(), host)
        self.away = AwayMail(self.local, directory)
        self._boxes = self.local.boxes
        self._pending = self.local.pending
        self._monotonic_s = self.local.monotonic_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._series = self.local.figures.by_agent
        self._remember = self.local.history.add

    def connect(self, transport: Transport) -> None:
        """Give the bus its way to other processes; before the first message there."""
        self.away.transport = transport

    def keep(self, durable: Durable) -> None:
        """Give the bus what keeps mail that is sent at least once; before the first such message."""
        self.local.durable = durable
        durable.attach(self)

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

        Args:
            agent: whose.
            capacity: how many messages it holds.
            overflow: what happens to more.
            mail_scope: whoever writes from another process needs the scope ``mail:<mail_scope>:write``.

        Raises:
            Conflict: it is open already.
            InvalidInput: no such name, capacity or policy.
            BusClosed: the bus is closed.
        """
        return self.local.open(agent, capacity, overflow, mail_scope)

    def close_mailbox(self, agent: str) -> list[Message]:
        """Close a mailbox and return what was in it, which goes to the dead letters; safe to repeat.

        Whoever waits for its mail gets BusClosed.
        """
        return self.local.close(agent)

    def mailbox(self, agent: str) -> Mailbox:
        """Return the mailbox of an agent of this process.

        Raises:
            UnknownAgent: it has none here.
        """
        box = self._boxes.get(agent)
        if box is None:
            raise self.away.unknown(agent)
        return box

    def find(self, agent: str) -> Mailbox | None:
        """Return the mailbox of an agent of this process, None when it has none here."""
        return self._boxes.get(agent)

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
            InvalidInput: a field is of the wrong type.
            BusClosed: the bus of this process is closed.
        """
        # What the bus takes for granted; written out here, because this is the hot path.
        if (
            message.priority.__class__ is not MessagePriority
            or message.content.__class__ is not dict
            or message.to_agent.__class__ is not str
            or message.from_agent.__class__ is not str
            or message.message_type.__class__ is not str
            or message.metadata.__class__ is not dict
            or message.id.__class__ is not str
            or (message.correlation_id is not None and message.correlation_id.__class__ is not str)
            or (message.deadline_at_s is not None and message.deadline_at_s.__class__ is not float)
        ):
            check(message)
        local = self.local
        if not message.id:
            message.id = local.new_id()
        handling = _current()
        if handling is not None:
            handling.trace(message)
        message.sent_at_s = sent_at_s = self._monotonic_s()
        deadline_s = message.deadline_at_s
        message.expires_s = None if deadline_s is None else sent_at_s + (deadline_s - local.now_s())
        correlation_id = message.correlation_id
        if message.guarantee is not _AT_MOST_ONCE and not message.is_reply:
            await self._send_surely(message)
        elif (box := self._boxes.get(message.to_agent)) is None:
            if (waiting := self.away.offer(message)) is not None:
                await waiting
        elif correlation_id is None or not local.is_reply(message, is_own=True):
            if box.overflow is _WAIT and box.makes_wait:
                await box.room(message, local.patience_s(message))
            if (dropped := box.put(message)) is not None:
                local.made_room(dropped, message)
        # What is noted of every message; written out here too.
        if sent_at_s >= local.recent.next_mark_s:
            local.recent.mark(sent_at_s, local.sent)
        local.sent += 1
        self._series[message.from_agent][message.message_type].sent[message.priority] += 1
        self._remember(message)
        if correlation_id is not None:
            local.note_answered(message.from_agent, correlation_id)
        if not local.sent & YIELD_EVERY:
            await asyncio.sleep(0)
        return message.id

    async def request(self, message: Message, timeout_s: float | None = None) -> Message:
        """Send a message and return the reply to it.

        Its deadline becomes the end of the time limit unless it has one, so that nobody handles it in vain. To ask once
        more, make a new message.

        Raises:
            RequestTimedOut: no reply within ``timeout_s``, or until its own deadline; it is a TimeoutError.
            AgentUnreachable: the process of the receiver ended meanwhile.
            DeadlockDetected: agents wait for one another in a circle, and this request was chosen to end it.
            BusClosed: the bus was closed meanwhile.
            ZejzlError: as for ``send``; or what the receiver's handler failed with.
        """
        limit_s = self.local.options.default_timeout_s if timeout_s is None else timeout_s
        if limit_s.__class__ is not float or not limit_s >= 0:
            check_time_limit(limit_s)
        handling = current.get()
        correlation_id, future = self._begin_request(message, limit_s, handling)
        if handling is not None:
            handling.awaits.add(correlation_id)
        try:
            await self.send(message)
            reply = await future
        except BaseException as error:
            # Its exception is looked at here, also when sending failed before anybody waited.
            has_reply = future.done() and not future.cancelled() and future.exception() is None
            if has_reply and isinstance(error, asyncio.CancelledError):
                self.local.lose(future.result(), DeadLetterReason.LATE_REPLY, "its request was just given up")
            raise
        finally:
            self.local.limits.end(future)
            self._pending.remove(correlation_id)
            if handling is not None:
                handling.awaits.discard(correlation_id)
        if is_failure(reply):
            raise error_from(reply.content)
        return reply

    async def give_up(self, correlation_id: str, error: ZejzlError) -> bool:
        """End a request with an error; False when it does not wait (any more).

        It is not handled any more where it still lies in a mailbox: its handler might ask again what was just refused.
        """
        pending = self._pending.get(correlation_id)
        if pending is None or not self._pending.fail(correlation_id, error):
            return False
        request = pending.message
        request.expires_s = self._monotonic_s()
        if pending.host:
            word = Message(
                request.from_agent, request.to_agent, WITHDRAWN, {}, request.priority, correlation_id
            )
            word.id, word.sent_at_s = self.local.new_id(), self._monotonic_s()
            with suppress(ZejzlError):  # that process is gone, and the request with it
                if (waiting := self.away.offer(word)) is not None:
                    await waiting
        return True

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
        here = self.local.topics.matching(topic)
        published = msgspec.structs.replace(message, topic=topic)
        got = await self._copies(published, [agent for agent in here if agent != message.from_agent])
        return len(got) + len(await self._copies(published, self.away.subscribers(topic)))

    def subscribe(self, agent: str, pattern: str) -> None:
        """Have copies of what is published on matching topics put into an agent's mailbox; safe to repeat.

        Raises:
            UnknownAgent: the agent has no mailbox here.
            InvalidInput: no such pattern.
        """
        self.mailbox(agent)
        self.local.topics.subscribe(agent, pattern)

    def unsubscribe(self, agent: str, pattern: str) -> None:
        """Take a subscription back; safe to repeat."""
        self.local.topics.unsubscribe(agent, pattern)

    def subscriptions(self, agent: str) -> tuple[str, ...]:
        """Return the patterns that an agent of this process subscribed to."""
        return tuple(pattern for pattern, agents in self.local.topics.patterns().items() if agent in agents)

    # --- receiving ---------------------------------------------------------------------------------------------------

    def receive(self, agent: str, timeout_s: float | None = None) -> Coroutine[Any, Any, Message]:
        """Return the next message for an agent; several receivers of one agent share its mail.

        Args:
            agent: whose mail.
            timeout_s: longest wait; 0 takes what is there; None is the default of the options.

        Raises:
            UnknownAgent: it has no mailbox here.
            RequestTimedOut: none came in time; it is a TimeoutError.
            BusClosed: the mailbox was closed.
        """
        # No coroutine of its own around the other: this is the hot path.
        limit_s = self.local.options.default_timeout_s if timeout_s is None else timeout_s
        return self.local.receive(agent, limit_s)

    async def ack(self, message: Message, *, state: bytes | None = None) -> None:
        """Say that a message is done with; of weight for mail that is sent at least once only. Safe to repeat.

        It is written down together with others, soon; the sender is told then. Until it is, the end of this process
        lets the message come again.

        Args:
            message: as it was received.
            state: of the agent, kept in the same commit.

        Raises:
            StaleEpoch: another process serves this agent now.
        """
        if message.sequence and self.local.durable is not None:
            await self.local.durable.ack(message, state)

    async def nack(self, message: Message, reason: str) -> None:
        """Give a message back that could not be handled: it comes again, a limited number of times."""
        if message.sequence and self.local.durable is not None:
            self.local.durable.nack(message, reason)

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
        return await self.away.accept(host, outgoing, speakers, linger_s)

    def link(self, host: str) -> PeerLink:
        """Return the link to another process."""
        return self.away.link(host)

    def put(self, message: Message) -> None:
        """Put a message into a mailbox of this process, above all checks.

        Raises:
            UnknownAgent, MailboxFull: it cannot be.
        """
        self.local.put(self.mailbox(message.to_agent), message)

    def carry(self, agent: str, mail: Iterable[tuple[Message, bytes]]) -> tuple[str, int]:
        """Have messages that are kept wait for the next batches to the process that holds their mailbox.

        Args:
            agent: the receiver of all of them.
            mail: each as it is and as bytes, in their order.

        Returns:
            which process, and how many found room on the way there.

        Raises:
            ZejzlError: they cannot go there now.
        """
        return self.away.carry(agent, mail)

    def tell(self, host: str) -> None:
        """See to it that another process hears the news for it soon, also when no mail goes there."""
        self.away.link(host).tell()

    def lose(self, message: Message, reason: DeadLetterReason, detail: str) -> None:
        """Put a message to the dead letters, and end the request that waits for it."""
        self.local.lose(message, reason, detail)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits for other processes any more; return whether that was so in time."""
        return await self.away.flush(timeout_s)

    async def close(self) -> None:
        """Close all mailboxes, end all requests and links; safe to repeat."""
        self.local.is_closed = True
        for pending in self._pending:
            self._pending.fail(
                pending.message.correlation_id or "", BusClosed("The bus of this process is closed.")
            )
        for agent in tuple(self._boxes):
            self.local.close(agent)
        await self.away.close()

    def _begin_request(
        self, message: Message, limit_s: float, handling: Handling | None
    ) -> tuple[str, "asyncio.Future[Message]"]:
        if message.correlation_id is not None or message.deadline_at_s is not None:
            check(message)
        correlation_id = message.correlation_id
        if not correlation_id:
            correlation_id = message.correlation_id = self.local.new_id()
            if not message.id:
                message.id = correlation_id  # one is enough for both
        elif correlation_id in self._pending:
            raise Conflict(f"A request {correlation_id} waits already.", "Leave the correlation id out.")
        now_s = self.local.now_s()
        if message.deadline_at_s is None:
            message.deadline_at_s = now_s + limit_s
        else:
            limit_s = min(limit_s, message.deadline_at_s - now_s)
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()
        self.local.limits.begin(future, limit_s, self.local.time_out, correlation_id, limit_s)
        if handling is None:
            self._pending.add(PendingRequest(future, message, now_s, hand=hand_at_work(loop)))
        else:
            self._pending.add(PendingRequest(future, message, now_s, slot=handling.slot))
        return correlation_id, future

    async def _send_surely(self, message: Message) -> None:
        durable = self.local.durable
        if durable is None:
            raise BusError("This bus keeps no mail, so it cannot promise at least once.", "Give it a store.")
        if self.local.is_closed or (
            message.to_agent not in self._boxes and self.away.locate(message.to_agent) is None
        ):
            raise self.away.unknown(message.to_agent)  # an error here, not a dead letter later
        await durable.send(message)

    async def _copies(self, message: Message, agents: Sequence[str]) -> list[str]:
        check(msgspec.structs.replace(message, to_agent="all"))
        got = []
        for agent in agents:
            copy = message.copied(agent)
            try:
                self._refuse_to_wait(copy)
                await self.send(copy)
            except BusError as error:
                self.local.lose(copy, reason_for(error), error.message)
            else:
                got.append(agent)
        return got

    def _refuse_to_wait(self, message: Message) -> None:
        """Raise MailboxFull where sending would wait for room: one receiver does not keep the others waiting."""
        box = self._boxes.get(message.to_agent)
        if box is None:
            self.away.refuse_to_wait(message)
        elif box.is_full and box.overflow is Overflow.WAIT:
            raise box.full(message)
