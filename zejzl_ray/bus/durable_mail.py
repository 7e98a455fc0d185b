"""Mail that is sent at least once: from the outbox of its sender's process to the inbox of its receiver, and back."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Self

from zejzl_ray.bus.course import RedeliveryOptions
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.durable_news import DurableNews
from zejzl_ray.bus.durable_receiver import DurableReceiver
from zejzl_ray.bus.durable_sender import DurableSender, OpenStore
from zejzl_ray.bus.inboxes import Inboxes
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.outbox import Outbox
from zejzl_ray.bus.ports import Carrier, News, Refused
from zejzl_ray.bus.unacknowledged import AckOptions
from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.log import get_logger

_TICK_S: Final = 0.2
_RETRY_TICKS: Final = 5
log = get_logger("zejzl.bus")


class DurableMail:
    """A ``Durable`` over stores: the outbox of this process, and an inbox for each of its agents that gets such mail.

    ``send`` returns when the message is in the outbox's store. From then on it is delivered again, after the end of any
    process, until its receiver has acknowledged it or it became a dead letter. A receiver sees it twice only when its
    process ended after it was handled and before that was written down, or when the receiver itself gave it back, let
    the time to acknowledge it pass, or closed its mailbox. One sender's mail to one receiver is delivered in its order
    the first time; what is delivered again may come after mail that was sent later.

    A process alone has it with a store of its own, such as a directory of SQLite files::

        async def open_one(namespace: str) -> Store:
            return await open_store("sqlite:///var/lib/desk", namespace, clock=SystemClock(), owner="desk")


        office = PostOffice()
        mail = DurableMail("desk", open_one)
        office.keep(mail)
        async with mail:
            office.open_mailbox("reader")
            await office.send(Message("writer", "reader", "task", {}, guarantee=Guarantee.AT_LEAST_ONCE))
            message = await office.receive("reader")  # also after this process was killed here and started again
            await office.ack(message)
        await office.close()

    Args:
        host: name of this process; names the outbox. It is that of the ``PostOffice``, if that has one.
        open_store: opens a namespace of the store: one for the outbox, one for each agent.
        clock: source of time.
        inboxes: of the agents of this process, where their states are kept there too; None: its own.
        redelivery: when to send again.
        acks: when to hand out again.
    """

    def __init__(
        self,
        host: str,
        open_store: OpenStore,
        clock: Clock | None = None,
        *,
        inboxes: Inboxes | None = None,
        redelivery: RedeliveryOptions | None = None,
        acks: AckOptions | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._host = host
        self._inboxes = inboxes or Inboxes(open_store, clock)
        self._receiver = DurableReceiver(self._inboxes, clock, acks)
        self._receiver.on_settled = self._settled
        self._receiver.on_rejected = self._rejected
        self._receiver.on_welcome = self._welcome
        self._sender = DurableSender(
            host, open_store, clock, redelivery, self._receiver.arrived, self._receiver.advance
        )
        self._news = DurableNews()
        self._outboxes: dict[str, str] = {}  # host -> the outbox that it told of
        self._task: asyncio.Task[None] | None = None

    def attach(self, carrier: Carrier) -> None:
        """Get to know the bus that it serves."""
        self._sender.bus = self._receiver.bus = carrier

    @property
    def outbox(self) -> Outbox | None:
        """The outbox, once it is open."""
        return self._sender.outbox

    @property
    def fault(self) -> str:
        """Why mail cannot be kept; empty when it can."""
        return self._sender.fault

    @property
    def held(self) -> int:
        """How many messages are in mailboxes of this process, or out of them and not acknowledged."""
        return len(self._receiver)

    # --- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the outbox and begin to deliver what is in it; waits for the store as long as it takes."""
        await self._sender.open()

    async def run(self) -> None:
        """Open the outbox, deliver what is in it, and go on delivering until cancelled."""
        await self.open()
        ticks = 0
        while True:
            try:
                self.tick()
                ticks += 1
                if ticks % _RETRY_TICKS == 0:
                    self.retry_news()
            except Exception:
                log.exception("mail that is kept met a failure; going on")
            await asyncio.sleep(_TICK_S)

    def tick(self) -> None:
        """Do what time has made due; ``run`` calls it five times a second."""
        self._sender.send_due()
        self._receiver.hand_out_due()

    def retry_news(self) -> None:
        """Tell other processes again what they may not have heard; ``run`` calls it once a second."""
        for host in self._news.to_retry():
            self._sender.bus.tell(host)

    async def close_inboxes(self) -> None:
        """Write what is acknowledged, which the senders are told then; no mail is taken any more. Safe to repeat."""
        await self._inboxes.close()

    async def close(self) -> None:
        """Write what is acknowledged and settled, and let the stores go; safe to repeat."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        await self._inboxes.close()
        await self._sender.close()

    async def __aenter__(self) -> Self:
        """Run it in the background."""
        self._task = asyncio.get_running_loop().create_task(self.run(), name="durable-mail")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    # --- for agents, by way of the bus -------------------------------------------------------------------------------

    def send(self, message: Message) -> Coroutine[Any, Any, None]:
        """Keep a message, then have it delivered; returns as soon as it is kept.

        Raises:
            MailboxFull: the outbox is full.
            StoreUnavailable: the store is away; the message is not sent.
            StaleEpoch: another process has taken over this outbox.
            NotSerialisable, MessageTooLarge: it cannot be kept.
        """
        return self._sender.send(message)  # one coroutine less for each message

    def handed_out(self, message: Message) -> None:
        """Learn that a message leaves its mailbox."""
        self._receiver.handed_out(message)

    async def ack(self, message: Message, state: bytes | None) -> None:
        """Have it written down that a message is done with; its sender is told once it is.

        Raises:
            StaleEpoch: another process serves this agent now.
            InvalidInput: the state is too large; the message is not acknowledged.
        """
        await self._receiver.ack(message, state)

    def nack(self, message: Message, reason: str) -> None:
        """Let a message come again, a limited number of times."""
        self._receiver.nack(message, reason)

    def mailbox_closed(self, agent: str) -> None:
        """Let what was in a mailbox, or was not acknowledged, come again once it is open anew."""
        self._receiver.mailbox_closed(agent)

    def lost(self, message: Message, reason: DeadLetterReason, detail: str) -> None:
        """Settle a message that became a dead letter, here or at its sender's outbox."""
        if not self._receiver.lost(message, reason, detail):
            self._sender.lost(message, reason)

    # --- between processes -------------------------------------------------------------------------------------------

    def arrived(self, host: str, origin: str, message: Message) -> Refused | None:
        """Take a message of an outbox: put it into its mailbox unless it was seen; return why not."""
        if self._outboxes.get(host) != origin:
            return Refused(message.id, DeadLetterReason.REFUSED, f"host {host} has no outbox {origin!r}")
        return self._receiver.arrived(host, origin, message)

    def hear(self, host: str, news: News) -> None:
        """Learn what another process says."""
        self._news.heard(host)
        if news.oldest and _host_of(news.origin) == host:
            self._outboxes[host] = news.origin
            self._receiver.advance(news.origin, news.oldest)
        origin, sender = self._sender.origin, self._sender
        if settled := news.settled.get(origin):
            sender.settled_at(host, settled)
        for sequence, reason, detail in news.rejected.get(origin, ()):
            sender.rejected_at(host, sequence, reason, detail)
        if welcome := news.welcome.get(origin):
            sender.welcome(host, welcome)

    def news_for(self, host: str, messages: Sequence[Message]) -> News | None:
        """Take what another process is to be told with these messages; None when there is nothing."""
        return self._news.take(host, self._sender.origin, self._sender.oldest(messages))

    def tell_again(self, host: str, news: News) -> None:
        """Give back news that may not have been heard."""
        self._news.put_back(host, news)

    def delivered(self, host: str, boot: str, messages: Sequence[Message]) -> None:
        """Learn that another process has taken messages of this outbox."""
        self._sender.delivered(host, boot, messages)

    def refused(self, host: str, message: Message, refused: Refused) -> None:
        """Learn that a message of this outbox was not taken: it comes again, or is a dead letter."""
        self._sender.refused(message, refused)

    def unsent(self, host: str, messages: Sequence[Message]) -> None:
        """Learn that messages of this outbox may not have reached another process."""
        self._sender.unsent(messages)

    def host_gone(self, host: str) -> None:
        """Learn that another process is gone with what it held."""
        self._sender.host_gone(host)

    def _settled(self, origin: str, sequences: Sequence[int]) -> None:
        if (host := _host_of(origin)) != self._host:
            self._news.settled(host, origin, sequences)
            self._sender.bus.tell(host)
        elif origin == self._sender.origin:  # not one that was here before its store was emptied
            self._sender.settle(sequences)

    def _rejected(self, host: str, origin: str, sequence: int, reason: DeadLetterReason, detail: str) -> None:
        if host == self._host:
            self._sender.settle((sequence,), reason.value)
        else:
            self._news.rejected(host, origin, (sequence, reason, detail))
            self._sender.bus.tell(host)

    def _welcome(self, host: str, origin: str, sequences: Sequence[int]) -> None:
        if host == self._host:
            self._sender.welcome(host, sequences)
        else:
            self._news.welcome(host, origin, sequences)
            self._sender.bus.tell(host)


def _host_of(origin: str) -> str:
    """Return the process that an outbox belongs to: its identity is that name, and a random part."""
    return origin.rpartition("~")[0]
