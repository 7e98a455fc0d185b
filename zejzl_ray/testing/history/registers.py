"""Is there an order of the calls on a register that explains all answers, and that real time allows?

The search of Wing and Gong with the memory of Lowe: calls are put in order one by one, always one that began before
every call that is not yet placed had ended; a set of placed calls together with the value that they lead to is tried
once only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zejzl_ray.testing.history.calls import Action, Call, Outcome

MAX_STEPS = 5_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the history of a register.

    Attributes:
        key: of the register.
        is_proven: false: the search was given up before it came to an end, so that nothing is known.
        text: what was found, and where it got stuck.
    """

    key: str
    is_proven: bool
    text: str


def check_register(
    key: str, calls: Sequence[Call], initial: str = "", max_steps: int = MAX_STEPS
) -> Finding | None:
    """Return None when the history is linearisable, else what is wrong.

    Args:
        key: of the register, for the text.
        calls: reads and swaps of it, in any order. Reads that brought no value say nothing and are left out.
        initial: value before the first call.
        max_steps: calls that are tried at most; about a microsecond each.
    """
    relevant = [call for call in calls if call.action is Action.SWAP or call.outcome is Outcome.OK]
    return _Search(key, relevant, initial, max_steps).run()


class _Search:
    """One search. Entries are beginnings and ends of calls in the order of time, in a list of links.

    Entry ``2 * i`` is the beginning of call ``i``, ``2 * i + 1`` its end; the last one is the list's head.
    """

    def __init__(self, key: str, calls: Sequence[Call], initial: str, max_steps: int) -> None:
        self._key = key
        self._calls = calls
        self._initial = initial
        self._max_steps = max_steps
        self._head = 2 * len(calls)
        self._next = [self._head] * (self._head + 1)
        self._before = [self._head] * (self._head + 1)
        self._open = 0
        timed = []
        for index, call in enumerate(calls):
            timed.append((call.began_s, 0, 2 * index))
            if call.outcome is not Outcome.UNKNOWN:
                timed.append((call.ended_s, 1, 2 * index + 1))
                self._open += 1
        last = self._head
        # At the same moment beginnings come first: then the calls overlap, which forbids less.
        for _, _, entry in sorted(timed):
            self._next[last], self._before[entry] = entry, last
            last = entry
        self._next[last], self._before[self._head] = self._head, last

    def run(self) -> Finding | None:
        """Search; the value of the register is the only state."""
        calls, following = self._calls, self._next
        value, placed = self._initial, 0
        seen: set[tuple[int, str]] = set()
        path: list[tuple[int, str]] = []
        farthest: tuple[int, int, str] = (-1, self._head, value)
        entry = following[self._head]
        for _ in range(self._max_steps):
            if not self._open:
                return None
            index, is_end = divmod(entry, 2)
            if not is_end:
                after = _do(calls[index], value)
                state = None if after is None else (placed | 1 << index, after)
                if state is None or state in seen:
                    entry = following[entry]
                    continue
                seen.add(state)
                path.append((index, value))
                placed, value = state
                self._lift(index)
                entry = following[self._head]
                continue
            if len(path) > farthest[0]:
                farthest = (len(path), index, value)
            if not path:  # everything that could come first was tried
                return self._not_linearisable(farthest)
            index, value = path.pop()
            placed ^= 1 << index
            self._put_back(index)
            entry = following[2 * index]
        return Finding(
            self._key, False, f"{self._key}: no order of {len(calls)} calls found in {self._max_steps} steps"
        )

    def _not_linearisable(self, farthest: tuple[int, int, str]) -> Finding:
        count, index, value = farthest
        return Finding(
            self._key,
            True,
            f"{self._key}: no order explains what {len(self._calls)} calls were told; after {count} of them, with "
            f"{value!r} in the register, there is no place for: {self._calls[index]}",
        )

    def _lift(self, index: int) -> None:
        for entry in self._entries(index):
            self._next[self._before[entry]] = self._next[entry]
            self._before[self._next[entry]] = self._before[entry]
        self._open -= self._calls[index].outcome is not Outcome.UNKNOWN

    def _put_back(self, index: int) -> None:
        for entry in reversed(self._entries(index)):
            self._next[self._before[entry]] = entry
            self._before[self._next[entry]] = entry
        self._open += self._calls[index].outcome is not Outcome.UNKNOWN

    def _entries(self, index: int) -> tuple[int, ...]:
        is_open = self._calls[index].outcome is Outcome.UNKNOWN
        return (2 * index,) if is_open else (2 * index, 2 * index + 1)


def _do(call: Call, value: str) -> str | None:
    """Return the value after the call; None when it cannot have got its answer here.

    What is unknown is only placed where it changes something: elsewhere leaving it out says the same.
    """
    if call.action is Action.READ:
        return value if call.value == value else None
    is_fitting = call.expected == value
    if call.outcome is Outcome.REFUSED:
        return None if is_fitting else value
    return call.value if is_fitting else None
