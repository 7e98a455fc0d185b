"""What a caller showed at a door, turned into an access token that services accept."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from pydantic import SecretStr

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken, Tokens
from zejzl_ray.errors import LoginRefused, ZejzlError

MAX_KEPT: Final = 4096
REFUSED_FOR_S: Final = 2.0  # an honest caller with a wrong credential is not sped up by asking again at once
_FRESH_SHARE: Final = 2 / 3

Issue = Callable[[IssueToken, str], Awaitable[Tokens]]


@dataclass(frozen=True, slots=True)
class _Kept:
    token: str
    renew_at_s: float
    expires_at_s: float
    refusal: ZejzlError | None = None


class CredentialExchange:
    """Exchanges credentials for access tokens and keeps those, so that a caller costs one exchange in a while.

    Kept by a digest of the credential; at most ``MAX_KEPT``. Equal credentials are exchanged once at a time. A refused
    one is refused again without asking for 2 s.

    Args:
        issue: asks the gateway; the second argument is the caller's address.
        clock: source of time.
    """

    def __init__(self, issue: Issue, clock: Clock) -> None:
        self._issue = issue
        self._clock = clock
        # digest of the credential -> its token, or how it was refused; oldest use first
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[Tokens]] = {}

    async def access_token(self, credential: str, address: str = "") -> str:
        """Return an access token for a credential.

        Raises:
            LoginRefused: the credential does not count.
            Unavailable: the gateway is away and no token is kept.
        """
        key = sha256(credential.encode()).digest()
        now_s = self._clock.now_s()
        kept = self._kept.get(key)
        if kept is not None and now_s < kept.renew_at_s:
            self._kept.move_to_end(key)
            if kept.refusal is not None:
                raise type(kept.refusal)(*kept.refusal.args)
            return kept.token
        try:
            tokens = await self._once(key, credential, address)
        except LoginRefused as error:
            self._keep(key, _Kept("", now_s + REFUSED_FOR_S, now_s + REFUSED_FOR_S, error))
            raise
        except ZejzlError:
            if kept is not None and kept.refusal is None and self._clock.now_s() < kept.expires_at_s:
                return kept.token  # the gateway is away; what it said before still holds
            raise
        token = tokens.access_token.get_secret_value()
        fresh_s = (tokens.expires_at_s - tokens.issued_at_s) * _FRESH_SHARE
        self._keep(key, _Kept(token, tokens.issued_at_s + fresh_s, tokens.expires_at_s))
        return token

    def forget(self, credential: str) -> None:
        """Drop the kept token of a credential, because a guard has refused it."""
        self._kept.pop(sha256(credential.encode()).digest(), None)

    async def _once(self, key: bytes, credential: str, address: str) -> Tokens:
        task = self._under_way.get(key)
        if task is None:
            request = IssueToken(grant=CredentialGrant(credential=SecretStr(credential)))
            task = asyncio.ensure_future(self._issue(request, address))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(task)

    def _over(self, key: bytes, task: "asyncio.Task[Tokens]") -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # nobody may wait for it any more

    def _keep(self, key: bytes, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
