"""What this process still has to tell others of mail that is sent at least once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.ports import News

T = TypeVar("T")
Rejected = tuple[int, DeadLetterReason, str]
_MOST_RETRIES: Final = 10


class _Lists(Generic[T]):
    """host -> origin -> what to tell of the messages of that outbox."""

    def __init__(self) -> None:
        self._by_host: defaultdict[str, defaultdict[str, list[T]]] = defaultdict(lambda: defaultdict(list))

    def __contains__(self, host: str) -> bool:
        return host in self._by_host

    def add(self, host: str, origin: str, news: Iterable[T]) -> None:
        self._by_host[host][origin].extend(news)

    def take(self, host: str) -> dict[str, tuple[T, ...]]:
        if host not in self._by_host:
            return {}
        return {origin: tuple(news) for origin, news in self._by_host.pop(host).items()}


class DurableNews:
    """News by the process that is to hear them, until they are on their way.

    They hasten things: whoever did not hear them sends the message again after a while, and is told then.
    """

    def __init__(self) -> None:
        self._settled: _Lists[int] = _Lists()
        self._rejected: _Lists[Rejected] = _Lists()
        self._welcome: _Lists[int] = _Lists()
        self._retries: dict[str, int] = {}

    def settled(self, host: str, origin: str, sequences: Iterable[int]) -> None:
        """Have an outbox told that messages are acknowledged."""
        self._settled.add(host, origin, sequences)

    def rejected(self, host: str, origin: str, rejected: Rejected) -> None:
        """Have it told that a message was given up."""
        self._rejected.add(host, origin, (rejected,))

    def welcome(self, host: str, origin: str, sequences: Iterable[int]) -> None:
        """Have it told that messages may come (again)."""
        self._welcome.add(host, origin, sequences)

    def take(self, host: str, origin: str, oldest: Mapping[str, int]) -> News | None:
        """Take everything for a process; None when there is nothing.

        Args:
            host: which process.
            origin: of the outbox of this one; empty when it has none.
            oldest: as in ``News``.
        """
        if not oldest and not self._has(host):
            return None
        return News(
            origin=origin,
            oldest=dict(oldest),
            settled=self._settled.take(host),
            rejected=self._rejected.take(host),
            welcome=self._welcome.take(host),
        )

    def put_back(self, host: str, news: News) -> None:
        """Keep news that may not have been heard, and have them told again."""
        for origin, settled in news.settled.items():
            self._settled.add(host, origin, settled)
        for origin, rejected in news.rejected.items():
            self._rejected.add(host, origin, rejected)
        for origin, welcome in news.welcome.items():
            self._welcome.add(host, origin, welcome)
        if self._has(host):
            self._retries.setdefault(host, 0)

    def heard(self, host: str) -> None:
        """Learn that a process can be reached."""
        self._retries.pop(host, None)

    def to_retry(self) -> list[str]:
        """Return the processes that have to be told again now; one that is away for long is not told any more."""
        for host in tuple(self._retries):
            self._retries[host] += 1
            if self._retries[host] > _MOST_RETRIES:
                del self._retries[host]
                for news in (self._settled, self._rejected, self._welcome):
                    news.take(host)
        return [host for host in self._retries if self._has(host)]

    def _has(self, host: str) -> bool:
        return host in self._settled or host in self._rejected or host in self._welcome
