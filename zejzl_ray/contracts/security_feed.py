"""What every verifier follows: keys, revocations, standings, limits.

A follower asks for changes after a revision and waits; the first answer, and any after the gateway has started anew,
is the whole state.
"""

from typing import Literal

from pydantic import Field

from zejzl_ray.contracts.access import Standing
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.policy import AddressPolicy, RatePolicy
from zejzl_ray.contracts.tokens import PublicKey


class Revocation(Contract):
    """Something that no longer counts.

    ``token`` and ``session`` name a token's ``jti`` and ``sid``; ``subject`` ends what was issued to it before
    ``before_s``; ``all`` ends what was issued to anybody before it. After ``until_s`` every token that it concerns has
    expired and it may be forgotten.
    """

    kind: Literal["token", "session", "subject", "all"]
    value: str = ""
    before_s: float = 0.0
    until_s: float


class GuardLimits(Contract):
    """What guards need of the policy."""

    rate: RatePolicy
    address_rate: RatePolicy
    role_rates: dict[str, RatePolicy] = Field(
        default_factory=dict, description="subject kind or subject -> its own rate"
    )
    addresses: AddressPolicy


class WatchFeed(Contract):
    """Wait for changes after ``revision`` of the gateway's ``epoch``; 0 and 0 ask for everything."""

    epoch: int = Field(default=0, ge=0)
    revision: int = Field(default=0, ge=0)
    timeout_s: float = Field(default=10.0, ge=0, le=30)


class FeedBatch(Contract):
    """Changes up to ``revision``; empty when nothing happened in the time.

    ``is_whole``: this is the whole state, and whatever was known before is to be forgotten.
    ``keys`` and ``limits`` are null when they have not changed.
    """

    epoch: int
    revision: int
    at_s: float
    is_whole: bool = False
    keys: tuple[PublicKey, ...] | None = None
    limits: GuardLimits | None = None
    revocations: tuple[Revocation, ...] = ()
    standings: tuple[Standing, ...] = Field(
        default=(), description="changed ones; a subject in good standing is sent once with the default"
    )
