"""Mail that comes from another process: checked, and put where it belongs."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.mailbox import Mailbox, Overflow
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import News, Refused, Speakers
from zejzl_ray.errors import BusClosed, MailboxFull

_ROOM_S: Final = 1.0  # a full mailbox holds up its process's mail this long before a message is refused
_ROOM_OF_BATCH_S: Final = 10.0  # and a whole batch this long, so that its answer comes in time
_MAX_ASKED: Final = 10_000


class Arrivals:
    """Takes in the batches of other processes for one bus."""

    def __init__(self, local: LocalMail) -> None:
        self._local = local
        # who has asked -> from which host: the way back, until the directory has heard of them
        self._asked_from: OrderedDict[str, str] = OrderedDict()

    def asked_from(self, agent: str) -> str | None:
        """Return the host from which an agent has asked last; None when it has not, or long ago."""
        return self._asked_from.get(agent)

    async def take_in(
        self, host: str, messages: Sequence[Message], speakers: Speakers, news: News | None
    ) -> list[Refused]:
        """Put messages into their mailboxes, in their order; return those that were refused, with the true reason.

        A mailbox that lets its senders wait holds up the other mail of the same process: each message up to a second,
        a batch up to ten.
        """
        local = self._local
        refused: list[Refused] = []
        now_s, here_s = local.clock.now_s(), local.clock.monotonic_s()
        offset_s = here_s - now_s
        until_s = asyncio.get_running_loop().time() + _ROOM_OF_BATCH_S
        for message in messages:
            # From here on it is monotonic time of this process; the clocks of two machines may differ.
            message.sent_at_s = min(here_s, message.sent_at_s + offset_s)
            box = local.boxes.get(message.to_agent)
            why = speakers.why_refused(message.from_agent, box)
            if why:
                refused.append(Refused(message.id, DeadLetterReason.REFUSED, why))
            elif message.sequence:
                # Asked before the deadline: one that is being handled at this moment was taken long ago.
                if (why_not := self._kept(host, message, news)) is not None:
                    refused.append(why_not)
            elif message.deadline_at_s is not None and message.deadline_at_s <= now_s:
                refused.append(Refused(message.id, DeadLetterReason.EXPIRED, "its deadline passed under way"))
            elif message.correlation_id is not None and local.is_reply(message, is_own=False):
                continue
            elif box is None:
                detail = f"{message.to_agent} has no mailbox there"
                refused.append(Refused(message.id, DeadLetterReason.UNKNOWN_AGENT, detail))
            elif (why_not := await self._put(box, message, until_s)) is not None:
                refused.append(why_not)
            elif message.correlation_id is not None:
                self._note_asked(message.from_agent, host)
        return refused

    def _note_asked(self, agent: str, host: str) -> None:
        if self._asked_from.get(agent) != host:
            self._asked_from[agent] = host
            if len(self._asked_from) > _MAX_ASKED:
                self._asked_from.popitem(last=False)

    def _kept(self, host: str, message: Message, news: News | None) -> Refused | None:
        """Take a message that is sent at least once."""
        if self._local.durable is None or news is None:
            return Refused(message.id, DeadLetterReason.REFUSED, "this process keeps no mail")
        return self._local.durable.arrived(host, news.origin, message)

    async def _put(self, box: Mailbox, message: Message, until_s: float) -> Refused | None:
        try:
            if box.overflow is Overflow.WAIT and box.is_full:
                left_s = until_s - asyncio.get_running_loop().time()
                await box.room(message, max(0.0, min(_ROOM_S, left_s, self._local.patience_s(message))))
            self._local.put(box, message)
        except MailboxFull as error:
            return Refused(message.id, DeadLetterReason.MAILBOX_FULL, error.message)
        except BusClosed as error:
            return Refused(message.id, DeadLetterReason.MAILBOX_CLOSED, error.message)
        return None
