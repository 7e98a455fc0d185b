"""One tree of exceptions for the whole project.

Every class survives the trip between processes: all constructor arguments go to ``Exception.__init__``.
``message`` says what is wrong and where; ``remedy`` says what to do. The wire sees ``code``, never a class name
or a traceback; ``contracts/problems.py`` maps each class to its HTTP and gRPC status.

::

    ZejzlError
    +-- InvalidInput                what the caller sent cannot be used
    |   +-- FleetInvalid            a startup configuration has errors
    |   +-- SettingsInvalid         a setting or environment variable has a wrong value
    |   +-- PayloadTooLarge         a body or page above the limit
    +-- NotFound
    |   +-- AgentNotFound
    |   +-- MachineNotFound
    |   +-- SecretNotFound          no place holds a secret that is needed
    +-- Conflict                    the state of the thing does not allow it
    |   +-- AgentExists
    |   +-- VersionConflict         somebody else changed it first
    |   +-- RevisionCompacted       the asked-for history is no longer kept
    |   +-- NoCapacity              no card, machine or queue has room
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
    +-- StoreError                  the store refuses; repeating does not help
    |   +-- StoreLocked             another process owns this store
    |   +-- StaleEpoch              a newer writer has taken over
    +-- ClusterError                starting, joining or stopping the cluster failed
        +-- PortInUse
"""

from typing import ClassVar


class ZejzlError(Exception):
    """Parent of every error of the project.

    Args:
        message: what is wrong and where, one sentence.
        remedy: what the reader can do about it; empty when there is nothing to add.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

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


class VersionConflict(Conflict):
    """The thing was changed by somebody else since it was read; read it again."""

    code = "version_conflict"


class RevisionCompacted(Conflict):
    """The asked-for revision is older than the kept history; list again and watch from there."""

    code = "revision_compacted"


class NoCapacity(Conflict):
    """No card, machine or queue has room for the request."""

    code = "no_capacity"


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
