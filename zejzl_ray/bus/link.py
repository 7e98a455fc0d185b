"""The way of mail to one other process: batches, one after the other, without a broker and without a timer.

A message is sent at once when nothing is under way; what comes meanwhile waits for the next batch. Answers bring mail
back. So a lone request costs one call, and a flood goes in batches as large as the time of a call makes them.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from zejzl_ray.bus import codec
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.held_mail import HeldMail
from zejzl_ray.bus.in_order import InOrder
from zejzl_ray.bus.link_queue import Encoded, LinkQueue
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Delivered, News, Outgoing, Refused, Transport
from zejzl_ray.bus.went_back import WentBack
from zejzl_ray.errors import (
    AgentUnreachable,
    BusClosed,
    BusError,
    DeadlineExceeded,
    Unavailable,
    ZejzlError,
)
from zejzl_ray.log import get_logger

_DOWN_S: Final = 0.5  # how long a process that could not be reached is not tried again
_MOST_KEPT: Final = 4096  # of what is told with the next batch
_MOST_UNANSWERED: Final = 64
_FIRST_PAUSE_S: Final = 0.2  # before what an overloaded process did not look at goes again; doubles
_LONGEST_PAUSE_S: Final = 2.0
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

    def unreachable(self, host: str, detail: str, left: Sequence[Message]) -> None:
        """Learn that the other process is gone, and which messages have surely not got there."""
        ...

    def gone(self, agent: str, host: str, detail: str) -> AgentUnreachable:
        """Return the error that says that an agent's process is gone."""
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
        self._queue = LinkQueue(host, options)
        self._number = 0
        self._calls = 0
        self._flights: set[asyncio.Task[None]] = set()
        self._under_way: set[int] = set()  # numbers of calls
        self._overloaded_since_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._held = HeldMail(
            host,
            self._queue,
            options,
            bring=self._bring,
            is_over=local.has_waited_enough,
            give_up=lambda message: owner.refused(host, message, _never_room(message)),
        )
        self._is_lingering = False  # the flight that is out was asked to wait for a reply
        self._waiting_answer: asyncio.Future[None] | None = None
        self._peer_boot = ""
        self._went_back = WentBack()
        self._returned: list[Refused] = []
        self._unanswered: list[int] = []
        self._has_news = False
        self._is_closed = False
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

    @property
    def may_be_full(self) -> bool:
        """Whether there may be a message that has to wait for room."""
        return self._queue.may_be_full

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits here and nothing is under way."""
        return not (self._queue or self._flights or self._held or self._has_news)

    def offer(self, message: Message, encoded: bytes) -> bool:
        """Queue a message and see to it that it goes; False when there is no room for it now."""
        if not self._queue.offer(message, encoded):
            return False
        waiting = self._waiting_answer
        if waiting is not None and message.from_agent in self.can_go_back:
            _wake(waiting)  # it goes back with the answer
        elif self._may_fly:
            self._fly()
        return True

    async def enqueue(self, message: Message, encoded: bytes, timeout_s: float) -> None:
        """Queue a message as soon as there is room for it; it goes with what was there before.

        Raises:
            MailboxFull: there was no room within the time limit.
            AgentUnreachable: the other process was found to be gone meanwhile.
            BusClosed: this one was closed.
        """
        await self._queue.enqueue(message, encoded, timeout_s)

    def tell(self) -> None:
        """See to it that the other process hears what it must know even when no mail goes there."""
        self._has_news = True
        if not self._flights and self._waiting_answer is None:
            self._fly()

    def begin_turn(self, outgoing: Outgoing) -> None:
        """Learn what another call says of earlier ones, before its batch has its turn."""
        self.end_lingering()
        if outgoing.boot != self._peer_boot:
            self._peer_boot = outgoing.boot
            if lost := self._went_back.clear():
                self._owner.unsent(self.host, lost, "its process ended", may_follow=False)
        later = []
        for each, refused in self._went_back.refused(outgoing.returned[:_MOST_KEPT]):
            if refused.is_later and not each[0].sequence:
                later.append(each)
            else:
                self._owner.refused(self.host, each[0], refused)
        if later:
            self._held.hold(later, self._number, self._flights)
        if outgoing.unanswered:
            self.incoming.reset()  # what was in those calls may never come
            if lost := self._went_back.unanswered(outgoing.unanswered[-_MOST_UNANSWERED:]):
                self._owner.unsent(
                    self.host, lost, "the answer that took it along was lost", may_follow=False
                )
        self._note_taken(outgoing.boot, self._went_back.arrived(outgoing.ended))

    async def linger(self, limit_s: float) -> None:
        """Wait until there is mail that can go back with the answer, a newer batch comes in, or time is over."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting_answer = loop.create_future()
        timer = loop.call_later(limit_s, _wake, waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            self._stop_waiting(waiting)
            self._go_on()  # there will be no answer
            raise
        finally:
            timer.cancel()
            self._stop_waiting(waiting)

    def end_lingering(self) -> None:
        """Have an answer that waits for mail given at once."""
        if self._waiting_answer is not None:
            _wake(self._waiting_answer)

    def answer(self, call: int, refused: tuple[Refused, ...]) -> Delivered:
        """Return the answer to a call of the other process, with mail for it that may go back."""
        number, back = 0, b""
        taken = self._queue.take(self.can_go_back) if self._queue and not self._flights else []
        messages = [message for message, _ in taken]
        if taken:
            self._number += 1
            number, back = self._number, codec.join([encoded for _, encoded in taken])
            self._went_back.add(call, taken)
            if self._owner.transport is not None:
                self._owner.transport.watch(self.host)  # no call of this process would notice its end
        if self._queue and not self._flights:
            self._fly()
        return Delivered(self._local.boot, refused, number, back, self._news(messages))

    async def close(self) -> None:
        """Stop sending; what waits goes to the dead letters."""
        self._is_closed = True
        for flight in tuple(self._flights):
            flight.cancel()
        if self._flights:
            await asyncio.wait(self._flights, timeout=5)
        self.end_lingering()
        left = [*self._held.clear(_closed), *self._queue.clear(_closed)]
        await self._held.close()
        self._owner.unsent(self.host, left, "this process stopped", may_follow=False)

    def peer_gone(self, why: str) -> None:
        """Learn that the other process is gone: requests that wait for it end, mail for it finds its way or is lost."""
        self.why_down = why
        self._down_until_s = self._local.clock.monotonic_s() + _DOWN_S
        self.incoming.reset()

        def gone(message: Message) -> BusError:
            return self._owner.gone(message.to_agent, self.host, why)

        left = [*self._held.clear(gone), *self._queue.clear(gone)]
        self._owner.unreachable(self.host, why, left)
        if left:
            self._owner.unsent(self.host, left, why, may_follow=True)

    @property
    def _may_fly(self) -> bool:
        """A second batch goes while one is under way that only waits for a reply, or when there is a full one."""
        under_way = len(self._flights)
        return not under_way or (under_way < 2 and (self._is_lingering or self._queue.has_full_batch))

    def _fly(self) -> None:
        if self._owner.transport is None or self._is_closed:
            return
        flight = asyncio.get_running_loop().create_task(self._flight(self._owner.transport))
        self._flights.add(flight)
        flight.add_done_callback(self._landed)

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        self._flights.discard(flight)
        if not flight.cancelled() and (error := flight.exception()) is not None:
            log.error("a link failed", host=self.host, error=repr(error), exc_info=error)
        self._go_on()

    def _go_on(self) -> None:
        if not (self._queue or self._has_news) or not self._may_fly:
            return
        if self._waiting_answer is None:
            self._fly()
        elif self._queue:
            self.end_lingering()  # it goes back with that answer, or is sent after it

    async def _flight(self, transport: Transport) -> None:
        taken = self._queue.take(None)
        if not taken and not self._has_news and not self._returned:
            return
        if taken:
            self._number += 1
        self._calls += 1
        messages = [message for message, _ in taken]
        wants_reply = len(taken) == 1 and (messages[0].correlation_id or "") in self._local.pending
        outgoing = Outgoing(
            boot=self._local.boot,
            number=self._number if taken else 0,
            batch=codec.join([encoded for _, encoded in taken]) if taken else b"",
            wants_reply=wants_reply,
            news=self._news(messages),
            returned=tuple(self._returned),
            call=self._calls,
            unanswered=tuple(self._unanswered),
            ended=min(self._under_way, default=self._calls) - 1,
        )
        self._under_way.add(self._calls)
        self._returned, self._unanswered = [], []
        self._is_lingering = wants_reply
        try:
            delivered = await self._deliver(transport, outgoing, taken)
            self._is_lingering = False
            if delivered is not None:
                if later := self._learn(taken, delivered):
                    self._held.hold(later, outgoing.number, self._flights - {asyncio.current_task()})
                self._say(await self._owner.take_back(self.host, delivered))
        except Unavailable:  # it lives, and has not looked at it
            self._queue.put_back(taken)
            self._under_way.discard(outgoing.call)
            pause_s, self._pause_s = self._pause_s, min(_LONGEST_PAUSE_S, 2 * self._pause_s)
            await asyncio.sleep(pause_s)
        finally:
            self._is_lingering = False
            self._under_way.discard(outgoing.call)

    def _say(self, refused: Sequence[Refused]) -> None:
        """Have the other process told what was not taken of the mail that came back."""
        if refused:
            self._returned += refused
            self._has_news = True

    async def _bring(self, taken: Sequence[Encoded]) -> list[Encoded]:
        """Bring mail that may wait for room there; return what has to come later still."""
        transport = self._owner.transport
        assert transport is not None
        batch = codec.join([encoded for _, encoded in taken])
        outgoing = Outgoing(boot=self._local.boot, batch=batch, is_patient=True)
        try:
            delivered = await self._deliver(transport, outgoing, taken)
        except Unavailable:
            return list(taken)
        return [] if delivered is None else self._learn(taken, delivered)

    async def _deliver(
        self, transport: Transport, outgoing: Outgoing, taken: Sequence[Encoded]
    ) -> Delivered | None:
        """Have a batch delivered; return None when that failed, and see to what was in it.

        Raises:
            Unavailable: it is to be tried again; nothing has become of what was in it.
        """
        messages = [message for message, _ in taken]
        try:
            delivered = await transport.deliver(self.host, outgoing)
        except asyncio.CancelledError:
            self._owner.unsent(self.host, messages, "this process stopped", may_follow=False)
            raise
        except Exception as error:
            self._note_failed(outgoing)
            if (
                isinstance(error, Unavailable)
                and not isinstance(error, AgentUnreachable)
                and self._may_try_again()
            ):
                raise
            self._failed(messages, error)
            if not isinstance(error, ZejzlError):
                raise
            return None
        self._down_until_s = self._overloaded_since_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self.batches += 1
        self.messages += len(messages)
        return delivered

    def _note_failed(self, outgoing: Outgoing) -> None:
        """Have told with the next call what the other process did not hear, or may not have heard, with this one."""
        if outgoing.news is not None and self._local.durable is not None:
            self._local.durable.tell_again(self.host, outgoing.news)
        self._returned = [*outgoing.returned, *self._returned][-_MOST_KEPT:]
        failed = (outgoing.call,) if outgoing.call else ()
        self._unanswered = [*outgoing.unanswered, *self._unanswered, *failed][-_MOST_UNANSWERED:]

    def _may_try_again(self) -> bool:
        """Whether a process that looks at nothing has not done so for long."""
        now_s = self._local.clock.monotonic_s()
        self._overloaded_since_s = self._overloaded_since_s or now_s
        return now_s - self._overloaded_since_s < self._local.options.default_timeout_s

    def _failed(self, messages: Sequence[Message], error: Exception) -> None:
        """See to what was in a call that failed."""
        if isinstance(error, AgentUnreachable):
            self.peer_gone(error.message)
        elif isinstance(error, DeadlineExceeded):
            # It may be slow and not dead: a request goes on waiting for its reply; it may have got there.
            messages = [message for message in messages if not self._local.pending.is_request(message)]
            self._has_news = True  # of the call that is not answered
        elif isinstance(error, ZejzlError) and not isinstance(error, Unavailable):
            for message in [each for each in messages if not each.sequence]:
                refused = Refused(message.id, DeadLetterReason.REFUSED, str(error))
                self._owner.refused(self.host, message, refused)
            messages = [each for each in messages if each.sequence]  # kept until this process is let in
        why = error.message if isinstance(error, ZejzlError) else f"{type(error).__name__} on the way"
        self._owner.unsent(self.host, messages, why, may_follow=False)

    def _learn(self, taken: Sequence[Encoded], delivered: Delivered) -> list[Encoded]:
        """See to what was taken there, and what was not; return what has to come later."""
        by_id = {each[0].id: each for each in taken}
        found = [(by_id.pop(refused.message_id, None), refused) for refused in delivered.refused]
        self._note_taken(delivered.boot, [message for message, _ in by_id.values()])
        later = []
        for each, refused in found:
            if each is None:
                continue
            if refused.is_later and not each[0].sequence:
                later.append(each)
            else:
                self._owner.refused(self.host, each[0], refused)
        return later

    def _note_taken(self, boot: str, messages: Sequence[Message]) -> None:
        durable = self._local.durable
        if durable is not None and (kept := [message for message in messages if message.sequence]):
            durable.delivered(self.host, boot, kept)

    def _news(self, messages: Sequence[Message]) -> News | None:
        self._has_news = False
        durable = self._local.durable
        return None if durable is None else durable.news_for(self.host, messages)

    def _stop_waiting(self, waiting: "asyncio.Future[None]") -> None:
        if self._waiting_answer is waiting:
            self._waiting_answer = None


def _closed(message: Message) -> BusError:
    return BusClosed("The bus of this process is closed.", "Make a new one.", {"to_agent": message.to_agent})


def _never_room(message: Message) -> Refused:
    return Refused(
        message.id, DeadLetterReason.MAILBOX_FULL, f"{message.to_agent} had no room until its time was over"
    )


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
