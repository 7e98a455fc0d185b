"""Which leases run out when, in a heap: a tick looks only at those that are due."""

import heapq


class LeaseTable:
    """Agent name -> end of its lease.

    A renewal changes one number; the heap keeps the older end and is corrected when that comes up, so each
    lease costs one heap operation a period however often it is renewed.
    """

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        # (end as it was when pushed, name); a name is in here at most once while it is in _queued
        self._heap: list[tuple[float, str]] = []
        self._queued: set[str] = set()

    def set(self, name: str, end_at_s: float) -> None:
        """Start or renew a lease. An end earlier than before is noticed only when the former one comes up."""
        self._ends[name] = end_at_s
        if name not in self._queued:
            self._queued.add(name)
            heapq.heappush(self._heap, (end_at_s, name))

    def drop(self, name: str) -> None:
        """Forget a lease; an absent one is no error."""
        self._ends.pop(name, None)

    def take_expired(self, now_s: float, limit: int) -> list[str]:
        """Return agents whose lease ended at or before ``now_s``; each is returned once until it is set again.

        Args:
            now_s: wall time.
            limit: heap entries looked at, at most.
        """
        expired: list[str] = []
        for _ in range(limit):
            if not self._heap or self._heap[0][0] > now_s:
                break
            _, name = heapq.heappop(self._heap)
            end_at_s = self._ends.get(name)
            if end_at_s is not None and end_at_s > now_s:
                heapq.heappush(self._heap, (end_at_s, name))
                continue
            self._queued.discard(name)
            if end_at_s is not None:
                expired.append(name)
        return expired

    def ends(self) -> dict[str, float]:
        """Return a copy of all leases, for checks."""
        return dict(self._ends)
