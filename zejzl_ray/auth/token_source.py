"""Access tokens from a credential, renewed before they end, without a caller having to wait."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pydantic import SecretStr

from zejzl_ray.auth.ports import TokenIssuer
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.access import ANY_SERVICE
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken
from zejzl_ray.errors import (
    DeadlineExceeded,
    InvalidInput,
    ServiceUnavailable,
    Unauthenticated,
    Unavailable,
    ZejzlError,
)
from zejzl_ray.log import get_logger

_log = get_logger("security")
_RENEW_SHARE: Final = 2 / 3
_LAST_SHARE: Final = 0.02  # of its life; with so little left a token may end on its way
_LAST_S: Final = 5.0
_EXCHANGE_TIMEOUT_S: Final = 10.0
_PAUSE_S: Final = 1.0  # between two exchanges, whatever the reason
_REFUSED_PAUSE_S: Final = 5.0
_CLOSE_TIMEOUT_S: Final = 2.0

TokenKind = Literal["access", "credential", "service", "refresh"]
_PREFIXES: Final[dict[str, TokenKind]] = {"zk_": "credential", "zs_": "service", "zr_": "refresh"}
_JWT_DOTS: Final = 2


def token_kind(text: str) -> TokenKind:
    """Return what a text is by its looks, whether or not it counts.

    ``access`` is a signed token that can be used as it is, ``credential`` that of a subject, ``service`` that of a
    service, ``refresh`` a login's token for the next one.

    Raises:
        InvalidInput: it is none of them; the message does not hold it.
    """
    kind = _PREFIXES.get(text[:3])
    if kind is not None:
        return kind
    if text.count(".") == _JWT_DOTS and all(text.split(".")):
        return "access"
    raise InvalidInput(
        "This is no token and no credential.",
        "They begin with zk_, zs_ or zr_, or have three parts with dots.",
    )


class TokenProvider(Protocol):
    """Where a caller takes the token of its calls from."""

    async def token(self) -> SecretStr:
        """Return a token for the next call."""
        ...

    async def renewed(self, old: SecretStr) -> SecretStr:
        """Return a token in the place of ``old``, which a service has refused; the same one when there is no other."""
        ...

    async def close(self) -> None:
        """Stop renewing; safe to repeat."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    """A token and its times on the monotonic clock of this process."""

    token: SecretStr
    renew_at_s: float
    last_at_s: float
    ends_at_s: float


class TokenSource:
    """Exchanges a credential for access tokens.

    From 2/3 of its life on a token is renewed beside the calls that use it; only a call that finds none that is valid
    waits. While the gateway is away the old one is used until its end. Exchanges never run twice at once, and after a
    failed one there is a pause of 1 s, after a refusal one of 5 s. For one event loop.

    Args:
        credential: what the gateway exchanges.
        issuer: the gateway.
        clock: source of time; lives of tokens count from their arrival, so that clocks that disagree do no harm.
        scopes: ask for at most these grants; empty for all.
        audience: for which service; ``zejzl`` for all.
        sleep: waits so many seconds; a test hands in its own.
    """

    def __init__(
        self,
        credential: SecretStr,
        issuer: TokenIssuer,
        clock: Clock,
        *,
        scopes: Sequence[str] = (),
        audience: str = ANY_SERVICE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._credential = credential
        self._issuer = issuer
        self._clock = clock
        self._scopes = tuple(scopes)
        self._audience = audience
        self._sleep = sleep
        self._held: _Held | None = None
        self._exchange: asyncio.Task[_Held] | None = None
        self._exchanged_at_s = float("-inf")
        self._failure: ZejzlError | None = None
        self._pause_until_s = float("-inf")
        self._is_closed = False

    @property
    def left_s(self) -> float:
        """How long the token at hand still counts, in seconds; 0 when there is none."""
        return 0.0 if self._held is None else max(0.0, self._held.ends_at_s - self._clock.monotonic_s())

    async def token(self) -> SecretStr:
        """Return a token that is valid now.

        Raises:
            LoginRefused: the credential does not count, and no token is left.
            ServiceUnavailable: the gateway is away and no token is left.
        """
        now_s = self._clock.monotonic_s()
        held = self._held
        if held is not None and now_s < held.last_at_s:
            if now_s >= held.renew_at_s and now_s >= self._pause_until_s:
                self._begin()
            return held.token
        try:
            return (await self._next()).token
        except ZejzlError:
            if held is not None and self._clock.monotonic_s() < held.ends_at_s:
                return held.token
            raise

    async def renewed(self, old: SecretStr) -> SecretStr:
        """Return a token in the place of one that a service has refused.

        Many callers at once cost one exchange, and two exchanges are at least 1 s apart: who asks sooner waits.

        Raises:
            LoginRefused: the credential does not count any more.
            ServiceUnavailable: the gateway is away.
        """
        if self._is_current(old):
            wait_s = self._exchanged_at_s + _PAUSE_S - self._clock.monotonic_s()
            if wait_s > 0 and self._exchange is None:
                await self._sleep(wait_s)
        if self._held is not None and not self._is_current(old):
            return self._held.token
        return (await self._next()).token

    async def close(self) -> None:
        """Stop renewing; an exchange under way is given up. Safe to repeat."""
        self._is_closed = True
        if self._exchange is not None:
            self._exchange.cancel()
            await asyncio.wait({self._exchange}, timeout=_CLOSE_TIMEOUT_S)

    def _is_current(self, old: SecretStr) -> bool:
        return self._held is not None and self._held.token.get_secret_value() == old.get_secret_value()

    async def _next(self) -> _Held:
        if self._failure is not None and self._clock.monotonic_s() < self._pause_until_s:
            raise type(self._failure)(*self._failure.args)
        # Whoever is cancelled leaves the exchange to the others.
        return await asyncio.shield(self._begin())

    def _begin(self) -> "asyncio.Task[_Held]":
        if self._is_closed:
            raise ServiceUnavailable("This source of tokens is closed.")
        if self._exchange is None:
            self._exchange = asyncio.create_task(self._run(), name="token-exchange")
            self._exchange.add_done_callback(self._over)
        return self._exchange

    def _over(self, exchange: "asyncio.Task[_Held]") -> None:
        self._exchange = None
        error = None if exchange.cancelled() else exchange.exception()  # nobody may be waiting for it
        if error is not None and not isinstance(error, ZejzlError):
            _log.error("no new access token", error=type(error).__name__)

    async def _run(self) -> _Held:
        try:
            held = await self._ask()
        except ZejzlError as error:
            if self._failure is None:  # once, and not at every call
                # One that is away is seen in readiness; one that refuses is a fault of the set-up.
                say = _log.info if isinstance(error, Unavailable) else _log.warning
                say("no new access token", error=str(error))
            pause_s = _REFUSED_PAUSE_S if isinstance(error, Unauthenticated) else _PAUSE_S
            self._failure, self._pause_until_s = error, self._clock.monotonic_s() + pause_s
            raise
        self._held, self._failure = held, None
        self._exchanged_at_s = self._clock.monotonic_s()
        return held

    async def _ask(self) -> _Held:
        request = IssueToken(
            grant=CredentialGrant(credential=self._credential), scopes=self._scopes, audience=self._audience
        )
        try:
            async with asyncio.timeout(_EXCHANGE_TIMEOUT_S):
                tokens = await self._issuer.issue(request)
        except TimeoutError:
            raise ServiceUnavailable(
                f"The security gateway issued no token within {_EXCHANGE_TIMEOUT_S:g} s.", "Try again later."
            ) from None
        except ServiceUnavailable:
            raise
        except (Unavailable, DeadlineExceeded) as error:
            raise ServiceUnavailable(
                f"The security gateway issues no token: {error.message}", "Try again later."
            ) from error
        now_s = self._clock.monotonic_s()
        life_s = max(0.0, tokens.expires_at_s - tokens.issued_at_s)
        return _Held(
            token=tokens.access_token,
            renew_at_s=now_s + life_s * _RENEW_SHARE,
            last_at_s=now_s + life_s - min(_LAST_S, life_s * _LAST_SHARE),
            ends_at_s=now_s + life_s,
        )
