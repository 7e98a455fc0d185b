"""Mail that is sent at least once: from the outbox of its sender's process to the inbox of its receiver, and back."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.handling import Handlings
from zejzl_ray.bus.inbox import Inbox
from zejzl_ray.bus.inboxes import Inboxes
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.outbox import Outbox
from zejzl_ray.bus.ports import Carrier, News, Refused
from zejzl_ray.bus.received import Receipt
from zejzl_ray.bus.redelivery import Redelivery, RedeliveryOptions
from zejzl_ray.bus.unacknowledged import AckOptions, Unacknowledged
from zejzl_ray.clock import Clock
from zejzl_ray.errors import BusError, MailboxFull, StoreUnavailable, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.store.protocol import Store

OpenStore = Callable[[str], Awaitable[Store]]
_READY_S: Final = 10.0
_RETRY_S: Final = 1.0
_TICK_S: Final = 0.2
_SEND_AT_ONCE: Final = 1000
# What a receiver that did not take a message may take later.
_PASSING: Final = frozenset(
    {
        DeadLetterReason.UNKNOWN_AGENT,
        DeadLetterReason.MAILBOX_FULL,
        DeadLetterReason.MAILBOX_CLOSED,
        DeadLetterReason.UNREACHABLE,
    }
)
log = get_logger("zejzl.bus")


class DurableMail:
    """A ``Durable`` over stores: the outbox of this process, and an inbox for each of its agents that gets such mail.

    ``send`` returns when the message is in the outbox's store. From then on it is delivered again, after the end of any
    process, until its receiver has acknowledged it or it became a dead letter. A receiver sees it twice only when its
    process ended after it was handled and before that was written down. Mail that is delivered again may come after
    mail that was sent later.

    Args:
        host: name of this process; names the outbox.
        open_store: opens a namespace of the services' store.
        inboxes: of the agents of this process.
        handlings: what is being handled now.
        clock: source of time.
        redelivery: when to send again.
        acks: when to hand out again.
    """

    def __init__(
        self,
        host: str,
        open_store: OpenStore,
        inboxes: Inboxes,
        handlings: Handlings,
        clock: Clock,
        *,
        redelivery: RedeliveryOptions | None = None,
        acks: AckOptions | None = None,
    ) -> None:
        self._host = host
        self._open_store = open_store
        self._inboxes = inboxes
        self._handlings = handlings
        self._clock = clock
        self._carrier: Carrier | None = None
        self._outbox: Outbox | None = None
        self._store: Store | None = None
        self._redelivery = Redelivery(redelivery or RedeliveryOptions(max_delay_s=2.0))
        self._ack_options = acks or AckOptions()
        self._unacknowledged: dict[str, Unacknowledged] = {}
        # message id -> (origin, host) of mail that waits in a mailbox here or is out of it
        self._held: dict[str, tuple[str, str]] = {}
        self._host_of: dict[str, str] = {}  # origin -> host
        self._settled: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._rejected: dict[str, dict[str, list[tuple[int, DeadLetterReason, str]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._boots: dict[str, str] = {}
        self._to_send: deque[Message] = deque()
        self._has_mail = asyncio.Event()
        self._ready = asyncio.Event()
        self.fault = "the outbox is not open yet"
        inboxes.on_acknowledged = self._acknowledged

    def attach(self, carrier: Carrier) -> None:
        """Get to know the bus that it serves."""
        self._carrier = carrier

    @property
    def _bus(self) -> Carrier:
        assert self._carrier is not None, "attach comes first"
        return self._carrier

    @property
    def outbox(self) -> Outbox | None:
        """The outbox, once it is open."""
        return self._outbox

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open the outbox, deliver what is in it, and go on delivering until cancelled."""
        await self._open()
        await asyncio.gather(self._send_all(), self._tick())

    async def _open(self) -> None:
        while True:
            try:
                if self._store is None:
                    self._store = await self._open_store(f"outbox.{self._host}")
                outbox = Outbox(self._store, self._host, self._clock, on_commit=self._committed)
                unsettled = await outbox.start()
            except ZejzlError as error:
                if self.fault != error.message:
                    log.warning("the outbox cannot be opened; trying again", reason=error.message)
                self.fault = error.message
                await asyncio.sleep(_RETRY_S)
                continue
            break
        self._outbox = outbox
        self._host_of[outbox.origin] = self._host
        now_s = self._clock.now_s()
        for message in unsettled:
            self._redelivery.track(message.sequence, message.to_agent, message.deadline_at_s, now_s)
        self.fault = ""
        self._ready.set()

    async def close(self) -> None:
        """Write what is settled and let the stores go; safe to repeat."""
        if self._outbox is not None:
            await self._outbox.stop()
        await self._inboxes.close()
        if self._store is not None:
            await self._store.close()

    # --- sender's end ------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Keep a message, then have it delivered; returns as soon as it is kept.

        Raises:
            MailboxFull: the outbox is full.
            StoreUnavailable: the store is away; the message is not sent.
            NotSerialisable, MessageTooLarge: it cannot be kept.
        """
        if self._outbox is None:
            try:
                await asyncio.wait_for(self._ready.wait(), _READY_S)
            except TimeoutError:
                raise StoreUnavailable(f"Mail cannot be kept: {self.fault}.", "Try again later.") from None
            assert self._outbox is not None
        await self._outbox.add(message)

    def _committed(self, messages: Sequence[Message]) -> None:
        now_s = self._clock.now_s()
        for message in messages:
            self._redelivery.track(
                message.sequence, message.to_agent, message.deadline_at_s, now_s, is_under_way=True
            )
        self._to_send.extend(messages)
        self._has_mail.set()

    async def _send_all(self) -> None:
        while True:
            await self._has_mail.wait()
            self._has_mail.clear()
            while self._to_send:
                await self._send_one(self._to_send.popleft())

    async def _send_one(self, message: Message) -> None:
        outbox = self._outbox
        assert outbox is not None
        if self._bus.is_local(message.to_agent):
            self._hear_oldest(outbox.origin, {message.to_agent: outbox.oldest_unsettled(message.to_agent)})
            refused = self.arrived(self._host, outbox.origin, message)
            if refused is None:
                self._redelivery.sent((message.sequence,), self._host, self._clock.now_s())
            else:
                self.refused(self._host, message, refused)
            return
        try:
            await self._bus.forward(message)
        except BusError:
            self._redelivery.failed((message.sequence,), self._clock.now_s())

    def delivered(self, host: str, boot: str, messages: Sequence[Message]) -> None:
        """Learn that another process has taken messages of this outbox."""
        now_s = self._clock.now_s()
        before = self._boots.get(host)
        if before is not None and before != boot:
            self._redelivery.place_lost(f"{host}/{before}", now_s)
        self._boots[host] = boot
        self._redelivery.sent([message.sequence for message in messages], f"{host}/{boot}", now_s)

    def refused(self, host: str, message: Message, refused: Refused) -> None:
        """Learn that a message of this outbox was not taken: it comes again, or is a dead letter."""
        if refused.reason in _PASSING:
            self._redelivery.failed((message.sequence,), self._clock.now_s())
        else:
            self._bus.lose(message, refused.reason, refused.detail)

    def unsent(self, host: str, messages: Sequence[Message]) -> None:
        """Learn that messages of this outbox may not have reached another process."""
        self._redelivery.failed([message.sequence for message in messages], self._clock.now_s())

    def host_gone(self, host: str) -> None:
        """Learn that another process is gone with what it held."""
        boot = self._boots.pop(host, None)
        if boot is not None:
            self._redelivery.place_lost(f"{host}/{boot}", self._clock.now_s())

    def _settle(self, sequences: Sequence[int], reason: str = "") -> None:
        if self._outbox is not None:
            self._outbox.settle(sequences, reason)
            self._redelivery.settle(sequences)

    # --- receiver's end ----------------------------------------------------------------------------------------------

    def arrived(self, host: str, origin: str, message: Message) -> Refused | None:
        """Take a message of an outbox: put it into its mailbox unless it was seen; return why not."""
        inbox = self._inboxes.find(message.to_agent)
        if inbox is None:
            return Refused(message.id, DeadLetterReason.MAILBOX_FULL, "its inbox is being opened")
        try:
            receipt = inbox.accept(origin, message.sequence)
        except ZejzlError as error:  # the agent is somewhere else by now
            return Refused(message.id, DeadLetterReason.MAILBOX_CLOSED, error.message)
        if receipt is Receipt.NEW:
            return self._put(inbox, host, origin, message)
        if receipt is Receipt.ACKNOWLEDGED:
            self._tell_settled(origin, (message.sequence,))
        elif receipt is Receipt.REJECTED:
            why = inbox.why_rejected(origin, message.sequence)
            return Refused(message.id, DeadLetterReason.NOT_ACKNOWLEDGED, why)
        elif receipt is Receipt.FULL:
            return Refused(
                message.id, DeadLetterReason.MAILBOX_FULL, "too much of this sender is not settled"
            )
        return None

    def _put(self, inbox: Inbox, host: str, origin: str, message: Message) -> Refused | None:
        if message.deadline_at_s is not None and message.deadline_at_s <= self._clock.now_s():
            inbox.release(origin, message.sequence)
            return Refused(message.id, DeadLetterReason.EXPIRED, "its deadline passed under way")
        self._held[message.id] = (origin, host)
        try:
            self._bus.put(message)
        except BusError as error:
            del self._held[message.id]
            inbox.release(origin, message.sequence)
            reason = (
                DeadLetterReason.MAILBOX_FULL
                if isinstance(error, MailboxFull)
                else DeadLetterReason.MAILBOX_CLOSED
            )
            return Refused(message.id, reason, error.message)
        return None

    def handed_out(self, message: Message) -> None:
        """Learn that a message leaves its mailbox."""
        held = self._held.get(message.id)
        if held is not None:
            self._out_of(message.to_agent).handed_out(held[0], message, self._clock.monotonic_s())

    async def ack(self, message: Message, state: bytes | None) -> None:
        """Have it written down that a message is done with; its sender is told once it is.

        Raises:
            StaleEpoch: another process serves this agent now.
        """
        held = self._held.pop(message.id, None)
        inbox = self._inboxes.find(message.to_agent)
        if held is None or inbox is None:
            return
        self._out_of(message.to_agent).acknowledged(held[0], message.sequence)
        inbox.acknowledge_soon(held[0], message.sequence, state=state)

    def nack(self, message: Message, reason: str) -> None:
        """Let a message come again, a limited number of times."""
        held = self._held.get(message.id)
        if held is not None:
            out = self._out_of(message.to_agent)
            out.nacked(held[0], message.sequence, reason, self._clock.monotonic_s())

    def mailbox_closed(self, agent: str, left: Sequence[Message]) -> None:
        """Let what was in a mailbox, or was not acknowledged, come again once it is open anew."""
        for message in left:
            self._held.pop(message.id, None)
        self._unacknowledged.pop(agent, None)
        self._inboxes.let_go(agent)  # forgets what it has taken and not acknowledged

    def lost(self, message: Message, reason: DeadLetterReason, detail: str) -> None:
        """Settle a message that became a dead letter, here or at its sender's outbox."""
        held = self._held.pop(message.id, None)
        if held is None:
            self._settle((message.sequence,), reason.value)
            return
        origin, host = held
        if (inbox := self._inboxes.find(message.to_agent)) is not None:
            inbox.reject(origin, message.sequence, detail or reason.value)
        self._out_of(message.to_agent).acknowledged(origin, message.sequence)
        if self._is_own(origin):
            self._settle((message.sequence,), reason.value)
        else:
            self._rejected[host][origin].append((message.sequence, reason, detail))
            self._bus.tell(host)

    def _acknowledged(self, acknowledged: Mapping[str, Sequence[int]]) -> None:
        for origin, sequences in acknowledged.items():
            self._tell_settled(origin, sequences)

    def _tell_settled(self, origin: str, sequences: Sequence[int]) -> None:
        if self._is_own(origin):
            self._settle(sequences)
        elif (host := self._host_of.get(origin)) is not None:
            self._settled[host][origin].extend(sequences)
            self._bus.tell(host)

    def _is_own(self, origin: str) -> bool:
        return self._outbox is not None and origin == self._outbox.origin

    def _out_of(self, agent: str) -> Unacknowledged:
        found = self._unacknowledged.get(agent)
        if found is None:
            found = self._unacknowledged[agent] = Unacknowledged(self._ack_options)
        return found

    # --- between processes -------------------------------------------------------------------------------------------

    def hear(self, host: str, news: News) -> None:
        """Learn what another process says."""
        if news.origin:
            self._host_of[news.origin] = host
            self._hear_oldest(news.origin, news.oldest)
        if self._outbox is None:
            return
        origin = self._outbox.origin
        if settled := news.settled.get(origin):
            self._settle(settled)
        for sequence, reason, detail in news.rejected.get(origin, ()):
            message = self._outbox.message(sequence)
            if message is not None:
                self._bus.lose(message, reason, detail)

    def _hear_oldest(self, origin: str, oldest: Mapping[str, int]) -> None:
        for agent, sequence in oldest.items():
            inbox = self._inboxes.find(agent)
            if inbox is not None:
                try:
                    inbox.advance(origin, sequence)
                except ZejzlError:  # it has just been let go
                    continue

    def news_for(self, host: str, messages: Sequence[Message]) -> News | None:
        """Take what another process is to be told with these messages; None when there is nothing."""
        settled = self._settled.pop(host, None)
        rejected = self._rejected.pop(host, None)
        receivers = {message.to_agent for message in messages if message.sequence}
        if not settled and not rejected and not receivers:
            return None
        outbox = self._outbox
        return News(
            origin=outbox.origin if outbox is not None else "",
            oldest={agent: outbox.oldest_unsettled(agent) for agent in receivers}
            if outbox is not None
            else {},
            settled={origin: tuple(sequences) for origin, sequences in (settled or {}).items()},
            rejected={origin: tuple(each) for origin, each in (rejected or {}).items()},
        )

    def tell_again(self, host: str, news: News) -> None:
        """Give back news that may not have been heard."""
        for origin, sequences in news.settled.items():
            self._settled[host][origin].extend(sequences)
        for origin, rejected in news.rejected.items():
            self._rejected[host][origin].extend(rejected)

    # --- time --------------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._send_due()
            self._hand_out_due()

    def _send_due(self) -> None:
        outbox = self._outbox
        assert outbox is not None
        due = self._redelivery.due(self._clock.now_s(), _SEND_AT_ONCE)
        for sequence, reason in due.dead.items():
            message = outbox.message(sequence)
            if message is not None:
                self._bus.lose(message, reason, "its sender's process gave it up")
        for sequences in due.send.values():
            for sequence in sequences:
                message = outbox.message(sequence)
                if message is not None:
                    self._to_send.append(message)
        if self._to_send:
            self._has_mail.set()

    def _hand_out_due(self) -> None:
        now_s = self._clock.monotonic_s()
        for agent, out in tuple(self._unacknowledged.items()):
            next_s = out.next_at_s()
            if next_s is None or next_s > now_s:
                continue
            # A message is handled in one process only, so its sequence and origin tell which.
            handled = {
                (self._held.get(each.message.id, ("", ""))[0], each.message.sequence)
                for each in self._handlings.of(agent)
            }
            due = out.due(now_s, lambda origin, sequence, busy=handled: (origin, sequence) in busy)
            for message in due.again:
                try:
                    self._bus.put(message)
                except BusError as error:
                    out.nacked(self._held[message.id][0], message.sequence, error.message, now_s)
            for message, reason, detail in due.given_up:
                self._bus.lose(message, reason, detail)
