"""A histogram of times with a fixed size, cheap enough for every message.

No library: the ones there are (t-digest, DDSketch, HDR in Python) take 1 to 10 microseconds a sample, which is more
than a whole delivery may take. Here a sample is one binary search in C and three additions, or two comparisons and two
additions where it falls where the last one fell.

Buckets grow by 10 % from 1 microsecond to 1000 s, with one more below and one above, so two histograms of different
processes can be added and subtracted bucket by bucket.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Self

from zejzl_ray.errors import InvalidInput

GROWTH: Final = 1.1
LOWEST_S: Final = 1e-6
HIGHEST_S: Final = 1e3

_STEPS: Final = math.ceil(math.log(HIGHEST_S / LOWEST_S) / math.log(GROWTH))
# bucket 0 is below BOUNDS_S[0], bucket i holds BOUNDS_S[i - 1] <= t < BOUNDS_S[i], the last has no upper end
BOUNDS_S: Final = tuple([LOWEST_S * GROWTH**step for step in range(_STEPS)] + [HIGHEST_S])
BUCKETS: Final = len(BOUNDS_S) + 1

# What a quantile may be wrong by, as a part of the exact value, between 1 microsecond and 1000 s.
RELATIVE_ERROR: Final = math.sqrt(GROWTH) - 1

_FROM_S: Final = (0.0, *BOUNDS_S)
_BELOW_S: Final = (*BOUNDS_S, math.inf)
_search = bisect_right


@dataclass(frozen=True, slots=True)
class Spread:
    """What a histogram says in a line, milliseconds; all 0 where ``count`` is."""

    count: int
    avg_ms: float
    min_ms: float
    max_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class LatencyHistogram:
    """Counts times in buckets: at most 4.9 % wrong, 2 kB, however many samples.

    One thread writes. Negative times (a clock was set back) count as 0; times that are no finite number are left out.

    Attributes:
        sum_s: of all samples, seconds.
        max_s: longest sample, seconds; 0 without samples.
    """

    __slots__ = ("_below_s", "_bucket", "_counts", "_from_s", "_low_s", "max_s", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        # The bucket of the last sample, and what falls into it without being a new end.
        self._bucket, self._from_s, self._below_s = 0, math.inf, 0.0
        self._low_s = math.inf
        self.sum_s = 0.0
        self.max_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one sample; never raises for a number."""
        if (
            self._from_s <= seconds < self._below_s
        ):  # one like the last: messages that wait together wait alike
            self._counts[self._bucket] += 1
            self.sum_s += seconds
            return
        # Both tests are needed for the ends anyhow. Written so, they also catch every negative time and every NaN.
        if seconds < self._low_s:
            if seconds < 0.0:
                if seconds == -math.inf:
                    return
                seconds = 0.0
            self._low_s = seconds
        if not seconds <= self.max_s:
            if not seconds < math.inf:
                return
            self.max_s = seconds
        self._bucket = bucket = _search(BOUNDS_S, seconds)
        self._counts[bucket] += 1
        self.sum_s += seconds
        # Where the next one needs no search, and is no new end.
        from_s, below_s = _FROM_S[bucket], _BELOW_S[bucket]
        self._from_s = from_s if from_s > self._low_s else self._low_s
        self._below_s = below_s if below_s < self.max_s else self.max_s

    @property
    def count(self) -> int:
        """Number of samples; adds up the buckets, so not for the hot path."""
        return sum(self._counts)

    @property
    def min_s(self) -> float:
        """Shortest sample, seconds; 0 without samples."""
        return 0.0 if self._low_s == math.inf else self._low_s

    @property
    def mean_s(self) -> float:
        """Mean of the samples, seconds; 0 without samples."""
        return self.sum_s / count if (count := self.count) else 0.0

    def quantile(self, ratio: float) -> float:
        """Return the time that this part of the samples does not exceed, seconds; 0 without samples.

        Between 1 microsecond and 1000 s the answer is at most ``RELATIVE_ERROR`` (4.9 %) away from the exact sample
        of that rank; below, at most 1 microsecond; above, it is the longest sample.

        Args:
            ratio: 0 to 1; 0.95 asks for p95.

        Raises:
            InvalidInput: outside 0 to 1.
        """
        return self.quantiles(ratio)[0]

    def quantiles(self, *ratios: float) -> tuple[float, ...]:
        """Return several quantiles in the order given; see ``quantile``."""
        if not all(0.0 <= ratio <= 1.0 for ratio in ratios):
            raise InvalidInput(f"Quantiles {ratios} are asked for.", "Ask for 0 to 1; 0.95 is p95.")
        count = self.count
        if not count:
            return (0.0,) * len(ratios)
        found: list[float] = []
        for ratio in ratios:
            rank = max(1, math.ceil(ratio * count))
            bucket = next(bucket for bucket, passed in enumerate(accumulate(self._counts)) if passed >= rank)
            found.append(min(self.max_s, max(self._low_s, _middle_s(bucket, self.max_s))))
        return tuple(found)

    def spread(self) -> Spread:
        """Return count, mean, ends, p50, p95 and p99."""
        count = self.count
        if not count:
            return Spread(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        p50_s, p95_s, p99_s = self.quantiles(0.5, 0.95, 0.99)
        return Spread(
            count,
            1e3 * self.sum_s / count,
            1e3 * self.min_s,
            1e3 * self.max_s,
            1e3 * p50_s,
            1e3 * p95_s,
            1e3 * p99_s,
        )

    def merge(self, other: "LatencyHistogram") -> None:
        """Add the samples of another one; as if all had been recorded here."""
        if other._low_s == math.inf:
            return
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self._low_s = min(self._low_s, other._low_s)
        self.max_s = max(self.max_s, other.max_s)
        self.sum_s += other.sum_s

    def reset(self) -> None:
        """Forget everything."""
        self._counts = [0] * BUCKETS
        self._expect_nothing()
        self._low_s = math.inf
        self.sum_s = self.max_s = 0.0

    def snapshot(self) -> "LatencyHistogram":
        """Return a copy that later samples do not change."""
        copy = LatencyHistogram.__new__(LatencyHistogram)
        copy._counts = self._counts.copy()
        copy._low_s, copy.max_s, copy.sum_s = self._low_s, self.max_s, self.sum_s
        copy._expect_nothing()
        return copy

    def minus(self, earlier: "LatencyHistogram") -> "LatencyHistogram":
        """Return the samples since an earlier snapshot of the same histogram: a window.

        Its ends are known as well as the buckets tell (within 10 %). If it was reset since, all of it is new.
        """
        counts = [now - before for now, before in zip(self._counts, earlier._counts, strict=True)]
        if any(size < 0 for size in counts):
            return self.snapshot()
        window = LatencyHistogram()
        window._counts = counts
        filled = [bucket for bucket, size in enumerate(counts) if size]
        if filled:
            window.sum_s = max(0.0, self.sum_s - earlier.sum_s)
            low_s = BOUNDS_S[filled[0] - 1] if filled[0] else 0.0
            window._low_s = max(low_s, self._low_s)
            high_s = BOUNDS_S[filled[-1]] if filled[-1] < len(BOUNDS_S) else math.inf
            window.max_s = min(high_s, self.max_s)
        return window

    def buckets(self) -> list[tuple[float, int]]:
        """Return the counted buckets as (upper end in seconds, samples), lowest first; the last end may be infinity."""
        ends = (*BOUNDS_S, math.inf)
        return [(end, size) for end, size in zip(ends, self._counts, strict=True) if size]

    def to_dict(self) -> dict[str, Any]:
        """Return it for the wire: ``counts`` (bucket as text -> samples, no zeros), ``sum_s``, ``min_s``, ``max_s``."""
        return {
            "counts": {str(bucket): size for bucket, size in enumerate(self._counts) if size},
            "sum_s": self.sum_s,
            "min_s": self.min_s,
            "max_s": self.max_s,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the histogram that ``to_dict`` wrote.

        Raises:
            InvalidInput: it is none; says what is wrong.
        """
        try:
            found = cls()
            for bucket, size in values["counts"].items():
                if not 0 <= int(bucket) < BUCKETS or type(size) is not int or size < 1:
                    raise InvalidInput(f"A histogram has {size!r} samples in bucket {bucket!r}.")
                found._counts[int(bucket)] = size
            sum_s, low_s, high_s = float(values["sum_s"]), float(values["min_s"]), float(values["max_s"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"This is no histogram: {error!r}.") from None
        if not (0.0 <= low_s <= high_s < math.inf and 0.0 <= sum_s < math.inf):
            raise InvalidInput(f"A histogram goes from {low_s} to {high_s} s with the sum {sum_s}.")
        if found.count:
            found.sum_s, found._low_s, found.max_s = sum_s, low_s, high_s
        return found

    def _expect_nothing(self) -> None:
        """Have the next sample looked for in all buckets."""
        self._bucket, self._from_s, self._below_s = 0, math.inf, 0.0

    def __eq__(self, other: object) -> bool:
        """Equal if buckets and ends are; the sum depends on the order of adding and is left out."""
        if not isinstance(other, LatencyHistogram):
            return NotImplemented
        ends = (self._low_s, self.max_s)
        return self._counts == other._counts and ends == (other._low_s, other.max_s)

    __hash__ = None  # type: ignore[assignment]  # it changes; mypy knows no other way to say so


def _middle_s(bucket: int, max_s: float) -> float:
    """Return the time that is the same factor away from both ends of a bucket."""
    if bucket == 0:
        return LOWEST_S / 2
    if bucket == BUCKETS - 1:
        return max_s
    return math.sqrt(BOUNDS_S[bucket - 1] * BOUNDS_S[bucket])
