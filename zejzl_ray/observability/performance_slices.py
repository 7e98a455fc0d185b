"""Figures of the last minutes: a ring of slices of time, so that a window costs what happened in it."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from zejzl_ray.contracts.performance import Series
from zejzl_ray.observability.performance_flow import Flow, FlowKey


@dataclass(slots=True)
class _Slice:
    start_s: float
    flows: dict[FlowKey, Flow] = field(default_factory=dict)


class SliceRing:
    """Keeps what was counted in the last ``window_s`` seconds.

    What leaves does so a slice at a time, so the window covers between ``window_s - slice_s`` and ``window_s``.

    Args:
        slice_s: length of a slice.
        window_s: length of the window, a multiple of it.
        begun_s: when counting began.
    """

    def __init__(self, *, slice_s: float, window_s: float, begun_s: float) -> None:
        self.window_s = window_s
        self._slice_s = slice_s
        self._begun_s = begun_s
        self._slices: deque[_Slice] = deque(maxlen=math.ceil(window_s / slice_s) + 1)

    def add(self, key: FlowKey, series: Series, now_s: float) -> None:
        """Count."""
        start_s = math.floor(now_s / self._slice_s) * self._slice_s
        # a clock that was set back goes on counting in the newest slice
        if not self._slices or self._slices[-1].start_s < start_s:
            self._slices.append(_Slice(start_s))
        flows = self._slices[-1].flows
        flow = flows.get(key)
        if flow is None:
            flow = flows[key] = Flow()
        flow.add(series)

    def seconds(self, now_s: float) -> float:
        """Return the time that the window covers; never 0."""
        return max(1.0, now_s - max(self._first_s(now_s), self._begun_s))

    def flows(self, now_s: float) -> Iterator[tuple[FlowKey, Flow]]:
        """Yield what the window holds; a key may come several times."""
        first_s = self._first_s(now_s)
        while self._slices and self._slices[0].start_s < first_s:
            self._slices.popleft()
        for piece in self._slices:
            yield from piece.flows.items()

    def _first_s(self, now_s: float) -> float:
        return math.ceil((now_s - self.window_s) / self._slice_s) * self._slice_s
