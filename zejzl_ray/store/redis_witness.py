"""Whether a primary whose replicas are away is still the primary, as the Sentinels of the cluster say.

A primary cannot tell replicas that are off from a cable of its own that is cut. Behind a cut cable Sentinel makes a
replica the primary, and whatever the old one acknowledges from then on is dropped when they see each other again.
So it asks, after a commit and before the acknowledgement: more than half of all Sentinels have to name it as a primary
that is well, and none that answers may say otherwise. More than half of them cannot be on both sides of a cut.

Guaranteed: a primary that loses its replicas and the other Sentinels at once, as by a cut cable, acknowledges nothing
more, however long Sentinel takes (``down-after-milliseconds``) to find a new one. One that is asked for its word while
another is being chosen hears of it from the Sentinel that chooses, where that one can be reached.

Not guaranteed: what is acknowledged with one copy, and so on the word of the Sentinels alone, is lost where this
primary is lost or cut off afterwards, before a replica has come back and caught up, and Sentinel then promotes one: it
promotes one that lags behind by up to ten times ``down-after-milliseconds`` too. One that was started meanwhile is left
alone for its ``replica-priority``.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

SENTINEL_PORT: Final = 26379
# Long enough for a new connection with TLS to a small machine; a commit waits that long for those that are silent.
ASK_LIMIT_S: Final = 0.5

Address = tuple[str, int]
Ask = Callable[[], Awaitable[Sequence[dict[str, str]]]]


class Voter:
    """One Sentinel.

    Args:
        name: for people.
        ask: returns the primaries that it watches, as ``SENTINEL MASTERS`` does.

    Attributes:
        is_there: whether it answered the last time.
    """

    def __init__(self, name: str, ask: Ask) -> None:
        self.name = name
        self.is_there = False
        self._ask = ask

    async def watched(self) -> Sequence[dict[str, str]] | None:
        """Return what it watches; None: it is silent."""
        self.is_there = False
        try:
            async with asyncio.timeout(ASK_LIMIT_S):
                told = await self._ask()
        except (RedisError, OSError, TimeoutError):
            return None
        self.is_there = True
        return told


class Witness:
    """All Sentinels of a cluster, asked about one primary.

    Args:
        voters: all of them, also the one beside the primary.
        primary: host and port of the primary, as the store's URL has them.
        close: closes their connections.
    """

    def __init__(
        self, voters: Sequence[Voter], primary: Address, close: Callable[[], Awaitable[None]]
    ) -> None:
        self._voters = voters
        self._primary = primary
        self.close = close

    async def objection(self) -> str:
        """Return why this may be the primary no longer; empty when more than half say that it is, and nobody else.

        One that was silent the last time is asked, and waited for, only where the others are not more than half.
        """
        here = await _addresses(self._primary)
        there = [voter for voter in self._voters if voter.is_there]
        silent = [voter for voter in self._voters if not voter.is_there]
        names = 0
        for voters in (there, silent):
            answers = await asyncio.gather(*(voter.watched() for voter in voters))
            for voter, watched in zip(voters, answers, strict=True):
                if watched is None:
                    continue
                its = next((one for one in watched if (one.get("ip", ""), one.get("port", "")) in here), None)
                if its is None:
                    return f"Sentinel at {voter.name} names another primary"
                flags = set(its.get("flags", "").split(","))
                if flags - {"master", "disconnected"}:
                    return f"Sentinel at {voter.name} doubts this primary ({its['flags']})"
                names += "disconnected" not in flags
            if 2 * names > len(self._voters):
                return ""
        return f"{names} of {len(self._voters)} Sentinels name this primary, which is not more than half"


def parse_sentinels(text: str) -> tuple[Address, ...]:
    """Return the addresses in ``host,host:port``; 26379 where no port is named.

    Raises:
        ValueError: there is none, one cannot be understood, or one stands there twice.
    """
    found: list[Address] = []
    for part in text.split(","):
        parts = urlsplit(f"//{part.strip()}")
        if not parts.hostname or parts.username or parts.path:
            raise ValueError
        found.append((parts.hostname, parts.port or SENTINEL_PORT))
    if len(set(found)) != len(found):
        raise ValueError
    return tuple(found)


def connect_witness(url: str, sentinels: Sequence[Address]) -> Witness:
    """Return the Sentinels of a cluster; no connection is made yet.

    Args:
        url: of the primary, ``redis://`` or ``rediss://``; its options for TLS are those of the Sentinels too, its user
            and password are not.
        sentinels: all of them.

    Raises:
        ValueError: the URL cannot be understood.
    """
    parts = urlsplit(url)
    clients: list[Redis] = []

    def voter(address: Address) -> Voter:
        host, port = address
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        client: Redis = Redis.from_url(
            urlunsplit(parts._replace(netloc=at, path="")),
            socket_timeout=ASK_LIMIT_S,
            socket_connect_timeout=ASK_LIMIT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=True,
        )
        clients.append(client)

        async def ask() -> Sequence[dict[str, str]]:
            # as two words: the client would parse the answer to one
            told: Any = await client.execute_command("SENTINEL", "MASTERS")  # type: ignore[no-untyped-call]  # has no types
            return [dict(zip(one[::2], one[1::2], strict=True)) for one in told]

        return Voter(at, ask)

    async def close() -> None:
        for client in clients:
            await client.aclose()

    voters = [voter(address) for address in sentinels]
    return Witness(voters, (parts.hostname or "", parts.port or 6379), close)


async def _addresses(primary: Address) -> set[tuple[str, str]]:
    """Return how a Sentinel may call the primary: as the URL does, or by the address behind the name."""
    host, port = primary
    found = {(host, str(port))}
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            told = await asyncio.get_running_loop().getaddrinfo(host, port)
        except OSError:
            return found
        found |= {(cast(str, entry[4][0]), str(port)) for entry in told}
    return found
