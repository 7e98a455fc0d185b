"""The gateway as the verifying side sees it: feed, tokens, audit trail and observations over any caller."""

from collections.abc import Sequence

from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.audit import AnchorAudit, AuditRecorded, ChainHead, RecordAudit
from zejzl_ray.contracts.security_feed import FeedBatch, WatchFeed
from zejzl_ray.contracts.tokens import GetKeys, IssueToken, PublicKey, Tokens
from zejzl_ray.contracts.trust import Observation, ReportObservations


class GatewayFeed:
    """A ``FeedSource`` over calls."""

    def __init__(self, gateway: SecurityGatewayClient) -> None:
        self._gateway = gateway

    async def watch(self, request: WatchFeed) -> FeedBatch:
        """Return what has changed, at the latest after ``request.timeout_s``."""
        return await self._gateway.watch_feed(request)

    async def fetch_keys(self) -> Sequence[PublicKey]:
        """Return the public keys as they are now."""
        return (await self._gateway.get_keys(GetKeys())).keys


class GatewayIssuer:
    """A ``TokenIssuer`` over calls."""

    def __init__(self, gateway: SecurityGatewayClient) -> None:
        self._gateway = gateway

    async def issue(self, request: IssueToken) -> Tokens:
        """Return new tokens."""
        return await self._gateway.issue_token(request)


class GatewayAudit:
    """Anchors, and the entries of a process without a store, over calls."""

    def __init__(self, gateway: SecurityGatewayClient) -> None:
        self._gateway = gateway

    async def anchor(self, head: ChainHead) -> None:
        """Write the head of a chain into the gateway's chain."""
        await self._gateway.anchor_audit(AnchorAudit(head=head))

    async def record(self, request: RecordAudit) -> AuditRecorded:
        """Hand entries over."""
        return await self._gateway.record_audit(request)


class GatewayObservations:
    """An ``ObservationSink`` over calls."""

    def __init__(self, gateway: SecurityGatewayClient) -> None:
        self._gateway = gateway

    async def report(self, observations: Sequence[Observation]) -> None:
        """Hand them over."""
        await self._gateway.report_observations(ReportObservations(observations=tuple(observations)))
