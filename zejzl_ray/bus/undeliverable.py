"""What a dead letter means to the one who waits for a reply to it."""

from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import (
    AgentUnreachable,
    BusClosed,
    BusError,
    MailboxFull,
    NotSerialisable,
    RequestTimedOut,
    SenderRefused,
    UnknownAgent,
    ZejzlError,
)

_ERRORS: Final[dict[DeadLetterReason, type[BusError]]] = {
    DeadLetterReason.EXPIRED: RequestTimedOut,
    DeadLetterReason.UNKNOWN_AGENT: UnknownAgent,
    DeadLetterReason.MAILBOX_FULL: MailboxFull,
    DeadLetterReason.DROPPED_LOW: MailboxFull,
    DeadLetterReason.UNREACHABLE: AgentUnreachable,
    DeadLetterReason.REFUSED: SenderRefused,
    DeadLetterReason.UNPROVED: SenderRefused,
    DeadLetterReason.MAILBOX_CLOSED: BusClosed,
    DeadLetterReason.NOT_ACKNOWLEDGED: AgentUnreachable,
    DeadLetterReason.LATE_REPLY: RequestTimedOut,
    DeadLetterReason.NOT_SERIALISABLE: NotSerialisable,
}
_REASONS: Final[dict[type[BusError], DeadLetterReason]] = {
    RequestTimedOut: DeadLetterReason.EXPIRED,
    UnknownAgent: DeadLetterReason.UNKNOWN_AGENT,
    MailboxFull: DeadLetterReason.MAILBOX_FULL,
    AgentUnreachable: DeadLetterReason.UNREACHABLE,
    SenderRefused: DeadLetterReason.REFUSED,
    BusClosed: DeadLetterReason.MAILBOX_CLOSED,
    NotSerialisable: DeadLetterReason.NOT_SERIALISABLE,
}


def error_for(message: Message, reason: DeadLetterReason, detail: str) -> BusError:
    """Return what the sender of a request is told when it became a dead letter."""
    return _ERRORS[reason](
        f"The {message.message_type!r} request of {message.from_agent} did not reach {message.to_agent}: "
        f"{reason.value.replace('_', ' ')}{f' ({detail})' if detail else ''}.",
        "",
        {"to_agent": message.to_agent, "reason": reason.value, "correlation_id": message.correlation_id},
    )


def reason_for(error: ZejzlError) -> DeadLetterReason:
    """Return as which dead letter a message counts that could not be sent."""
    return next(
        (reason for kind, reason in _REASONS.items() if isinstance(error, kind)), DeadLetterReason.REFUSED
    )
