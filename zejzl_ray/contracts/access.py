"""Who is calling and what that allows: subjects, scopes, standings, principals.

A subject is ``kind:name``. A scope is ``service:resource:action``; in what is granted each part may be ``*``. The
action says how much trust a call needs: ``read`` and ``report`` change nothing that others rely on and go on while
news of revocations are late; everything else is refused then.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext

SUBJECT_PATTERN: Final = r"^(user|agent|machine|service|program):[A-Za-z][A-Za-z0-9_.-]{0,127}$"
SCOPE_PATTERN: Final = r"^[a-z][a-z0-9_]{0,63}:[a-z][a-z0-9_-]{0,63}:[a-z][a-z0-9_-]{0,31}$"
GRANT_PATTERN: Final = r"^(\*|[a-z][a-z0-9_]{0,63}):(\*|[a-z][a-z0-9_-]{0,63}):(\*|[a-z][a-z0-9_-]{0,31})$"
ROLE_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,63}$"

Subject = Annotated[str, StringConstraints(pattern=SUBJECT_PATTERN)]
Scope = Annotated[str, StringConstraints(pattern=SCOPE_PATTERN)]
Grant = Annotated[str, StringConstraints(pattern=GRANT_PATTERN)]
RoleName = Annotated[str, StringConstraints(pattern=ROLE_PATTERN)]

# Actions that go on with late news of revocations and with little trust.
CALM_ACTIONS: Final = frozenset({"read", "report"})
# Audience of a token for all services; one for a single service names that service.
ANY_SERVICE: Final = "zejzl"

ANONYMOUS: Final = "anonymous"


class PrincipalKind(StrEnum):
    """What kind of principal a subject is."""

    USER = "user"
    AGENT = "agent"
    MACHINE = "machine"
    SERVICE = "service"
    PROGRAM = "program"


class PriorityClass(StrEnum):
    """In which class a principal's work waits."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Standing(Contract):
    """What a subject's trust allows at the moment; the default is that of a subject in good standing.

    Ratios multiply what the subject would have otherwise: its rate limit, and the largest VRAM lease.
    """

    subject: str = ""
    score: float = Field(default=1.0, ge=0, le=1)
    level: Literal["trusted", "normal", "limited", "restricted"] = "normal"
    can_write: bool = True
    rate_ratio: float = Field(default=1.0, gt=0, le=10)
    priority: PriorityClass = PriorityClass.NORMAL
    max_lease_ratio: float = Field(default=1.0, ge=0, le=1)
    reason: str = Field(default="", max_length=512)


GOOD_STANDING: Final = Standing()


class Principal(Contract):
    """Who is calling, proved.

    Attributes of the token that proved it: ``token_id`` is its ``jti``, ``session`` its ``sid`` (the session or
    credential that it was issued for).
    """

    subject: str = Field(description="kind:name; 'anonymous' on public operations")
    grants: tuple[str, ...] = ()
    session: str = ""
    token_id: str = ""
    issued_at_s: float = 0.0
    expires_at_s: float = 0.0
    standing: Standing = GOOD_STANDING
    address: str = Field(
        default="", description="address of the caller as the ingress saw it; empty inside of the cluster"
    )

    @property
    def kind(self) -> str:
        """The part of the subject before the colon; ``anonymous`` for nobody."""
        return self.subject.partition(":")[0]

    @property
    def name(self) -> str:
        """The part of the subject after the colon."""
        return self.subject.partition(":")[2]


NOBODY: Final = Principal(subject=ANONYMOUS)


class AuthenticatedCall(CallContext):
    """A call whose caller was checked in this process; only the guard makes one.

    Never taken from the wire: the guard builds it anew from every call, whatever it was before.
    """

    principal: Principal = NOBODY


def principal_of(call: CallContext) -> Principal:
    """Return who is calling; nobody when no guard has looked, as in a test of a service alone."""
    return call.principal if isinstance(call, AuthenticatedCall) else NOBODY
