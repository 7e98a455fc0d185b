"""The policy on the wire: roles, limits, address lists, thresholds of trust; and the dry run."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from zejzl_ray.contracts.access import Grant, PriorityClass, RoleName, Subject
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.tokens import RequestId
from zejzl_ray.ids import new_id

SCHEMA: Final = "zejzl.policy/1"
Network = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?$")]


class RatePolicy(Contract):
    """How often one caller may call: a burst in a second, and a sustained rate in a minute."""

    burst_per_s: int = Field(ge=1, le=1_000_000)
    sustained_per_min: int = Field(ge=1, le=60_000_000)


class RoleSpec(Contract):
    """A named set of grants."""

    description: str = Field(default="", max_length=256)
    grants: tuple[Grant, ...] = Field(max_length=256)
    includes: tuple[RoleName, ...] = Field(default=(), max_length=16)
    rate: RatePolicy | None = None


class TrustLevel(Contract):
    """What a score below ``below`` leads to; a subject climbs back at ``below`` plus the hysteresis."""

    level: Literal["trusted", "normal", "limited", "restricted"]
    below: float = Field(ge=0, le=1.01)
    can_write: bool = True
    rate_ratio: float = Field(default=1.0, gt=0, le=10)
    priority: PriorityClass = PriorityClass.NORMAL
    max_lease_ratio: float = Field(default=1.0, ge=0, le=1)


class TrustPolicy(Contract):
    """How a score is made and what it leads to."""

    success_weight: float = Field(default=0.7, ge=0, le=1)
    speed_weight: float = Field(default=0.3, ge=0, le=1)
    slow_s: float = Field(default=5.0, gt=0, le=3600, description="a response this slow earns nothing")
    prior: float = Field(default=0.5, ge=0, le=1)
    prior_samples: float = Field(default=4.0, gt=0, le=1000)
    max_samples: float = Field(
        default=64.0, ge=1, le=100_000, description="observations above this weigh no more"
    )
    half_life_s: float = Field(default=3600.0, gt=0, le=30 * 86_400)
    hysteresis: float = Field(default=0.05, ge=0, le=0.5)
    levels: tuple[TrustLevel, ...] = Field(description="lowest first")


class AddressPolicy(Contract):
    """Which addresses may come in over HTTP; deny goes first, an allow list that is not empty admits only its own."""

    allow: tuple[Network, ...] = Field(default=(), max_length=1024)
    deny: tuple[Network, ...] = Field(default=(), max_length=1024)


class PasswordPolicy(Contract):
    """What a password must be."""

    least_length: int = Field(default=12, ge=8, le=128)


class Policy(Contract):
    """The whole policy, as ``config/policy.yaml`` holds it."""

    # What is stored or sent is written with the key of the file; a writer that uses the field's name is read too.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True
    )

    schema_name: Literal["zejzl.policy/1"] = Field(default=SCHEMA, alias="schema")
    roles: dict[RoleName, RoleSpec]
    kinds: dict[Literal["user", "agent", "machine", "service", "program"], tuple[RoleName, ...]] = Field(
        description="roles that every subject of a kind has"
    )
    subjects: dict[Subject, tuple[RoleName, ...]] = Field(
        default_factory=dict, description="further roles of single subjects"
    )
    rate: RatePolicy = RatePolicy(burst_per_s=200, sustained_per_min=6000)
    address_rate: RatePolicy = RatePolicy(burst_per_s=100, sustained_per_min=3000)
    addresses: AddressPolicy = AddressPolicy()
    password: PasswordPolicy = PasswordPolicy()
    trust: TrustPolicy


class GetPolicy(Contract):
    """Ask for the policy in force."""


class SetPolicy(Contract):
    """Put another policy in force; tokens of subjects whose rights shrink are revoked. Safe to repeat."""

    policy: Policy
    source: str = Field(default="", max_length=512)
    request_id: RequestId = Field(default_factory=new_id)


class PolicyInForce(Contract):
    """The policy in force, since when and from where."""

    policy: Policy
    revision: int
    since_s: float
    source: str = ""


class ExplainAccess(Contract):
    """May this subject do this, and why? Changes nothing and is no proof of anything.

    ``operation`` is ``service.name`` as in the list of operations, or a scope.
    """

    subject: Subject
    operation: str = Field(min_length=1, max_length=160)
    target: str = Field(default="", max_length=128, description="name of the thing that it is done to")


class Reason(Contract):
    """One step of the explanation."""

    is_passed: bool
    text: str


class AccessExplanation(Contract):
    """The answer and every step that led to it."""

    subject: str
    operation: str
    scope: str
    is_allowed: bool
    reasons: tuple[Reason, ...]
