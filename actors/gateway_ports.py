"""What the gateway's own process needs of the gateway, without a call to itself."""

from collections.abc import Awaitable, Callable, Sequence

from zejzl_ray.auth.audit_remote import RemoteAuditSink
from zejzl_ray.auth.process_security import SecurityPorts
from zejzl_ray.cluster.local_plan import MASTER_KEY_FILE
from zejzl_ray.cluster.names import SECURITY_GATEWAY
from zejzl_ray.cluster.secret_file import read_secret
from zejzl_ray.contracts.access import AuthenticatedCall, Principal
from zejzl_ray.contracts.audit import AuditRecorded, ChainHead, RecordAudit
from zejzl_ray.contracts.security_feed import FeedBatch, WatchFeed
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.contracts.trust import Observation, ReportObservations
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.service import SecurityGateway
from zejzl_ray.settings import Settings

Gateway = Callable[[], Awaitable[SecurityGateway]]


def master_keys(settings: Settings) -> MasterKeys:
    """Return the master keys of this machine.

    Raises:
        Unauthenticated: the machine has no key file.
        ClusterError: others may read it.
    """
    path = settings.data_path / MASTER_KEY_FILE
    remedy = "`zejzl up` makes it; on a further machine copy it from the first one, mode 600."
    return MasterKeys.parse(read_secret(path, what="master key", remedy=remedy).get_secret_value())


def own_ports(gateway: Gateway) -> SecurityPorts:
    """Return what the check of the gateway's process reads and writes."""
    own = _OwnGateway(gateway)
    return SecurityPorts(
        feed=own, audit=RemoteAuditSink(own.record, own.head), anchor=own.anchor, observations=own
    )


def _own_call() -> AuthenticatedCall:
    return AuthenticatedCall(principal=Principal(subject=f"service:{SECURITY_GATEWAY}"))


class _OwnGateway:
    """The gateway behind the ports of the verifying side."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def watch(self, request: WatchFeed) -> FeedBatch:
        """Return what has changed, at the latest after ``request.timeout_s``."""
        return await (await self._gateway()).watch(request)

    async def fetch_keys(self) -> Sequence[PublicKey]:
        """Return the public keys as they are now."""
        return await (await self._gateway()).fetch_keys()

    async def report(self, observations: Sequence[Observation]) -> None:
        """Hand observations to the detectors."""
        request = ReportObservations(observations=tuple(observations))
        await (await self._gateway()).report_observations(request, _own_call())

    async def record(self, request: RecordAudit) -> AuditRecorded:
        """Keep entries of this process's chain."""
        return await (await self._gateway()).keep_entries(request)

    async def anchor(self, head: ChainHead) -> None:
        """Write where that chain stands into the gateway's own."""
        await (await self._gateway()).keep_anchor(head)

    async def head(self, chain: str) -> ChainHead | None:
        """Return where a chain stands."""
        return await (await self._gateway()).chain_head(chain)
