"""The public keys that tokens are verified with, and how a process comes by one that it does not know yet."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.utils import base64url_decode

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.errors import InvalidInput

FETCH_TIMEOUT_S: Final = 10.0
UNKNOWN_FOR_S: Final = 60.0

Fetch = Callable[[], Awaitable[Sequence[PublicKey]]]


class KeySet:
    """Public keys by their id.

    A key that is gone from ``replace`` no longer counts. An unknown id makes this process ask for the keys, but
    whoever sends made-up ids cannot make it ask often: one question at a time, one a cool-down, and none again within
    a minute for an id that an answer did not hold.

    Args:
        clock: for the cool-down.
        fetch: asks the gateway for all keys; without it, keys come by ``replace`` alone.
        cooldown_s: least time between two questions, whether they were answered or not.
        max_unknown: most ids that are remembered as unknown; the oldest goes first.

    Attributes:
        revision: changes whenever a key comes or goes.
    """

    def __init__(
        self, clock: Clock, *, fetch: Fetch | None = None, cooldown_s: float = 5.0, max_unknown: int = 1024
    ) -> None:
        self.revision = 0
        self._clock = clock
        self._fetch = fetch
        self._cooldown_s = cooldown_s
        self._max_unknown = max_unknown
        self._keys: dict[str, Ed25519PublicKey] = {}
        # what each key was made from, so that a key that stays is the same object before and after
        self._documents: dict[str, PublicKey] = {}
        self._unknown_until_s: dict[str, float] = {}  # oldest first
        self._next_fetch_s = float("-inf")
        self._flight: asyncio.Task[bool] | None = None
        self._replacements = 0

    def __len__(self) -> int:
        """Return how many keys count."""
        return len(self._keys)

    def replace(self, keys: Iterable[PublicKey]) -> None:
        """Take these keys in place of all that were there.

        Raises:
            InvalidInput: two keys of one id, or no Ed25519 key; the keys are as they were.
        """
        documents: dict[str, PublicKey] = {}
        found: dict[str, Ed25519PublicKey] = {}
        for key in keys:
            if key.kid in documents:
                raise InvalidInput(f"Two public keys have the id {key.kid}.")
            documents[key.kid] = key
            found[key.kid] = self._keys[key.kid] if self._documents.get(key.kid) == key else _public_key(key)
        if documents != self._documents:
            self._keys, self._documents = found, documents
            self.revision += 1
        self._replacements += 1

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of this id; None when it is not known (any more). Two keys are the same if ``is`` says so."""
        return self._keys.get(kid)

    async def refresh(self, kid: str) -> bool:
        """Ask for the keys if that may bring an unknown one.

        Returns at once when there is nothing to ask or it is too early to ask; a question that fails is like one that
        brought nothing. Callers that come while a question is under way wait for its answer.

        Returns:
            Whether the key is known now.
        """
        if kid in self._keys:
            return True
        now_s = self._clock.monotonic_s()
        if self._fetch is None or self._unknown_until_s.get(kid, now_s) > now_s:
            return False
        if self._flight is None:
            if now_s < self._next_fetch_s:
                return False
            self._next_fetch_s = now_s + self._cooldown_s
            self._flight = asyncio.create_task(self._ask(self._fetch), name="fetch public keys")
        flight = self._flight
        # waiting, not awaiting: a caller that gives up takes the answer from nobody else
        await asyncio.wait({flight})
        if kid in self._keys:
            return True
        if not flight.cancelled() and flight.result():
            self._remember_unknown(kid)
        return False

    async def _ask(self, fetch: Fetch) -> bool:
        before = self._replacements
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                keys = await fetch()
            if self._replacements != before:
                return False  # keys that came meanwhile are newer: this answer must not bring one back that is gone
            self.replace(keys)
        except Exception:  # whatever failed: the id stays unknown, and the next question may bring it
            return False
        finally:
            self._flight = None
        return True

    def _remember_unknown(self, kid: str) -> None:
        self._unknown_until_s.pop(kid, None)
        self._unknown_until_s[kid] = self._clock.monotonic_s() + UNKNOWN_FOR_S
        if len(self._unknown_until_s) > self._max_unknown:
            del self._unknown_until_s[next(iter(self._unknown_until_s))]


def _public_key(key: PublicKey) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64url_decode(key.x))
    except ValueError as error:
        raise InvalidInput(f"The public key {key.kid} is no Ed25519 key.") from error
