"""A door for HTTP: from the ``Authorization`` header to a call whose caller is proved."""

import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from pydantic import SecretStr

from zejzl_ray.auth.credential_exchange import CredentialExchange
from zejzl_ray.contracts.access import AuthenticatedCall, Principal
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import Unauthenticated

C = TypeVar("C")

MAX_HEADER_BYTES: Final = 9216
_ONE_WORD: Final = re.compile(rb"[\x21-\x7e]+")
_CREDENTIALS: Final = ("zk_", "zs_")
_REMEDY: Final = (
    "Send 'Authorization: Bearer TOKEN'; `zejzl up` prints where the first one lies, `zejzl login` gets one."
)


class Checks(Protocol):
    """What checks a call once its token is known; a ``Guard``."""

    async def admit(self, operation: Operation, request: Contract, call: CallContext) -> AuthenticatedCall:
        """Return the call with its caller, or raise."""
        ...

    async def identify(self, call: CallContext, address: str = "") -> Principal:
        """Return who is calling, whatever it is allowed, or raise."""
        ...


class BearerDoor:
    """Takes calls by their ``Authorization: Bearer`` header: an access token as it is, a credential after an exchange.

    Args:
        guard: checks the token and what it allows.
        exchange: turns a credential into an access token.
    """

    def __init__(self, guard: Checks, exchange: CredentialExchange) -> None:
        self._guard = guard
        self._exchange = exchange

    async def identify(
        self, call: CallContext, authorization: bytes | None, address: str = ""
    ) -> CallContext:
        """Return the call with an access token that counts, whatever it is allowed.

        Args:
            call: what else the caller sent; its token is replaced.
            authorization: the header; None when there is none.
            address: of the caller, for lock-outs.

        Raises:
            Unauthenticated: the header is no bearer header, or what it holds does not count.
            Unavailable: the gateway is away, and nothing is known of the credential.
        """

        async def use(known: CallContext) -> CallContext:
            await self._guard.identify(known, address)
            return known

        return await self._used(call, authorization, address, use)

    async def admit(
        self,
        operation: Operation,
        request: Contract,
        call: CallContext,
        authorization: bytes | None,
        address: str = "",
    ) -> AuthenticatedCall:
        """Return the call with the caller's access token and principal, allowed to do this.

        Raises:
            Unauthenticated: as ``identify``.
            ZejzlError: see ``Guard.admit``.
        """

        async def use(known: CallContext) -> AuthenticatedCall:
            return await self._guard.admit(operation, request, known)

        return await self._used(call, authorization, address, use)

    async def _used(
        self,
        call: CallContext,
        authorization: bytes | None,
        address: str,
        use: Callable[[CallContext], Awaitable[C]],
    ) -> C:
        text = bearer_of(authorization)
        if text is None or not text.startswith(_CREDENTIALS):
            return await use(_with_token(call, text))
        token = await self._exchange.access_token(text, address)
        try:
            return await use(_with_token(call, token))
        except Unauthenticated:
            # Kept from before a revocation, or signed with a key that is gone; whether the credential still counts, the
            # gateway knows.
            self._exchange.forget(text)
        return await use(_with_token(call, await self._exchange.access_token(text, address)))


def bearer_of(authorization: bytes | None) -> str | None:
    """Return the text after ``Bearer``; None when there is no header.

    Raises:
        Unauthenticated: another scheme, empty, too long, or not one word of ASCII.
    """
    if authorization is None:
        return None
    scheme, _, rest = authorization.partition(b" ")
    text = rest.strip()
    if scheme.lower() != b"bearer" or len(text) > MAX_HEADER_BYTES or _ONE_WORD.fullmatch(text) is None:
        raise Unauthenticated("header.Authorization: not a bearer token.", _REMEDY)
    return text.decode("ascii")


def _with_token(call: CallContext, text: str | None) -> CallContext:
    return call.model_copy(update={"token": None if text is None else SecretStr(text)})
