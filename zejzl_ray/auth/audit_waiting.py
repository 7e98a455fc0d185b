"""What waits to be written to an audit trail: facts in order, and counts of ordinary grants; both bounded."""

import os
from collections import deque
from typing import Final

from zejzl_ray.auth.audit_fact import Fact, make_fact

_MINUTE_S: Final = 60


class WaitingFacts:
    """Facts and counts on their way to the trail.

    Args:
        max_facts: that wait; what comes beyond is counted, and the count becomes a fact itself.
        max_counters: of pairs of subject and operation; grants beyond are counted as one.
    """

    def __init__(self, max_facts: int, max_counters: int) -> None:
        self._max_facts = max_facts
        self._max_counters = max_counters
        self._facts: deque[Fact] = deque()
        self._dropped = 0
        # (minute, subject, operation) -> grants; oldest minute first
        self._grants: dict[tuple[int, str, str], int] = {}
        self._other_grants = 0
        self._grants_seen_at = 0

    def __len__(self) -> int:
        """Return how many facts wait."""
        return len(self._facts)

    @property
    def counters(self) -> int:
        """How many counters of grants are kept."""
        return len(self._grants)

    def add(self, fact: Fact) -> int:
        """Have a fact wait, or count it as dropped when too many wait already; return how many wait."""
        waiting = len(self._facts)
        if waiting >= self._max_facts:
            self._dropped += 1
            return waiting
        if self._dropped:
            self._say_dropped(fact.at_s)
        self._facts.append(fact)
        return waiting + 1

    def add_first(self, fact: Fact) -> None:
        """Have a fact wait before all others, whatever their number."""
        self._facts.appendleft(fact)

    def count_grant(self, minute: int, subject: str, operation: str) -> None:
        """Count an ordinary grant in its minute."""
        key = (minute, subject, operation)
        found = self._grants.get(key)
        if found is not None:
            self._grants[key] = found + 1
        elif len(self._grants) < self._max_counters:
            self._grants[key] = 1
        else:
            self._other_grants += 1

    def take(self, limit: int, now_s: float, *, is_last: bool = False) -> list[Fact]:
        """Return the next facts in order, at most ``limit``, and take them out.

        Counts of minutes that are over follow the facts; with ``is_last`` those of the current minute as well.
        """
        if self._dropped and len(self._facts) < limit:
            self._say_dropped(now_s)
        taken = [self._facts.popleft() for _ in range(min(limit, len(self._facts)))]
        minute = int(now_s // _MINUTE_S)
        if len(taken) < limit and (is_last or minute != self._grants_seen_at):
            taken += self._take_grants(limit - len(taken), minute, now_s, is_last)
        return taken

    def _take_grants(self, limit: int, minute: int, now_s: float, is_last: bool) -> list[Fact]:
        over = [key for key in self._grants if is_last or key[0] != minute]
        facts = [_grants_counted(now_s, *key, self._grants.pop(key)) for key in over[:limit]]
        if len(over) <= limit:
            # Nothing can become due before the minute has changed again.
            self._grants_seen_at = minute
            if self._other_grants and len(facts) < limit:
                facts.append(_grants_counted(now_s, minute, "", "", self._other_grants))
                self._other_grants = 0
        return facts

    def _say_dropped(self, at_s: float) -> None:
        reason = f"More than {self._max_facts} entries waited; so many were not kept."
        self._facts.append(make_fact(at_s, "dropped", outcome="dropped", reason=reason, count=self._dropped))
        self._dropped = 0


def started(at_s: float) -> Fact:
    """Return the fact that a process has begun to write; its predecessor may have lost what it had not written."""
    return make_fact(at_s, "started", details={"process": str(os.getpid())})


def _grants_counted(now_s: float, minute: int, subject: str, operation: str, grants: int) -> Fact:
    reason = "" if subject else "Grants of callers beyond those that are counted one by one."
    return make_fact(
        now_s,
        "grants_counted",
        subject,
        operation,
        reason=reason,
        count=grants,
        details={"from_s": str(minute * _MINUTE_S), "seconds": str(_MINUTE_S)},
    )
