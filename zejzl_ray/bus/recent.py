"""How much was sent lately."""

from collections import deque


class RecentCount:
    """A count over the last minute, to a second; costs one comparison a message."""

    __slots__ = ("_marks", "next_mark_s")

    def __init__(self, now_s: float) -> None:
        # (time, total before that time), one a second in which something was counted
        self._marks: deque[tuple[float, int]] = deque([(now_s, 0)], maxlen=62)
        self.next_mark_s = now_s + 1.0

    def mark(self, now_s: float, total: int) -> None:
        """Note the total; called when ``next_mark_s`` is over."""
        self._marks.append((now_s, total))
        self.next_mark_s = now_s + 1.0

    def within(self, now_s: float, seconds: float, total: int) -> int:
        """Return how many were counted in the last ``seconds``, at most 60."""
        since_s = now_s - seconds
        before = next((count for at_s, count in self._marks if at_s >= since_s), total)
        return total - before
