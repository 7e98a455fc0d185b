"""Mail that comes from another process: checked, and put where it belongs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.mailbox import Mailbox, Overflow
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import Refused, Speakers
from zejzl_ray.errors import BusClosed, MailboxFull

if TYPE_CHECKING:
    from zejzl_ray.bus.post_office import PostOffice

_ROOM_S = 1.0  # a full mailbox holds up its process's mail this long before a message is refused


class Arrivals:
    """Takes in the batches of other processes for one bus."""

    def __init__(self, office: "PostOffice") -> None:
        self._office = office

    async def take_in(self, host: str, messages: Sequence[Message], speakers: Speakers) -> list[Refused]:
        """Put messages into their mailboxes, in their order; return those that were refused, with the true reason.

        A mailbox that lets its senders wait holds up the other mail of the same process for up to a second.
        """
        office = self._office
        refused: list[Refused] = []
        now_s, here_s = office.clock.now_s(), office.clock.monotonic_s()
        offset_s = here_s - now_s
        for message in messages:
            # From here on it is monotonic time of this process; the clocks of two machines may differ.
            message.sent_at_s = min(here_s, message.sent_at_s + offset_s)
            box = office.find(message.to_agent)
            why = speakers.why_refused(message.from_agent, box)
            if why:
                refused.append(Refused(message.id, DeadLetterReason.REFUSED, why))
            elif message.deadline_at_s is not None and message.deadline_at_s <= now_s:
                refused.append(Refused(message.id, DeadLetterReason.EXPIRED, "its deadline passed under way"))
            elif message.correlation_id is not None and office.is_reply(message, is_own=False):
                continue
            elif box is None:
                detail = f"{message.to_agent} has no mailbox there"
                refused.append(Refused(message.id, DeadLetterReason.UNKNOWN_AGENT, detail))
            elif message.sequence:
                if (why_not := office.durable_arrived(host, message)) is not None:
                    refused.append(why_not)
            elif (why_not := await self._put(box, message)) is not None:
                refused.append(why_not)
        return refused

    async def _put(self, box: Mailbox, message: Message) -> Refused | None:
        try:
            if box.overflow is Overflow.WAIT and box.is_full:
                await box.room(message, min(_ROOM_S, self._office.patience_s(message)))
            dropped = box.put(message)
        except MailboxFull as error:
            return Refused(message.id, DeadLetterReason.MAILBOX_FULL, error.message)
        except BusClosed as error:
            return Refused(message.id, DeadLetterReason.MAILBOX_CLOSED, error.message)
        if dropped is not None:
            self._office.lose(dropped, DeadLetterReason.DROPPED_LOW, f"made room for {message.id}")
        return None
