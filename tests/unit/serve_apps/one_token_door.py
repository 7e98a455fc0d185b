"""A door that knows one token, whose holder may do everything."""

from zejzl_ray.auth.bearer_door import bearer_of
from zejzl_ray.contracts.access import AuthenticatedCall, Principal
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext, Forwarded
from zejzl_ray.contracts.health import Check
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.tokens import SignatureGrant
from zejzl_ray.errors import Forbidden, TokenRevoked, Unauthenticated, ZejzlError

OWNER = Principal(subject="user:owner", grants=("*:*:*",))


class OneTokenDoor:
    """Admits the holder of one token; notes what it was asked.

    Attributes:
        refused_scopes: scopes that the holder lacks.
        entry_error: raised for every address, when it is set.
        signatures: the signed requests that came.
    """

    def __init__(self, token: str, *, is_required: bool = True) -> None:
        self._token = token
        self._is_required = is_required
        self.refused_scopes: set[str] = set()
        self.entry_error: ZejzlError | None = None
        self.entered: list[str] = []
        self.signatures: list[SignatureGrant] = []
        self.admitted: list[str] = []
        self.is_running = False
        self.is_revoked = False
        self.own_checks: tuple[Check, ...] = ()

    @property
    def is_required(self) -> bool:
        return self._is_required

    def enter(self, address: str) -> None:
        self.entered.append(address)
        if self.entry_error is not None:
            raise self.entry_error

    async def identify(self, authorization: bytes | None, address: str, request_id: str) -> str | None:
        text = bearer_of(authorization)
        if text is None and not self._is_required:
            return None
        if text != self._token:
            raise Unauthenticated("The request carries no valid token.", "Send one.")
        return text

    async def recheck(self, token: str | None) -> None:
        if self.is_revoked:
            raise TokenRevoked("The token was revoked.")

    async def exchange(self, grant: SignatureGrant, address: str) -> str:
        self.signatures.append(grant)
        return self._token

    async def forwarded(self, address: str) -> Forwarded | None:
        return None

    async def admit(
        self, operation: Operation, request: Contract, call: CallContext, address: str
    ) -> CallContext:
        if operation.scope in self.refused_scopes:
            raise Forbidden(f"The caller lacks the scope {operation.scope}.")
        self.admitted.append(operation.key)
        return AuthenticatedCall(**{**dict(call), "principal": OWNER})

    def checks(self) -> tuple[Check, ...]:
        return self.own_checks

    async def start(self) -> None:
        self.is_running = True

    async def stop(self) -> None:
        self.is_running = False
