"""One tree of exceptions for the whole project.

Every class survives the trip between processes: all constructor arguments go to ``Exception.__init__``.
``message`` says what is wrong and where; ``remedy`` says what to do; ``details`` are for programs. The
wire sees ``code``, never a class name or a traceback; ``contracts/problems.py`` maps each class to its HTTP and gRPC
status. A class in brackets is a parent too, so that who catches that one need not know of this one.

::

    ZejzlError
    +-- InvalidInput                what the caller sent cannot be used
    |   +-- FleetInvalid            a startup configuration has errors
    |   +-- SettingsInvalid         a setting or environment variable has a wrong value
    |   +-- ToonDecodeFailed        a text is not TOON
    |   +-- PayloadTooLarge         a body or page above the limit
    +-- NotFound
    |   +-- AgentNotFound
    |   +-- MachineNotFound
    |   +-- SecretNotFound          no place holds a secret that is needed
    +-- Conflict                    the state of the thing does not allow it
    |   +-- AgentExists
    |   |   +-- AgentHeld           another process holds the agent
    |   +-- VersionConflict         somebody else changed it first
    |   +-- RevisionCompacted       the asked-for history is no longer kept
    |   +-- NoCapacity              no card, machine or queue has room
    |   +-- BudgetExhausted         what may be spent is spent
    +-- Unauthenticated             no valid proof of who is calling
    |   +-- TokenExpired            renew it and call again
    |   +-- TokenRevoked            the token, its session or its principal was revoked
    |   +-- LoginRefused            the one text of every failed login
    +-- Forbidden                   known, but not allowed
    +-- Unavailable                 try again later
    |   +-- StoreUnavailable        the store cannot be reached
    |   +-- ServiceUnavailable      a service is away or not ready
    |   +-- Overloaded              a queue is full
    |   +-- RateLimited             too many calls of one caller; says when to come back
    |   +-- SecurityFeedStale       news of revocations are too old for this operation
    +-- DeadlineExceeded
    |   +-- TimedOut                (TimeoutError) a wait inside this process took too long
    +-- AgentFailed                 an agent could not do its work
    |   +-- ProviderFailed          the model's provider refused or failed
    |   +-- VisionFailed            looking at a screen or picture failed
    |   +-- AgentMemoryFailed       what an agent remembers cannot be read or kept
    |   +-- SwarmCoordinationFailed agents that work together came to no result
    +-- BusError                    mail between agents; each is the fitting class above as well
    |   +-- UnknownAgent            (AgentNotFound, ValueError) no mailbox has this name
    |   +-- NotSerialisable         (InvalidInput) content that cannot leave the process
    |   +-- MessageTooLarge         (PayloadTooLarge)
    |   +-- MailboxFull             (Overloaded)
    |   +-- AgentUnreachable        (Unavailable) its process or machine is gone
    |   +-- SenderRefused           (Forbidden) not the sender's name, or not its right
    |   +-- RequestTimedOut         (TimedOut)
    |   +-- DeadlockDetected        (Conflict) agents wait for one another in a circle
    |   +-- HandlerFailed           the agent that was asked could not do it; its log says why
    |   +-- BusClosed               (Unavailable)
    +-- StoreError                  the store refuses; repeating does not help
    |   +-- StoreLocked             another process owns this store
    |   +-- StaleEpoch              a newer writer has taken over
    +-- ClusterError                starting, joining or stopping the cluster failed
        +-- PortInUse
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class ZejzlError(Exception):
    """Parent of every error of the project.

    Args:
        message: what is wrong and where, one sentence.
        remedy: what the reader can do about it; empty when there is nothing to add. A mapping here is taken as
            the details, so that errors raised the old way keep theirs.
        details: names and numbers for programs, no secrets; they are in no text and do not go over HTTP.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str = "",
        remedy: str | Mapping[str, Any] = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(remedy, Mapping):
            details, remedy = remedy, ""
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        """Return the message, followed by the remedy where there is one."""
        return f"{self.message} {self.remedy}".strip()


class InvalidInput(ZejzlError):
    """What the caller sent cannot be used; sending it again does not help."""

    code = "invalid_input"


class FleetInvalid(InvalidInput):
    """A startup configuration has errors; the message holds them, one a line."""

    code = "fleet_invalid"


class SettingsInvalid(InvalidInput):
    """A setting or environment variable has a wrong value."""

    code = "settings_invalid"


class ToonDecodeFailed(InvalidInput):
    """A text is not TOON (Token-Oriented Object Notation)."""

    code = "toon_decode_failed"


class PayloadTooLarge(InvalidInput):
    """A body, page or batch is above its limit."""

    code = "payload_too_large"


class NotFound(ZejzlError):
    """The named thing does not exist."""

    code = "not_found"


class AgentNotFound(NotFound):
    """No agent has this name or alias."""

    code = "agent_not_found"


class MachineNotFound(NotFound):
    """No machine has this name."""

    code = "machine_not_found"


class SecretNotFound(NotFound):
    """A secret that is needed is in no place where it could be, or belongs to others."""

    code = "secret_not_found"


class Conflict(ZejzlError):
    """The current state does not allow the command."""

    code = "conflict"


class AgentExists(Conflict):
    """An agent of this name is already registered."""

    code = "agent_exists"


class AgentHeld(AgentExists):
    """Another process holds the agent; it is free when that one stops it, or when its lease has run out."""

    code = "agent_held"


class VersionConflict(Conflict):
    """The thing was changed by somebody else since it was read; read it again."""

    code = "version_conflict"


class RevisionCompacted(Conflict):
    """The asked-for revision is older than the kept history; list again and watch from there."""

    code = "revision_compacted"


class NoCapacity(Conflict):
    """No card, machine or queue has room for the request."""

    code = "no_capacity"


class BudgetExhausted(Conflict):
    """What an agent or a task may spend is spent; raise the budget or wait for the next one."""

    code = "budget_exhausted"


class Unauthenticated(ZejzlError):
    """The call carries no valid proof of who is calling."""

    code = "unauthenticated"


class TokenExpired(Unauthenticated):
    """The token's time is over; get a new one and call again."""

    code = "token_expired"


class TokenRevoked(Unauthenticated):
    """The token, its session or its principal was revoked."""

    code = "token_revoked"


class LoginRefused(Unauthenticated):
    """The login failed; the same words whatever the reason was."""

    code = "login_refused"


class Forbidden(ZejzlError):
    """The caller is known but may not do this."""

    code = "forbidden"


class Unavailable(ZejzlError):
    """Not possible at this moment; safe to try again later."""

    code = "unavailable"


class StoreUnavailable(Unavailable):
    """The store cannot be reached; nothing acknowledged is lost."""

    code = "store_unavailable"


class ServiceUnavailable(Unavailable):
    """A service is away or not ready yet."""

    code = "service_unavailable"


class Overloaded(Unavailable):
    """A queue is full."""

    code = "overloaded"


class RateLimited(Unavailable):
    """This caller has called too often.

    Args:
        message: which limit.
        remedy: what to do.
        retry_after_s: seconds until a call may succeed, above 0.
    """

    code = "rate_limited"

    def __init__(self, message: str = "", remedy: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, remedy)
        self.args = (message, remedy, retry_after_s)
        self.retry_after_s = retry_after_s


class SecurityFeedStale(Unavailable):
    """News of revocations are too old to allow more than reading."""

    code = "security_feed_stale"


class DeadlineExceeded(ZejzlError):
    """The call did not finish before its deadline; it may still take effect."""

    code = "deadline_exceeded"


class TimedOut(DeadlineExceeded, TimeoutError):
    """A wait inside this process took longer than it may; caught as the built-in ``TimeoutError`` too."""

    code = "timed_out"


class AgentFailed(ZejzlError):
    """An agent could not do its work."""

    code = "agent_failed"


class ProviderFailed(AgentFailed):
    """The provider of a model refused a call or failed."""

    code = "provider_failed"


class VisionFailed(AgentFailed):
    """Looking at a screen or a picture failed."""

    code = "vision_failed"


class AgentMemoryFailed(AgentFailed):
    """What an agent remembers cannot be read or kept."""

    code = "agent_memory_failed"


class SwarmCoordinationFailed(AgentFailed):
    """Agents that work together came to no common result."""

    code = "swarm_coordination_failed"


class BusError(ZejzlError):
    """Mail between agents failed; ``details`` holds the names that matter."""

    code = "bus"


class UnknownAgent(BusError, AgentNotFound, ValueError):
    """No mailbox has this name, here or on any machine that is known."""

    code = "mailbox_not_found"


class NotSerialisable(BusError, InvalidInput):
    """The content of a message cannot be written for another process."""

    code = "not_serialisable"


class MessageTooLarge(BusError, PayloadTooLarge):
    """A message above the size limit."""

    code = "message_too_large"


class MailboxFull(BusError, Overloaded):
    """The receiver's mailbox, or the way to it, is full."""

    code = "mailbox_full"


class AgentUnreachable(BusError, Unavailable):
    """The process or machine of the receiver is gone; ``details["moves_to"]`` says where to, if known."""

    code = "agent_unreachable"


class SenderRefused(BusError, Forbidden):
    """A message in a name that its process does not speak for, or to a receiver the sender may not write to."""

    code = "sender_refused"


class RequestTimedOut(BusError, TimedOut):
    """No reply within the time limit, or no mail within that of a receive."""

    code = "request_timed_out"


class DeadlockDetected(BusError, Conflict):
    """Agents wait for one another in a circle, and this request was chosen to end it."""

    code = "deadlock_detected"


class HandlerFailed(BusError):
    """The handler of the agent that was asked raised something; the log of that agent says what."""

    code = "handler_failed"


class BusClosed(BusError, Unavailable):
    """The mailbox or the bus was closed while somebody waited for it."""

    code = "bus_closed"


class StoreError(ZejzlError):
    """The store refuses; repeating does not help."""

    code = "store_error"


class StoreLocked(StoreError):
    """Another process owns this store."""

    code = "store_locked"


class StaleEpoch(StoreError):
    """A newer writer has taken over; this one must stop."""

    code = "stale_epoch"


class ClusterError(ZejzlError):
    """Starting, joining or stopping the cluster failed."""

    code = "cluster_error"


class PortInUse(ClusterError):
    """Another process listens on a port that is needed."""

    code = "port_in_use"
