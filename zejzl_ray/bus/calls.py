"""The calls to one other process: what each says of earlier ones, and what becomes of the mail in them."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from zejzl_ray.bus import codec
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.link_queue import Encoded
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import Delivered, News, Outgoing, Refused, Transport
from zejzl_ray.errors import AgentUnreachable, DeadlineExceeded, Unavailable, ZejzlError

MOST_TOLD: Final = 4096  # refusals in one call
MOST_UNANSWERED: Final = 64  # numbers of failed calls in one
_FIRST_PAUSE_S: Final = 0.2  # before what a busy process did not look at goes again; doubles
_LONGEST_PAUSE_S: Final = 2.0


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


class Calls:
    """Makes the calls of one link, and keeps the book on them.

    Args:
        host: the other process.
        owner: the mail away from this process.
        local: the mail of this process.
        on_gone: told why the other process is gone.

    Attributes:
        batches, messages: how many were taken there.
        has_news: there is something to tell, also when there is no mail.
    """

    def __init__(
        self, host: str, owner: LinkOwner, local: LocalMail, *, on_gone: Callable[[str], None]
    ) -> None:
        self.batches = 0
        self.messages = 0
        self.has_news = False
        self._host = host
        self._owner = owner
        self._local = local
        self._on_gone = on_gone
        self._last = 0
        self._heard = 0  # the other process knows that every call up to this one has ended
        self._under_way: dict[
            int, int
        ] = {}  # call -> below which nothing is open that it or its answer tells of
        self._returned: list[Refused] = []
        self._unanswered: list[int] = []
        self._skipped: list[int] = []
        self._overloaded_since_s = 0.0
        self._pause_s = _FIRST_PAUSE_S

    @property
    def has_something_to_say(self) -> bool:
        """Whether a call without mail has a purpose."""
        return self.has_news or bool(self._returned)

    def begin(self, number: int, taken: Sequence[Encoded], *, wants_reply: bool) -> Outgoing:
        """Return what goes with the next call; it counts as under way until ``end``."""
        self._last += 1
        outgoing = Outgoing(
            boot=self._local.boot,
            number=number,
            batch=codec.join([encoded for _, encoded in taken]) if taken else b"",
            wants_reply=wants_reply,
            news=self.news([message for message, _ in taken]),
            returned=tuple(self._returned),
            call=self._last,
            unanswered=tuple(self._unanswered),
            ended=min(self._under_way.values(), default=self._last) - 1,
            skipped=tuple(self._skipped),
        )
        tells = (
            outgoing.returned or outgoing.unanswered
        )  # the other process may hear of it later than of the next call
        self._under_way[self._last] = self._heard + 1 if tells else self._last
        self._returned, self._unanswered, self._skipped = [], [], []
        return outgoing

    def end(self, outgoing: Outgoing) -> None:
        """Learn that all is done that a call and its answer bring about."""
        self._under_way.pop(outgoing.call, None)

    def say(self, refused: Sequence[Refused]) -> None:
        """Have the other process told what was not taken of the mail that came back."""
        if refused:
            self._returned += refused
            self.has_news = True

    def skip(self, number: int) -> None:
        """Have the other process told that a batch is lost, so that it does not wait for it."""
        self._skipped.append(number)

    def next_pause_s(self) -> float:
        """Return how long to leave a process alone that looks at nothing now."""
        pause_s, self._pause_s = self._pause_s, min(_LONGEST_PAUSE_S, 2 * self._pause_s)
        return pause_s

    async def deliver(
        self, transport: Transport, outgoing: Outgoing, taken: Sequence[Encoded]
    ) -> Delivered | None:
        """Have a batch delivered; return None when that failed, and see to what was in it.

        Raises:
            Unavailable: it is to be tried again; nothing has become of what was in it.
        """
        messages = [message for message, _ in taken]
        try:
            delivered = await transport.deliver(self._host, outgoing)
        except asyncio.CancelledError:
            self._owner.unsent(self._host, messages, "this process stopped", may_follow=False)
            raise
        except Exception as error:
            self._note_failed(outgoing)
            if (
                isinstance(error, Unavailable)
                and not isinstance(error, AgentUnreachable)
                and self._may_try_again()
            ):
                raise
            if outgoing.number:
                self._skipped.append(outgoing.number)
            self._failed(messages, error)
            if not isinstance(error, ZejzlError):
                raise
            return None
        self._overloaded_since_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._heard = max(self._heard, outgoing.ended)
        self.batches += 1
        self.messages += len(messages)
        return delivered

    def _note_failed(self, outgoing: Outgoing) -> None:
        """Have told with the next call what the other process did not hear, or may not have heard, with this one."""
        if outgoing.news is not None and self._local.durable is not None:
            self._local.durable.tell_again(self._host, outgoing.news)
        self._returned = [*outgoing.returned, *self._returned][-MOST_TOLD:]
        failed = (outgoing.call,) if outgoing.call else ()
        self._unanswered = [*outgoing.unanswered, *self._unanswered, *failed][-MOST_UNANSWERED:]
        self._skipped = [*outgoing.skipped, *self._skipped][-MOST_UNANSWERED:]

    def _may_try_again(self) -> bool:
        """Whether a process that looks at nothing has not done so for long."""
        now_s = self._local.clock.monotonic_s()
        self._overloaded_since_s = self._overloaded_since_s or now_s
        return now_s - self._overloaded_since_s < self._local.options.default_timeout_s

    def _failed(self, messages: Sequence[Message], error: Exception) -> None:
        """See to what was in a call that failed."""
        if isinstance(error, AgentUnreachable):
            self._on_gone(error.message)
        elif isinstance(error, DeadlineExceeded):
            # It may be slow and not dead: a request goes on waiting for its reply; it may have got there.
            messages = [message for message in messages if not self._local.pending.is_request(message)]
            self.has_news = True  # of the call that is not answered
        elif isinstance(error, ZejzlError) and not isinstance(error, Unavailable):
            for message in [each for each in messages if not each.sequence]:
                refused = Refused(message.id, DeadLetterReason.REFUSED, str(error))
                self._owner.refused(self._host, message, refused)
            messages = [each for each in messages if each.sequence]  # kept until this process is let in
        why = error.message if isinstance(error, ZejzlError) else f"{type(error).__name__} on the way"
        self._owner.unsent(self._host, messages, why, may_follow=False)

    def learn(self, taken: Sequence[Encoded], delivered: Delivered) -> list[Encoded]:
        """See to what was taken there, and what was not; return what has to come later."""
        if not delivered.refused:
            self.note_taken(delivered.boot, [message for message, _ in taken])
            return []
        by_id = {each[0].id: each for each in taken}
        found = [(by_id.pop(refused.message_id, None), refused) for refused in delivered.refused]
        self.note_taken(delivered.boot, [message for message, _ in by_id.values()])
        return self.sort([(each, refused) for each, refused in found if each is not None])

    def sort(self, found: Iterable[tuple[Encoded, Refused]]) -> list[Encoded]:
        """Return those of the refused messages that have to come later, and see to the others."""
        later = []
        for each, refused in found:
            if refused.is_later and not each[0].sequence:
                later.append(each)
            else:
                self._owner.refused(self._host, each[0], refused)
        return later

    def note_taken(self, boot: str, messages: Sequence[Message]) -> None:
        """Learn that messages are in mailboxes of the other process."""
        durable = self._local.durable
        if durable is not None and (kept := [message for message in messages if message.sequence]):
            durable.delivered(self._host, boot, kept)

    def news(self, messages: Sequence[Message]) -> News | None:
        """Take what the other process is to be told with these messages."""
        self.has_news = False
        durable = self._local.durable
        return None if durable is None else durable.news_for(self._host, messages)
