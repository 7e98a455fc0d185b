"""The way of mail to one other process: batches, one after the other, without a broker and without a timer.

A message is sent at once when nothing is under way; what comes meanwhile waits for the next batch. Answers bring mail
back. So a lone request costs one call, and a flood goes in batches as large as the time of a call makes them.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from zejzl_ray.bus import codec
from zejzl_ray.bus.calls import MOST_TOLD, MOST_UNANSWERED, Calls, LinkOwner
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.held_mail import HeldMail
from zejzl_ray.bus.in_order import InOrder
from zejzl_ray.bus.link_queue import Encoded, LinkQueue
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Delivered, Outgoing, Refused, Transport
from zejzl_ray.bus.went_back import WentBack
from zejzl_ray.errors import (
    BusClosed,
    BusError,
    Unavailable,
)
from zejzl_ray.log import get_logger

_AT_ONCE: Final = 2  # batches under way
_BACK_BYTES: Final = 65_536  # Ray takes up to 100 KiB along with an answer
_DOWN_S: Final = 0.5  # how long a process that could not be reached is not tried again
log = get_logger("zejzl.bus")


class PeerLink:
    """Mail from this process to one other, in order.

    Args:
        host: the other process.
        owner: the mail away from this process.
        local: the mail of this process.
        options: bounds of what may wait here, and of a batch.

    Attributes:
        incoming: puts what comes from there into its order.
        down_until_s: monotonic time; until then it is not tried again, as it could not be reached a moment ago.
        can_go_back: agents whose mail may go back with an answer: the other process was shown their proofs.
    """

    def __init__(self, host: str, owner: LinkOwner, local: LocalMail, options: BusOptions) -> None:
        self.host = host
        self.incoming = InOrder()
        self.can_go_back: frozenset[str] = frozenset()
        self._owner = owner
        self._local = local
        self._queue = LinkQueue(host, options)
        self._number = 0
        self._calls = Calls(host, owner, local, on_gone=self.peer_gone)
        self._flights: set[asyncio.Task[None]] = set()
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
        self._number_in_answer: dict[int, int] = {}  # call -> batch that went back with its answer
        self._is_closed = False
        self.down_until_s = 0.0
        self.why_down = ""

    @property
    def is_down(self) -> bool:
        """Whether the other process could not be reached a moment ago."""
        return self.down_until_s > 0.0 and self._local.clock.monotonic_s() < self.down_until_s

    @property
    def batches(self) -> int:
        """How many batches were taken there."""
        return self._calls.batches

    @property
    def messages(self) -> int:
        """How many messages were in them."""
        return self._calls.messages

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
        return not (self._queue or self._flights or self._held or self._calls.has_news)

    def offer(self, message: Message, encoded: bytes) -> bool:
        """Queue a message and see to it that it goes; False when there is no room for it now."""
        queue = self._queue
        if not queue.offer(message, encoded):
            return False
        waiting = self._waiting_answer
        if waiting is not None and message.from_agent in self.can_go_back:
            _wake(waiting)  # it goes back with the answer
            return True
        # As ``_may_fly``, without a call of its own for each message.
        under_way = len(self._flights)
        if not under_way or (under_way < _AT_ONCE and (self._is_lingering or queue.is_worth_a_call)):
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
        self._calls.has_news = True
        if not self._flights and self._waiting_answer is None:
            self._fly()

    def begin_turn(self, outgoing: Outgoing) -> None:
        """Learn what another call says of earlier ones, before its batch has its turn."""
        self.end_lingering()
        if outgoing.boot != self._peer_boot:
            self._peer_boot = outgoing.boot
            self._number_in_answer.clear()
            if lost := self._went_back.clear():
                self._owner.unsent(self.host, lost, "its process ended", may_follow=False)
        later = self._calls.sort(self._went_back.refused(outgoing.returned[:MOST_TOLD]))
        if later:
            self._held.hold(later, self._number, self._flights)
        self.incoming.skip(outgoing.boot, outgoing.skipped[-MOST_UNANSWERED:])
        for call in outgoing.unanswered[-MOST_UNANSWERED:]:
            if (number := self._number_in_answer.pop(call, 0)) > 0:
                self._calls.skip(number)
        if lost := self._went_back.unanswered(outgoing.unanswered[-MOST_UNANSWERED:]):
            self._owner.unsent(self.host, lost, "the answer that took it along was lost", may_follow=False)
        self._calls.note_taken(outgoing.boot, self._went_back.arrived(outgoing.ended))

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
        taken = self._queue.take(self.can_go_back, _BACK_BYTES) if self._queue and not self._flights else []
        messages = [message for message, _ in taken]
        if taken:
            self._number += 1
            number, back = self._number, codec.join([encoded for _, encoded in taken])
            self._went_back.add(call, taken)
            self._number_in_answer[call] = number
            if len(self._number_in_answer) > MOST_UNANSWERED:
                del self._number_in_answer[next(iter(self._number_in_answer))]
            if self._owner.transport is not None:
                self._owner.transport.watch(self.host)  # no call of this process would notice its end
        if self._queue and not self._flights:
            self._fly()
        return Delivered(self._local.boot, refused, number, back, self._calls.news(messages))

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
        self.down_until_s = self._local.clock.monotonic_s() + _DOWN_S

        def gone(message: Message) -> BusError:
            return self._owner.gone(message.to_agent, self.host, why)

        left = [*self._held.clear(gone), *self._queue.clear(gone)]
        self._owner.unreachable(self.host, why, left)
        if left:
            self._owner.unsent(self.host, left, why, may_follow=True)

    @property
    def _may_fly(self) -> bool:
        """A second batch goes while one is under way that only waits for a reply, or when there is much to send."""
        under_way = len(self._flights)
        return not under_way or (under_way < _AT_ONCE and (self._is_lingering or self._queue.is_worth_a_call))

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
        if not (self._queue or self._calls.has_news) or not self._may_fly:
            return
        if self._waiting_answer is None:
            self._fly()
        elif self._queue:
            self.end_lingering()  # it goes back with that answer, or is sent after it

    async def _flight(self, transport: Transport) -> None:
        taken = self._queue.take(None)
        calls = self._calls
        if not taken and not calls.has_something_to_say:
            return
        if taken:
            self._number += 1
        number = self._number if taken else 0
        wants_reply = len(taken) == 1 and (taken[0][0].correlation_id or "") in self._local.pending
        is_done = False
        while not is_done:
            outgoing = calls.begin(number, taken, wants_reply=wants_reply)
            self._is_lingering = wants_reply
            try:
                delivered = await calls.deliver(transport, outgoing, taken)
                is_done = True
            except (
                Unavailable
            ):  # it lives, and has not looked at it: the batch keeps its number, and so its place
                calls.end(outgoing)
                await self._pause(taken)
            finally:
                self._is_lingering = False
        try:
            if delivered is not None:
                self.down_until_s = 0.0
                if later := calls.learn(taken, delivered):
                    self._held.hold(later, outgoing.number, self._flights - {asyncio.current_task()})
                calls.say(await self._owner.take_back(self.host, delivered))
        finally:
            calls.end(outgoing)

    async def _pause(self, taken: Sequence[Encoded]) -> None:
        try:
            await asyncio.sleep(self._calls.next_pause_s())
        except asyncio.CancelledError:
            messages = [message for message, _ in taken]
            self._owner.unsent(self.host, messages, "this process stopped", may_follow=False)
            raise

    async def _bring(self, taken: Sequence[Encoded]) -> list[Encoded]:
        """Bring mail that may wait for room there; return what has to come later still."""
        transport = self._owner.transport
        assert transport is not None
        batch = codec.join([encoded for _, encoded in taken])
        outgoing = Outgoing(boot=self._local.boot, batch=batch, is_patient=True)
        try:
            delivered = await self._calls.deliver(transport, outgoing, taken)
        except Unavailable:
            return list(taken)
        return [] if delivered is None else self._calls.learn(taken, delivered)

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
