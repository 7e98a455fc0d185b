"""A caller that proves who it is."""

from zejzl_ray.auth.token_source import TokenProvider
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import LoginRefused, Unauthenticated


class AuthorisedCaller:
    """A ``Caller`` that gives calls a token where they have none.

    A call that carries a token keeps it: a service that passes a call on does so in its caller's name. Public
    operations get none, since they need none, and one of them is how tokens are made. A token that the service does
    not take is renewed and the call is repeated once; that is safe for every operation, since such a refusal comes
    before anything is done.

    Args:
        inner: the way to the services.
        tokens: where tokens come from.
    """

    def __init__(self, inner: Caller, tokens: TokenProvider) -> None:
        self._inner = inner
        self._tokens = tokens

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        """Run the operation and return its reply.

        Raises:
            Unauthenticated: a renewed token was not taken either.
            LoginRefused: the credential does not count any more.
            ServiceUnavailable: there is no token, and the gateway is away.
            ZejzlError: what the service raised.
        """
        if operation.is_public or call.token is not None:
            return await self._inner.call(operation, request, call)
        token = await self._tokens.token()
        try:
            return await self._inner.call(operation, request, call.model_copy(update={"token": token}))
        except LoginRefused:
            raise
        except Unauthenticated:
            other = await self._tokens.renewed(token)
            if other.get_secret_value() == token.get_secret_value():
                raise
        return await self._inner.call(operation, request, call.model_copy(update={"token": other}))

    async def close(self) -> None:
        """Stop renewing and close the way to the services; safe to repeat."""
        try:
            await self._tokens.close()
        finally:
            await self._inner.close()
