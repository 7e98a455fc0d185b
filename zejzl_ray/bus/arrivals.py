"""Mail that comes from another process: checked, and put where it belongs."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.failures import WITHDRAWN
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.mailbox import Mailbox, Overflow
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import News, Refused, Speakers
from zejzl_ray.errors import BusClosed, MailboxFull
from zejzl_ray.log import get_logger

_ROOM_S: Final = 1.0  # a patient batch waits so long for room: much less than its call may take
_WAIT: Final = Overflow.WAIT
_MAX_SHUT: Final = 10_000
_MAX_ASKED: Final = 10_000
_ASKED_S: Final = 60.0  # by then the directory knows of an agent, or it is gone
log = get_logger("zejzl.bus")


class Arrivals:
    """Takes in the batches of other processes for one bus."""

    def __init__(self, local: LocalMail) -> None:
        self._local = local
        # who has asked -> from which host, and until when that counts: the way back, until the directory has heard of
        # them
        self._asked_from: OrderedDict[str, tuple[str, float]] = OrderedDict()
        # host and mailbox without room for its mail: what comes next is not to overtake what had to go back
        self._shut: OrderedDict[tuple[str, str], None] = OrderedDict()

    @property
    def has_asked(self) -> bool:
        """Whether there are any for whom ``asked_from`` may know something."""
        return bool(self._asked_from)

    def asked_from(self, agent: str) -> str | None:
        """Return the host from which an agent has asked last; None when it has not, or not within a minute."""
        known = self._asked_from.get(agent)
        if known is None:
            return None
        host, until_s = known
        if self._local.clock.monotonic_s() < until_s:
            return host
        del self._asked_from[agent]
        return None

    def is_known(self, agent: str) -> None:
        """Forget from where an agent has asked: the directory has heard of it, and will hear of its end."""
        self._asked_from.pop(agent, None)

    async def take_in(
        self,
        host: str,
        messages: Sequence[Message],
        speakers: Speakers,
        news: News | None,
        *,
        is_patient: bool = False,
    ) -> list[Refused]:
        """Put messages into their mailboxes, in their order; return those that were refused, with the true reason.

        A mailbox that lets its senders wait holds up nobody else's mail: what finds no room there is to come later, in
        a patient batch, and all that follows for the same mailbox too. A patient batch waits for room up to a second.
        """
        local = self._local
        refused: list[Refused] = []
        now_s, here_s = local.clock.now_s(), local.clock.monotonic_s()
        offset_s = here_s - now_s
        room = _Room(asyncio.get_running_loop().time() + _ROOM_S) if is_patient else None
        from_agent: str | None = None
        last: Mailbox | None = None
        why = ""
        for message in messages:
            # From here on it is monotonic time of this process; the clocks of two machines may differ.
            message.sent_at_s = min(here_s, message.sent_at_s + offset_s)
            message.expires_s = None if message.deadline_at_s is None else message.deadline_at_s + offset_s
            box = local.boxes.get(message.to_agent)
            if message.from_agent != from_agent or box is not last:
                # Asked once for all of one sender to one receiver that follow one another.
                from_agent, last = message.from_agent, box
                why = speakers.why_refused(from_agent, box)
            if why:
                is_unproved = speakers.is_unproved(message.from_agent)
                reason = DeadLetterReason.UNPROVED if is_unproved else DeadLetterReason.REFUSED
                refused.append(Refused(message.id, reason, why))
            elif message.sequence:
                # Asked before the deadline: one that is being handled at this moment was taken long ago.
                refused += self._kept(host, message, news)
            elif message.deadline_at_s is not None and message.deadline_at_s <= now_s:
                refused.append(Refused(message.id, DeadLetterReason.EXPIRED, "its deadline passed under way"))
            elif message.correlation_id is not None and (
                local.is_reply(message, is_own=False) or _is_withdrawal(message, box, here_s)
            ):
                continue
            elif box is None:
                detail = f"{message.to_agent} has no mailbox there"
                refused.append(Refused(message.id, DeadLetterReason.UNKNOWN_AGENT, detail))
            else:
                if box.overflow is _WAIT:
                    why_not = await self._put_with_room(host, box, message, room)
                    from_agent = None  # meanwhile its proof may have ended
                else:
                    why_not = self._put(box, message)
                if why_not is not None:
                    refused.append(why_not)
                elif message.correlation_id is not None:
                    self._note_asked(message.from_agent, host)
        self._open_again(host, room)
        return refused

    def _open_again(self, host: str, room: "_Room | None") -> None:
        """Learn that a patient batch got in as a whole, but for mailboxes that are full still."""
        for agent in () if room is None else room.asked - room.full:
            self._shut.pop((host, agent), None)

    def _note_asked(self, agent: str, host: str) -> None:
        self._asked_from.pop(agent, None)  # the one that asked last is last
        self._asked_from[agent] = host, self._local.clock.monotonic_s() + _ASKED_S
        if len(self._asked_from) > _MAX_ASKED:
            self._asked_from.popitem(last=False)

    def _kept(self, host: str, message: Message, news: News | None) -> Sequence[Refused]:
        """Take a message that is sent at least once; return why not, if so."""
        if self._local.durable is None or news is None:
            return (Refused(message.id, DeadLetterReason.REFUSED, "this process keeps no mail"),)
        why_not = self._local.durable.arrived(host, news.origin, message)
        return () if why_not is None else (why_not,)

    async def _put_with_room(
        self, host: str, box: Mailbox, message: Message, room: "_Room | None"
    ) -> Refused | None:
        """Put a message into a mailbox that lets its senders wait."""
        try:
            has_room = await self._has_room(host, box, message, room)
        except BusClosed as error:
            return Refused(message.id, DeadLetterReason.MAILBOX_CLOSED, error.message)
        if not has_room:
            return Refused(
                message.id, DeadLetterReason.MAILBOX_FULL, box.full(message).message, is_later=True
            )
        return self._put(box, message)

    def _put(self, box: Mailbox, message: Message) -> Refused | None:
        try:
            dropped = box.put(message)
            if dropped is not None:
                self._local.made_room(dropped, message)
        except MailboxFull as error:
            return Refused(message.id, DeadLetterReason.MAILBOX_FULL, error.message)
        except Exception as error:
            log.exception("a message met a failure", to_agent=box.agent, message_id=message.id)
            return Refused(
                message.id, DeadLetterReason.REFUSED, f"{type(error).__name__} there; its log says more"
            )
        return None

    async def _has_room(self, host: str, box: Mailbox, message: Message, room: "_Room | None") -> bool:
        """Tell whether a mailbox that lets its senders wait has room for a message, and wait for it if that is time."""
        key = host, box.agent
        if room is None and not box.makes_wait and key not in self._shut:
            return True
        self._shut[key] = None  # for all but patient batches, until one of these got in as a whole
        if len(self._shut) > _MAX_SHUT:
            self._shut.popitem(last=False)
        if room is None or box.agent in room.full:
            return False
        room.asked.add(box.agent)
        if box.makes_wait:
            try:
                await box.room(message, max(0.0, room.until_s - asyncio.get_running_loop().time()))
            except MailboxFull:
                room.full.add(box.agent)
                return False
        return True


def _is_withdrawal(message: Message, box: Mailbox | None, now_s: float) -> bool:
    """Tell whether a message says that a request was given up; one that is still in the mailbox is not handled then."""
    if message.message_type != WITHDRAWN:
        return False
    for each in box or ():
        if each.correlation_id == message.correlation_id and each.from_agent == message.from_agent:
            each.expires_s = now_s
    return True


class _Room:
    """How long a patient batch waits for room, whose mailboxes were asked for it, and which had none."""

    def __init__(self, until_s: float) -> None:
        self.until_s = until_s
        self.full: set[str] = set()
        self.asked: set[str] = set()
