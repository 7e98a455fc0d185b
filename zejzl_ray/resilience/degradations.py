"""Which declared fallbacks are in use now, since when and why: what an agent's health shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import InvalidInput
from zejzl_ray.resilience.reason import shortened


@dataclass(frozen=True, slots=True)
class Degradation:
    """The state of one fallback, as a health check tells it.

    Attributes:
        name: what may be degraded.
        is_degraded: the fallback answers at present.
        reason: why, the last time; empty as long as it never happened.
        since_at_s: when the present use began, seconds since the epoch; None when it is not in use.
        last_at_s: when it answered last; None if never.
        uses: how often it has answered.
        recoveries: how often the real way came back.
    """

    name: str
    is_degraded: bool = False
    reason: str = ""
    since_at_s: float | None = None
    last_at_s: float | None = None
    uses: int = 0
    recoveries: int = 0


class Degradations:
    """The fallbacks of one agent, or of one process; for one thread at a time.

    Args:
        clock: where times come from.
        max_names: most fallbacks that are remembered. Beyond it the one that has been quiet for longest is forgotten,
            and those in use last.
    """

    def __init__(self, clock: Clock | None = None, max_names: int = 256) -> None:
        if max_names < 1:
            raise InvalidInput(f"max_names is {max_names}.", "Give 1 or more.")
        self._clock = clock or SystemClock()
        self._max_names = max_names
        # by name, the one that answered longest ago first
        self._known: dict[str, Degradation] = {}
        # when each fallback in use answered last, monotonic
        self._fell_s: dict[str, float] = {}
        self.forgotten = 0

    def declare(self, name: str) -> None:
        """Have a fallback shown although it was never used; safe to repeat."""
        if name not in self._known:
            self._keep(Degradation(name))

    def fell_back(self, name: str, reason: str) -> None:
        """Note that the fallback has answered, and why (at most 200 characters are kept)."""
        now_s = self._clock.now_s()
        old = self._known.pop(name, Degradation(name))
        self._fell_s[name] = self._clock.monotonic_s()
        self._keep(
            replace(
                old,
                is_degraded=True,
                reason=shortened(reason),
                since_at_s=old.since_at_s if old.is_degraded else now_s,
                last_at_s=now_s,
                uses=old.uses + 1,
            )
        )

    def recovered(self, name: str, started_s: float | None = None) -> None:
        """Note that the real way has answered.

        Args:
            name: the fallback.
            started_s: monotonic time when that call began. One that began before the latest failure says nothing
                about now and is ignored.
        """
        old = self._known.get(name)
        if old is None or not old.is_degraded:
            return
        if started_s is not None and started_s < self._fell_s[name]:
            return
        del self._fell_s[name]
        self._known[name] = replace(old, is_degraded=False, since_at_s=None, recoveries=old.recoveries + 1)

    def checks(self) -> tuple[Degradation, ...]:
        """Return every known fallback by name."""
        return tuple(self._known[name] for name in sorted(self._known))

    def in_use(self) -> tuple[Degradation, ...]:
        """Return those that answer at present, by name."""
        return tuple(known for known in self.checks() if known.is_degraded)

    def monotonic_s(self) -> float:
        """Return the time to hand to ``recovered`` later."""
        return self._clock.monotonic_s()

    def _keep(self, degradation: Degradation) -> None:
        if len(self._known) >= self._max_names:
            quiet = next((name for name, known in self._known.items() if not known.is_degraded), None)
            gone = quiet if quiet is not None else next(iter(self._known))
            del self._known[gone]
            self._fell_s.pop(gone, None)
            self.forgotten += 1
        self._known[degradation.name] = degradation


# of code that runs outside any agent
_OF_PROCESS: Final = Degradations()
_current: ContextVar[Degradations] = ContextVar("zejzl_degradations", default=_OF_PROCESS)


def current_degradations() -> Degradations:
    """Return the book of the agent whose code runs, or that of the process."""
    return _current.get()


@contextmanager
def using_degradations(book: Degradations) -> Iterator[Degradations]:
    """Have the fallbacks used within noted in ``book``, tasks that are started there included."""
    token = _current.set(book)
    try:
        yield book
    finally:
        _current.reset(token)
