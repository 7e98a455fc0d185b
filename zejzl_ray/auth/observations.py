"""Counting refused calls for the gateway's detectors, which must see many of them without a message each."""

import asyncio
import contextlib
from typing import Final

from zejzl_ray.auth.ports import ObservationSink
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.trust import Observation
from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import get_logger

_log = get_logger("security")
_MAX_KINDS: Final = 1024
_MAX_A_REPORT: Final = 1000
_TIMEOUT_S: Final = 5.0
_Key = tuple[str, str, str, str]


class Observer:
    """Counts refused calls by kind, subject, address and operation until they are handed over.

    Bounded: what does not fit any more is counted by its kind alone. Counts that could not be handed over are kept
    for the next time, within the same bound.

    Args:
        clock: source of time.
        max_kinds: how many combinations are kept apart.
    """

    def __init__(self, clock: Clock, *, max_kinds: int = _MAX_KINDS) -> None:
        self._clock = clock
        self._max_kinds = max_kinds
        # (kind, subject, address, operation) -> [count, wall time of the last]
        self._counts: dict[_Key, tuple[int, float]] = {}
        self._is_lost = False

    def __len__(self) -> int:
        """Return how many combinations wait."""
        return len(self._counts)

    def count(self, kind: str, *, subject: str = "", address: str = "", operation: str = "") -> None:
        """Count one refused call.

        Args:
            kind: denied, unauthenticated, rate_limited, ip_blocked or login_failed.
            subject: who called; empty when that is not proved.
            address: from where; empty inside of the cluster.
            operation: ``service.name``.
        """
        self._add((kind, subject, address, operation), 1, self._clock.now_s())

    def take(self, limit: int = _MAX_A_REPORT) -> list[Observation]:
        """Return what was counted, at most ``limit``, and count these from zero."""
        taken = []
        for key in list(self._counts)[:limit]:
            count, at_s = self._counts.pop(key)
            kind, subject, address, operation = key
            taken.append(
                Observation(
                    kind=kind, subject=subject, address=address, operation=operation, count=count, at_s=at_s
                )
            )
        return taken

    async def run(self, sink: ObservationSink, stop_event: asyncio.Event, period_s: float = 2.0) -> None:
        """Hand over what was counted every ``period_s`` until ``stop_event`` is set, and once more then."""
        while not stop_event.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period_s):
                    await stop_event.wait()
            await self.report_once(sink)

    async def report_once(self, sink: ObservationSink) -> bool:
        """Hand over what was counted; return whether nothing was left behind. Does not raise."""
        observations = self.take()
        if not observations:
            return True
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await sink.report(observations)
        except Exception as error:
            self._keep(observations, error)
            return False
        self._is_lost = False
        return True

    def _keep(self, observations: list[Observation], error: Exception) -> None:
        for one in observations:
            self._add((one.kind, one.subject, one.address, one.operation), one.count, one.at_s)
        if not self._is_lost:
            self._is_lost = True
            reason = str(error) if isinstance(error, ZejzlError) else type(error).__name__
            _log.warning("refused calls cannot be reported, trying again", error=reason)

    def _add(self, key: _Key, count: int, at_s: float) -> None:
        if key not in self._counts and len(self._counts) >= self._max_kinds:
            key = (key[0], "", "", "")
        before, last_s = self._counts.get(key, (0, at_s))
        self._counts[key] = (before + count, max(last_s, at_s))
