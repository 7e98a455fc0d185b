"""Keeps mail that is sent at least once in its order when some of it could not be taken."""

import heapq
from typing import Final

_HOLDS_S: Final = 2.0  # long enough for what was on its way already
_MOST: Final = 4096  # outboxes and receivers

Key = tuple[str, str]  # origin, receiver


class _Missing:
    """Sequences that were not taken and will come again."""

    __slots__ = ("_heap", "_until_s")

    def __init__(self) -> None:
        self._until_s: dict[int, float] = {}
        self._heap: list[int] = []

    def add(self, sequence: int, until_s: float) -> None:
        if sequence not in self._until_s:
            heapq.heappush(self._heap, sequence)
        self._until_s[sequence] = until_s

    def discard(self, sequence: int) -> None:
        self._until_s.pop(sequence, None)

    def lowest(self, now_s: float) -> int | None:
        """Return the lowest that is still waited for."""
        heap = self._heap
        while heap:
            until_s = self._until_s.get(heap[0])
            if until_s is not None and until_s > now_s:
                return heap[0]
            self._until_s.pop(heapq.heappop(heap), None)
        return None


class OrderGate:
    """Which messages may not go in yet: those behind one of the same outbox and receiver that was not taken.

    The sender sends that one again before all behind it; only what was on its way already could overtake it. Nothing is
    waited for longer than a moment: the message may have been given up meanwhile.
    """

    def __init__(self) -> None:
        self._missing: dict[Key, _Missing] = {}

    def close(self, origin: str, agent: str, sequence: int, now_s: float) -> None:
        """Learn that a message was not taken and will come again.

        Args:
            origin: of the outbox that it comes from.
            agent: its receiver.
            sequence: of the message.
            now_s: monotonic time.
        """
        missing = self._missing.get((origin, agent))
        if missing is None:
            if len(self._missing) >= _MOST:
                open_now = [key for key, each in self._missing.items() if each.lowest(now_s) is None]
                for key in open_now or [next(iter(self._missing))]:
                    del self._missing[key]
            missing = self._missing[origin, agent] = _Missing()
        missing.add(sequence, now_s + _HOLDS_S)

    def lets_in(self, origin: str, agent: str, sequence: int, now_s: float) -> bool:
        """Tell whether a message may go in now; one that may is not waited for any more."""
        if not self._missing:
            return True
        missing = self._missing.get((origin, agent))
        if missing is None:
            return True
        lowest = missing.lowest(now_s)
        if lowest is not None and lowest < sequence:
            return False
        missing.discard(sequence)
        if missing.lowest(now_s) is None:
            del self._missing[origin, agent]
        return True
