"""Trust and security events on the wire."""

from enum import StrEnum

from pydantic import Field

from zejzl_ray.contracts.access import Standing, Subject
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.tokens import MAX_PAGE, RequestId
from zejzl_ray.ids import new_id


class Evidence(Contract):
    """One observation of an agent or machine.

    ``evidence_id`` makes it count once. A response time that is null says nothing about speed.
    """

    evidence_id: str = Field(min_length=1, max_length=128)
    subject: Subject
    is_success: bool
    response_s: float | None = Field(default=None, ge=0, le=86_400)
    weight: float = Field(default=1.0, gt=0, le=100)
    reason: str = Field(default="", max_length=256)
    at_s: float | None = Field(default=None, description="null: when it arrives; never later than that")


class ReportEvidence(Contract):
    """Report what was seen; only services and who has the scope may."""

    evidence: tuple[Evidence, ...] = Field(min_length=1, max_length=1000)
    request_id: RequestId = Field(default_factory=new_id)


class EvidenceAccepted(Contract):
    """How much of it was new."""

    accepted: int
    repeated: int


class TrustPoint(Contract):
    """One change of a score, and why."""

    at_s: float
    score: float = Field(ge=0, le=1)
    level: str
    is_success: bool | None = None
    response_s: float | None = None
    reason: str = ""


class Trust(Contract):
    """A subject's score, what it leads to, and the way back."""

    subject: str
    score: float = Field(ge=0, le=1)
    success_share: float = Field(ge=0, le=1)
    speed: float = Field(ge=0, le=1)
    samples: float = Field(ge=0, description="decayed number of observations")
    is_known: bool = True
    standing: Standing
    way_back: str = Field(default="", description="what raises the score to the next level, in words")
    updated_at_s: float | None = None


class GetTrust(Contract):
    """Ask for one subject; an unknown one gets the prior, said to be unknown."""

    subject: Subject


class GetTrustHistory(Contract):
    """Ask for the last changes of one subject, newest first."""

    subject: Subject
    limit: int = Field(default=10, ge=1, le=MAX_PAGE)


class TrustHistory(Contract):
    """Changes, newest first."""

    subject: str
    points: tuple[TrustPoint, ...]


class ListTrust(Contract):
    """List scores, lowest first."""

    limit: int = Field(default=100, ge=1, le=MAX_PAGE)


class TrustList(Contract):
    """Scores, lowest first."""

    trust: tuple[Trust, ...]


class ResetTrust(Contract):
    """Forget what was seen of a subject: an operator's pardon, in the audit trail with its reason."""

    subject: Subject
    reason: str = Field(min_length=1, max_length=256)
    request_id: RequestId = Field(default_factory=new_id)


class ThreatLevel(StrEnum):
    """How bad a security event is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class SecurityEvent(Contract):
    """Something that deserves a look. The same finding is one event with a count."""

    event_id: str
    kind: str = Field(
        description="brute_force, token_replay, address_change, scope_probing, rate_limit_exceeded, ip_blocked"
    )
    level: ThreatLevel
    subject: str = ""
    address: str = ""
    description: str
    first_at_s: float
    last_at_s: float
    count: int = Field(default=1, ge=1)


class ReportObservations(Contract):
    """What guards and doors saw: refused calls, counted, and from where callers come; the detectors read them."""

    observations: tuple["Observation", ...] = Field(min_length=1, max_length=1000)
    request_id: RequestId = Field(default_factory=new_id)


class Observation(Contract):
    """Calls of one kind in a short while; ``seen``: a proved caller came in from an address."""

    kind: str = Field(pattern=r"^(denied|unauthenticated|rate_limited|ip_blocked|login_failed|seen)$")
    subject: str = Field(default="", max_length=160)
    address: str = Field(default="", max_length=64)
    operation: str = Field(default="", max_length=160)
    count: int = Field(default=1, ge=1)
    at_s: float


class ObservationsAccepted(Contract):
    """Taken note of."""

    events: int = 0


class ListSecurityEvents(Contract):
    """Ask for the last security events, newest first."""

    least_level: ThreatLevel = ThreatLevel.LOW
    limit: int = Field(default=100, ge=1, le=MAX_PAGE)


class SecurityEvents(Contract):
    """Security events, newest first, and counts by level and kind since the start of what is kept."""

    events: tuple[SecurityEvent, ...]
    counts_by_level: dict[str, int] = Field(default_factory=dict)
    counts_by_kind: dict[str, int] = Field(default_factory=dict)
