"""What the verifying side needs of others."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from zejzl_ray.contracts.audit import AuditEntry, ChainHead
from zejzl_ray.contracts.security_feed import FeedBatch, WatchFeed
from zejzl_ray.contracts.tokens import IssueToken, PublicKey, Tokens
from zejzl_ray.contracts.trust import Observation


class FeedSource(Protocol):
    """Where keys, revocations and standings come from: the gateway, over whatever way."""

    async def watch(self, request: WatchFeed) -> FeedBatch:
        """Return what has changed, at the latest after ``request.timeout_s``."""
        ...

    async def fetch_keys(self) -> Sequence[PublicKey]:
        """Return the public keys as they are now."""
        ...


class TokenIssuer(Protocol):
    """Who exchanges a proof for an access token."""

    async def issue(self, request: IssueToken) -> Tokens:
        """Return new tokens.

        Raises:
            LoginRefused: the proof does not count.
            Unavailable: the gateway is away; safe to repeat.
        """
        ...


class AuditRecorder(Protocol):
    """Who writes the audit trail of this process."""

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
        """Take note of one thing; returns at once and never raises."""
        ...

    def count_grant(self, subject: str, operation: str) -> None:
        """Count an ordinary grant; one entry a subject, operation and minute."""
        ...


class AuditSink(Protocol):
    """Where the entries of a chain are kept."""

    async def head(self, chain: str) -> ChainHead | None:
        """Return where the chain stands; null for a new one."""
        ...

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Keep the entries, all of one chain and in order; durable on return; repeating it is safe."""
        ...


class ObservationSink(Protocol):
    """Who wants to know of refused calls: the detectors of the gateway."""

    async def report(self, observations: Sequence[Observation]) -> None:
        """Hand them over; may be lost when the gateway is away."""
        ...
