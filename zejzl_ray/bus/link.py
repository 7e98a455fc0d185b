"""The way of mail to one other process: batches, one after the other, without a broker and without a timer.

A message is sent at once when nothing is under way; what comes meanwhile waits for the next batch. Answers bring mail
back. So a lone request costs one call, and a flood goes in batches as large as the time of a call makes them.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Protocol

from zejzl_ray.bus import codec
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.in_order import InOrder
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Delivered, News, Outgoing, Refused, Transport
from zejzl_ray.errors import AgentUnreachable, MailboxFull, ZejzlError
from zejzl_ray.log import get_logger

_DOWN_S = 0.5  # how long a process that could not be reached is not tried again
_KEPT_BACK = (
    4096  # messages that went back with answers and are remembered until the other may have refused them
)
log = get_logger("zejzl.bus")


class LinkOwner(Protocol):
    """The mail of the process that a link belongs to."""

    transport: Transport | None

    async def take_back(self, host: str, delivered: Delivered) -> list[Refused]:
        """Take what came with the answer to a batch; return what was refused."""
        ...

    def refused(self, host: str, message: Message, refused: Refused) -> None:
        """Learn that a message was not taken."""
        ...

    def unsent(self, host: str, messages: Sequence[Message], why: str, *, may_follow: bool) -> None:
        """Learn that messages cannot go, or may not have got there."""
        ...

    def unreachable(self, host: str, detail: str) -> None:
        """Learn that the other process is gone."""
        ...


class PeerLink:
    """Mail from this process to one other, in order.

    Args:
        host: the other process.
        owner: the mail away from this process.
        local: the mail of this process.
        options: bounds of what may wait here, and of a batch.

    Attributes:
        incoming: puts what comes from there into its order.
        can_go_back: agents whose mail may go back with an answer: the other process was shown their proofs.
        batches, messages: how many were sent.
    """

    def __init__(self, host: str, owner: LinkOwner, local: LocalMail, options: BusOptions) -> None:
        self.host = host
        self.incoming = InOrder()
        self.can_go_back: frozenset[str] = frozenset()
        self.batches = 0
        self.messages = 0
        self._owner = owner
        self._local = local
        self._options = options
        self._queue: deque[tuple[Message, bytes]] = deque()
        self._bytes = 0
        self._number = 0
        self._flights: set[asyncio.Task[None]] = set()
        self._is_lingering = False  # the flight that is out was asked to wait for a reply
        self._waiting_answer: asyncio.Future[None] | None = None
        self._senders: deque[asyncio.Future[None]] = deque()
        self._went_back: OrderedDict[str, Message] = OrderedDict()
        self._returned: list[Refused] = []
        self._has_news = False
        self._down_until_s = 0.0
        self.why_down = ""

    @property
    def is_down(self) -> bool:
        """Whether the other process could not be reached a moment ago."""
        return self._down_until_s > 0 and self._local.clock.monotonic_s() < self._down_until_s

    @property
    def has_mail(self) -> bool:
        """Whether messages wait here."""
        return bool(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def offer(self, message: Message, encoded: bytes) -> bool:
        """Queue a message and see to it that it goes; False when there is no room for it."""
        if (
            len(self._queue) >= self._options.link_capacity
            or self._bytes + len(encoded) > self._options.link_bytes
        ):
            return False
        self._queue.append((message, encoded))
        self._bytes += len(encoded)
        waiting = self._waiting_answer
        if waiting is not None and message.from_agent in self.can_go_back:
            if not waiting.done():
                waiting.set_result(None)  # it goes back with the answer
        elif not self._flights or (self._is_lingering and len(self._flights) < 2):
            self._fly()
        return True

    async def room(self, message: Message, size_bytes: int, timeout_s: float) -> None:
        """Wait until a message fits.

        Raises:
            MailboxFull: it did not within the time limit.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while (
            len(self._queue) >= self._options.link_capacity
            or self._bytes + size_bytes > self._options.link_bytes
        ):
            waiter = loop.create_future()
            self._senders.append(waiter)
            timer = loop.call_at(deadline_s, _wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                if waiter in self._senders:
                    self._senders.remove(waiter)
            if loop.time() >= deadline_s:
                raise MailboxFull(
                    f"The way to {self.host} is full: {len(self._queue)} messages wait for it.",
                    "Send later, or spread the agents over more hosts.",
                    {"to_agent": message.to_agent, "host": self.host},
                )

    def tell(self) -> None:
        """See to it that the other process hears what it must know even when no mail goes there."""
        self._has_news = True
        if not self._flights and self._waiting_answer is None:
            self._fly()

    def take_returned(self, returned: Sequence[Refused]) -> None:
        """Learn what the other process did not take of the mail that went back with answers."""
        for refused in returned:
            message = self._went_back.pop(refused.message_id, None)
            if message is not None:
                self._owner.refused(self.host, message, refused)

    async def linger(self, limit_s: float) -> None:
        """Wait until there is mail that can go back with the answer, a newer batch comes in, or ``limit_s`` is over."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting_answer = loop.create_future()
        timer = loop.call_later(limit_s, _wake, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            if self._waiting_answer is waiting:
                self._waiting_answer = None

    def end_lingering(self) -> None:
        """Have an answer that waits for mail given at once."""
        if self._waiting_answer is not None and not self._waiting_answer.done():
            self._waiting_answer.set_result(None)

    def answer(self, refused: tuple[Refused, ...]) -> Delivered:
        """Return the answer to a batch of the other process, with mail for it that may go back."""
        number, back = 0, b""
        taken = self._take(self.can_go_back) if self._queue and not self._flights else []
        if taken:
            self._number += 1
            number, back = self._number, codec.join([encoded for _, encoded in taken])
            for message, _ in taken:
                self._went_back[message.id] = message
            while len(self._went_back) > _KEPT_BACK:
                self._went_back.popitem(last=False)
        if self._queue and not self._flights:
            self._fly()
        return Delivered(
            self._local.boot, refused, number, back, self._news([message for message, _ in taken])
        )

    async def close(self) -> None:
        """Stop sending; what waits goes to the dead letters."""
        for flight in tuple(self._flights):
            flight.cancel()
        if self._flights:
            await asyncio.wait(self._flights, timeout=5)
        self.end_lingering()
        left = [message for message, _ in self._queue]
        self._queue.clear()
        self._bytes = 0
        self._owner.unsent(self.host, left, "this process stopped", may_follow=False)

    def peer_gone(self, why: str) -> None:
        """Learn that the other process is gone: requests that wait for it end, mail for it finds its way or is lost."""
        self.why_down = why
        self._down_until_s = self._local.clock.monotonic_s() + _DOWN_S
        self.incoming.reset()
        self._owner.unreachable(self.host, why)
        left = [message for message, _ in self._queue]
        self._queue.clear()
        self._bytes = 0
        self._wake_senders()
        if left:
            self._owner.unsent(self.host, left, why, may_follow=True)

    def _fly(self) -> None:
        if self._owner.transport is None:
            return
        flight = asyncio.get_running_loop().create_task(self._flight(self._owner.transport))
        self._flights.add(flight)
        flight.add_done_callback(self._landed)

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        self._flights.discard(flight)
        if not flight.cancelled() and (error := flight.exception()) is not None:
            log.error("a link failed", host=self.host, error=repr(error), exc_info=error)
        if (self._queue or self._has_news) and not self._flights and self._waiting_answer is None:
            self._fly()

    async def _flight(self, transport: Transport) -> None:
        taken = self._take(None)
        if not taken and not self._has_news and not self._returned:
            return
        if taken:
            self._number += 1
        messages = [message for message, _ in taken]
        news = self._news(messages)
        returned, self._returned = tuple(self._returned), []
        wants_reply = len(taken) == 1 and (messages[0].correlation_id or "") in self._local.pending
        outgoing = Outgoing(
            boot=self._local.boot,
            number=self._number if taken else 0,
            batch=codec.join([encoded for _, encoded in taken]) if taken else b"",
            wants_reply=wants_reply,
            news=news,
            returned=returned,
        )
        self._is_lingering = wants_reply
        try:
            delivered = await transport.deliver(self.host, outgoing)
        except AgentUnreachable as error:
            self._not_heard(news)
            self._owner.unsent(self.host, messages, error.message, may_follow=False)
            self.peer_gone(error.message)
            return
        except asyncio.CancelledError:
            self._owner.unsent(self.host, messages, "this process stopped", may_follow=False)
            raise
        except ZejzlError as error:
            self._not_heard(news)
            for message in messages:
                self._owner.refused(
                    self.host, message, Refused(message.id, DeadLetterReason.REFUSED, str(error))
                )
            return
        finally:
            self._is_lingering = False
        self._down_until_s = 0.0
        self.batches += 1
        self.messages += len(messages)
        if delivered.refused:
            by_id = {message.id: message for message in messages}
            for refused in delivered.refused:
                if (found := by_id.get(refused.message_id)) is not None:
                    self._owner.refused(self.host, found, refused)
        refusals = await self._owner.take_back(self.host, delivered)
        if refusals:
            self._returned += refusals
            self._has_news = True

    def _news(self, messages: Sequence[Message]) -> News | None:
        self._has_news = False
        durable = self._local.durable
        return None if durable is None else durable.news_for(self.host, messages)

    def _not_heard(self, news: News | None) -> None:
        if news is not None and self._local.durable is not None:
            self._local.durable.tell_again(self.host, news)

    def _take(self, allowed: frozenset[str] | None) -> list[tuple[Message, bytes]]:
        taken: list[tuple[Message, bytes]] = []
        queue, size = self._queue, 0
        most, most_bytes = self._options.batch_messages, self._options.batch_bytes
        while queue and len(taken) < most:
            message, encoded = queue[0]
            if (taken and size + len(encoded) > most_bytes) or (
                allowed is not None and message.from_agent not in allowed
            ):
                break
            size += len(encoded)
            taken.append(queue.popleft())
        self._bytes -= size
        if self._senders:
            self._wake_senders()
        return taken

    def _wake_senders(self) -> None:
        while self._senders:
            _wake(self._senders.popleft())


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
