"""How often something that comes in floods is written down."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from zejzl_ray.clock import Clock

_PERIOD_S: Final = 60.0
_MAX_KEPT: Final = 1024


@dataclass(slots=True)
class _Flood:
    since_s: float
    written: int = 1
    unwritten: int = 0


class Floods:
    """Says which ones of many like things are to be written, and how many each stands for.

    The first of a key are written one by one, at most ``written_whole`` a minute; the others with their number, when
    the next one comes after that minute. Bounded: the key that was begun longest ago is forgotten first.

    Args:
        clock: source of time.
        written_whole: how many of a key are written one by one in a minute.
    """

    def __init__(self, clock: Clock, *, written_whole: int = 1) -> None:
        self._clock = clock
        self._written_whole = written_whole
        self._kept: OrderedDict[tuple[str, str], _Flood] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are kept."""
        return len(self._kept)

    def count(self, key: tuple[str, str]) -> int:
        """Count one; return how many the entry to be written stands for, 0 when none is to be written now."""
        now_s = self._clock.monotonic_s()
        flood = self._kept.get(key)
        if flood is None:
            self._kept[key] = _Flood(now_s)
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
            return 1
        if now_s - flood.since_s >= _PERIOD_S:
            count = flood.unwritten + 1
            flood.since_s, flood.written, flood.unwritten = now_s, 1, 0
            self._kept.move_to_end(key)
            return count
        if flood.written < self._written_whole:
            flood.written += 1
            return 1
        flood.unwritten += 1
        return 0
