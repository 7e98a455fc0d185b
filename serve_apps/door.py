"""The door of the ingress: who may come in at all, and under which name a request goes on."""

from typing import Final, Protocol

from pydantic import SecretStr

from zejzl_ray.auth.bearer_door import BearerDoor
from zejzl_ray.auth.process_security import ProcessSecurity
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext, Forwarded
from zejzl_ray.contracts.health import Check
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.tokens import IssueToken, SignatureGrant

_ANYBODY: Final = CallContext()


class Door(Protocol):
    """What the application needs of the security of its process."""

    @property
    def is_required(self) -> bool:
        """Whether requests need a token; false only on a developer's machine."""
        ...

    def enter(self, address: str) -> None:
        """Take note of a request from an address.

        Raises:
            Forbidden: the address may not come in.
            RateLimited: too many requests from it.
        """
        ...

    async def identify(self, authorization: bytes | None, address: str, request_id: str) -> str | None:
        """Return the access token under which a request goes on; None where none is needed.

        Raises:
            Unauthenticated: the header does not prove who is calling.
        """
        ...

    async def recheck(self, token: str | None) -> None:
        """Look again whether a token counts that ``identify`` has returned, for answers that take long.

        Raises:
            Unauthenticated: it has expired, or was revoked.
        """
        ...

    async def exchange(self, grant: SignatureGrant, address: str) -> str:
        """Return the access token of a signed request.

        Raises:
            LoginRefused: the signature does not count, or was used for something else.
        """
        ...

    async def forwarded(self, address: str) -> Forwarded | None:
        """Return what tells a service where a request came from."""
        ...

    async def admit(
        self, operation: Operation, request: Contract, call: CallContext, address: str
    ) -> CallContext:
        """Return the call if its caller may do this here, in the ingress itself; see ``Guard.admit``."""
        ...

    def checks(self) -> tuple[Check, ...]:
        """Return how the door itself is, for readiness."""
        ...

    async def start(self) -> None:
        """Begin to follow what decides; safe to repeat."""
        ...

    async def stop(self) -> None:
        """Write what is pending and stop; safe to repeat."""
        ...


class GatewayDoor:
    """The door as the security gateway wants it."""

    def __init__(self, security: ProcessSecurity, access: GatewayAccess) -> None:
        self._security = security
        self._access = access
        access.watch_own_token(security.guard)
        self._bearer = BearerDoor(security.guard, access.exchange())
        self._exchange = access.issue_for

    @property
    def is_required(self) -> bool:
        """Whether requests need a token."""
        return self._security.guard.is_required

    def enter(self, address: str) -> None:
        """Take note of a request from an address."""
        self._security.guard.admit_address(address)

    async def identify(self, authorization: bytes | None, address: str, request_id: str) -> str | None:
        """Return the access token under which a request goes on."""
        asked = _ANYBODY.model_copy(update={"request_id": request_id})
        call = await self._bearer.identify(asked, authorization, address)
        return None if call.token is None else call.token.get_secret_value()

    async def recheck(self, token: str | None) -> None:
        """Look again whether a token counts."""
        await self._security.guard.identify(CallContext(token=None if token is None else SecretStr(token)))

    async def exchange(self, grant: SignatureGrant, address: str) -> str:
        """Return the access token of a signed request."""
        tokens = await self._exchange(IssueToken(grant=grant), address)
        return tokens.access_token.get_secret_value()

    async def forwarded(self, address: str) -> Forwarded | None:
        """Return what tells a service where a request came from."""
        return Forwarded(address=address, proof=await self._access.proof()) if address else None

    async def admit(
        self, operation: Operation, request: Contract, call: CallContext, address: str
    ) -> CallContext:
        """Return the call if its caller may do this here."""
        return await self._security.admit(operation, request, call, seen_from=address)

    def checks(self) -> tuple[Check, ...]:
        """Return how news and audit trail are."""
        return self._security.checks()

    async def start(self) -> None:
        """Begin to follow the gateway."""
        self._security.launch()

    async def stop(self) -> None:
        """Write what the audit trail holds and stop following."""
        await self._security.stop()
        await self._access.close()
