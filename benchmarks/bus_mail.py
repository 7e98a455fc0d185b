"""The mail of the bus's benchmarks: 100 bytes of content, each different; and what is counted of it."""

import statistics
from array import array
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from zejzl_ray.bus.message import Message

CONTENT_BYTES: Final = 100
CONTENT: Final = "100 bytes of content, each different"
OPEN_PER_S: Final = 15_000  # of the open loops
_BASE: Final = 0x1_0000  # so that every number takes five bytes as MessagePack
_TEXT_CHARS: Final = CONTENT_BYTES - len(msgspec.msgpack.encode({"n": _BASE, "text": "x" * 80})) + 80
_FILL: Final = "The quick brown fox jumps over the lazy dog and naps. " * 2


def content_of(number: int) -> dict[str, Any]:
    """Return 100 bytes of content (as MessagePack) that no other number below 4 billion has."""
    return {"n": _BASE + number, "text": f"{number:010d}{_FILL}"[:_TEXT_CHARS]}


def number_of(content: dict[str, Any]) -> int:
    """Return the number that made a content."""
    return int(content["n"]) - _BASE


def contents(count: int) -> list[dict[str, Any]]:
    """Return the contents 0 to ``count`` - 1; made before the clock runs, since they are the user's work."""
    return [content_of(number) for number in range(count)]


def baseline_message(from_agent: str, to_agent: str, content: dict[str, Any]) -> Message:
    """Return a message as it is under way: with an id as long as the bus's own, which costs next to nothing here."""
    return Message(from_agent, to_agent, "observation", content, id=f"msg-0123456789ab-{content['n']}")


class Arrivals:
    """Counts what arrived.

    Args:
        expected: numbers 0 to ``expected`` - 1 are sent.

    Attributes:
        count: how many came, one that came twice counted twice.
    """

    __slots__ = ("_seen", "count")

    def __init__(self, expected: int) -> None:
        self._seen = bytearray(expected)
        self.count = 0

    def add(self, content: dict[str, Any]) -> int:
        """Count one, and return how many there were."""
        self._seen[content["n"] - _BASE] = 1
        self.count += 1
        return self.count

    @property
    def missing(self) -> int:
        """How many did not arrive."""
        return self._seen.count(0)

    @property
    def repeated(self) -> int:
        """How many arrived again."""
        return self.count - (len(self._seen) - self.missing)


def times(count: int) -> "array[float]":
    """Return room for one time a message, without an object each."""
    return array("d", bytes(8 * count))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of all values do not exceed, 0 to 1; of at least one value."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)
