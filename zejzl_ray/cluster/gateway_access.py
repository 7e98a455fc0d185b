"""How a process of the cluster reaches the gateway, and everybody else, under its own name."""

from collections.abc import Awaitable, Callable

from pydantic import SecretStr

from zejzl_ray.auth.authorised_caller import AuthorisedCaller
from zejzl_ray.auth.bearer_door import BearerDoor, Checks
from zejzl_ray.auth.credential_exchange import CredentialExchange
from zejzl_ray.auth.ports import AuditSink, FeedSource
from zejzl_ray.auth.process_security import SecurityPorts
from zejzl_ray.auth.token_source import TokenSource
from zejzl_ray.clock import Clock
from zejzl_ray.cluster.actor_caller import ActorCaller
from zejzl_ray.cluster.gateway_ports import GatewayAudit, GatewayFeed, GatewayIssuer, GatewayObservations
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.call import CallContext, Forwarded
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.services import health_operation, metrics_operation
from zejzl_ray.contracts.tokens import IssueToken, Tokens
from zejzl_ray.errors import Unauthenticated

CALL_TIMEOUT_S = 5.0


class GatewayAccess:
    """Calls under the name of one credential: tokens are fetched, kept and renewed by themselves.

    Attributes:
        actors: calls without a token of its own, for those that bring theirs.
        tokens: the access token of this process.
        caller: calls any service, with that token where a call brings none.
        gateway: the gateway's typed client over ``caller``.
    """

    def __init__(
        self, namespace: str, credential: SecretStr, clock: Clock, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        self._clock = clock
        self.actors: Caller = ActorCaller(namespace, timeout_s=timeout_s)
        self._anonymous = SecurityGatewayClient(self.actors)
        self.tokens = TokenSource(credential, GatewayIssuer(self._anonymous), clock)
        self.caller: Caller = AuthorisedCaller(self.actors, self.tokens)
        self.gateway = SecurityGatewayClient(self.caller)
        self.audit = GatewayAudit(self.gateway)
        self._guard: Checks | None = None

    def ports(self, audit: AuditSink, *, feed: FeedSource | None = None) -> SecurityPorts:
        """Return where a process with this access reads and writes.

        Args:
            audit: keeps the trail of the process.
            feed: None follows the gateway over its handle.
        """
        return SecurityPorts(
            feed=feed or GatewayFeed(self.gateway),
            audit=audit,
            anchor=self.audit.anchor,
            observations=GatewayObservations(self.gateway),
        )

    def watch_own_token(self, guard: Checks) -> None:
        """Have ``proof`` look at its own token with a guard of this process, which hears of revocations first."""
        self._guard = guard

    async def proof(self) -> SecretStr:
        """Return the own access token, for those who are to be told something in this process's name.

        A service leaves out what a token says that counts no more, so that one is renewed before.

        Raises:
            ServiceUnavailable: there is none, and the gateway is away.
        """
        token = await self.tokens.token()
        if self._guard is None:
            return token
        try:
            await self._guard.identify(CallContext(token=token))
        except Unauthenticated:
            return await self.tokens.renewed(token)
        return token

    async def issue_for(self, request: IssueToken, address: str) -> Tokens:
        """Exchange another caller's proof for a token, saying from where it came."""
        forwarded = (
            Forwarded(address=address, proof=await self.proof(), is_exchange=True) if address else None
        )
        return await self._anonymous.issue_token(request, CallContext(forwarded=forwarded))

    def exchange(self) -> CredentialExchange:
        """Return what turns other callers' credentials into tokens."""
        return CredentialExchange(self.issue_for, self._clock)

    def health_door(self, service: str, guard: Checks) -> Callable[[str, bytes | None], Awaitable[None]]:
        """Return who may look at the health port of a service."""
        door = BearerDoor(guard, self.exchange())
        operations = {"health": health_operation(service), "metrics": metrics_operation(service)}

        async def admit(what: str, authorization: bytes | None) -> None:
            await door.admit(operations[what], GetHealth(), CallContext(), authorization)

        return admit

    async def close(self) -> None:
        """Stop renewing and forget the handles; safe to repeat."""
        await self.tokens.close()
        await self.caller.close()
