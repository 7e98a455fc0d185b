"""A verifying process without a gateway: real keys, tokens and limits, and an audit trail that a test can read."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.guard import Guard
from zejzl_ray.auth.key_set import KeySet
from zejzl_ray.auth.observations import Observer
from zejzl_ray.auth.rate_limits import RateLimits
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.auth.token_signing import sign_token
from zejzl_ray.auth.token_verifier import TokenVerifier
from zejzl_ray.auth.verified_tokens import VerifiedTokens
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext, Forwarded
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.policy import AddressPolicy, RatePolicy
from zejzl_ray.contracts.security_feed import FeedBatch, GuardLimits
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.testing import ManualClock

SERVICE = "store_room"


class Inner(Contract):
    owner: str = ""


class Ask(Contract):
    name: str = ""
    user: str = ""
    deep: Inner = Inner()
    many: tuple[Inner, ...] = ()


def operation(action: str = "read", **options: Any) -> Operation:
    """Return an operation of the service whose scope has this action."""
    name = options.pop("name", f"{action}_box")
    scope = "" if options.get("is_public") else f"{SERVICE}:boxes:{action}"
    path = options.pop("path", "/v1/boxes/{name}")
    return Operation(name, SERVICE, Ask, Ask, scope, "POST", path, **options)


READ = operation("read")
WRITE = operation("write")
PUBLIC = operation("login", is_public=True)
OWN = operation("write", name="change_box", own_scope=f"{SERVICE}:boxes:own", own_field="name")

LIMITS = GuardLimits(
    rate=RatePolicy(burst_per_s=50, sustained_per_min=1000),
    address_rate=RatePolicy(burst_per_s=20, sustained_per_min=500),
    addresses=AddressPolicy(),
)


class Trail:
    """An ``AuditRecorder`` that keeps what it was told."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.counted: list[tuple[str, str]] = []

    def record(
        self,
        kind: str,
        *,
        subject: str = "",
        operation: str = "",
        target: str = "",
        outcome: str = "ok",
        reason: str = "",
        address: str = "",
        request_id: str = "",
        count: int = 1,
        details: Mapping[str, str] | None = None,
    ) -> None:
        self.entries.append(
            {
                "kind": kind, "subject": subject, "operation": operation, "target": target, "outcome": outcome,
                "reason": reason, "address": address, "request_id": request_id, "count": count,
            }
        )  # fmt: skip

    def count_grant(self, subject: str, operation: str) -> None:
        self.counted.append((subject, operation))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["kind"] == kind]


def public_key(kid: str, key: Ed25519PrivateKey) -> PublicKey:
    raw = key.public_key().public_bytes_raw()
    return PublicKey(kid=kid, x=base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@dataclass
class ProcessBench:
    """A guard and what it stands on; ``published`` is what a fetch of the keys would bring."""

    is_required: bool = True
    clock: ManualClock = field(default_factory=ManualClock)
    trail: Trail = field(default_factory=Trail)
    published: list[PublicKey] = field(default_factory=list)
    fetches: int = 0

    def __post_init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.published = [public_key("k1", self.key)]
        self.keys = KeySet(self.clock, fetch=self._fetch)
        self.state = SecurityState(self.clock, keys=self.keys)
        self.observer = Observer(self.clock)
        self.rates = RateLimits(self.clock)
        self.tokens = VerifiedTokens(TokenVerifier(self.keys, self.clock), self.state.revocations, self.clock)
        self.guard = Guard(
            SERVICE,
            self.state,
            self.tokens,
            self.rates,
            self.trail,
            self.clock,
            is_required=self.is_required,
            observer=self.observer,
        )
        self._number = 0

    async def _fetch(self) -> Sequence[PublicKey]:
        self.fetches += 1
        return self.published

    def hear(self, **changes: Any) -> None:
        """Take news in; the first ones are the whole state."""
        first: dict[str, Any] = {}
        if not self.state.is_read:
            first = {"is_whole": True, "keys": tuple(self.published), "limits": LIMITS}
        batch = FeedBatch(
            epoch=changes.pop("epoch", 1),
            revision=self.state.revision + 1,
            at_s=self.clock.now_s(),
            **{**first, **changes},
        )
        self.state.apply(batch, self.clock.now_s())

    def claims(self, subject: str = "user:ada", grants: Sequence[str] = ("*:*:*",), **changes: Any) -> Claims:
        self._number += 1
        now_s = int(self.clock.now_s())
        fields: dict[str, Any] = {
            "subject": subject,
            "grants": tuple(grants),
            "audience": "zejzl",
            "session": "s1",
            "token_id": f"t{self._number}",
            "issued_at_s": now_s,
            "not_before_s": now_s,
            "expires_at_s": now_s + 900,
            "key_id": "k1",
        }
        return Claims(**{**fields, **changes})

    def token(
        self,
        subject: str = "user:ada",
        grants: Sequence[str] = ("*:*:*",),
        key: Ed25519PrivateKey | None = None,
        **changes: Any,
    ) -> str:
        """Return a signed token; ``changes`` are claims."""
        return sign_token(self.claims(subject, grants, **changes), key or self.key, issuer="zejzl")

    def call(
        self, subject: str = "user:ada", grants: Sequence[str] = ("*:*:*",), **changes: Any
    ) -> CallContext:
        """Return a call with a token of the subject."""
        return CallContext(token=SecretStr(self.token(subject, grants, **changes)), request_id="r1")

    def forwarded(self, address: str, *, grants: Sequence[str] = ("zejzl:address:report",)) -> Forwarded:
        """Return an address with the proof of the ingress."""
        return Forwarded(address=address, proof=SecretStr(self.token("service:ingress", grants)))
