"""How often a caller may call: a burst in a second and a sustained rate in a minute, over sliding windows."""

import math
import sys
from collections import OrderedDict
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport
from limits.strategies import SlidingWindowCounterRateLimiter

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.policy import RatePolicy
from zejzl_ray.errors import RateLimited

_MAX_RATES: Final = 1024
_AFTER_S: Final = 0.001  # at the very moment the window is still full


class WindowStorage(Storage, SlidingWindowCounterSupport):
    """Counters of the sliding windows of ``limits``, by our clock, without threads, bounded.

    The two counters of a key are one small list, so that a caller costs two lists at most. When there are too many
    keys, the one that called longest ago is forgotten: it may then begin its windows anew.

    Args:
        clock: source of time.
        max_keys: most keys kept.
    """

    STORAGE_SCHEME = None  # made by hand, not from a URI

    def __init__(self, clock: Clock, max_keys: int) -> None:
        super().__init__()
        self._clock = clock
        self._max_keys = max_keys
        # key -> [number of the window, hits in it, hits in the one before, length in seconds]; last used last
        self._windows: OrderedDict[str, list[int]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are kept."""
        return len(self._windows)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What the library may wrap: nothing here fails."""
        return ()

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return hits and seconds left of the window before, then of the current one."""
        now_s = self._clock.monotonic_s()
        number = int(now_s // expiry)
        left_s = (number + 1) * expiry - now_s
        window = self._windows.get(key)
        if window is None:
            return 0, 0.0, 0, left_s + expiry
        behind = number - window[0]
        if behind <= 0:
            return window[2], left_s, window[1], left_s + expiry
        if behind == 1:
            return window[1], left_s, 0, left_s + expiry
        return 0, 0.0, 0, left_s + expiry

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count hits if they stay within the limit; return whether they did."""
        now_s = self._clock.monotonic_s()
        number = int(now_s // expiry)
        window = self._windows.get(key)
        if window is None:
            if amount > limit:
                return False
            self._windows[key] = [number, amount, 0, expiry]
            if len(self._windows) > self._max_keys:
                self._windows.popitem(last=False)
            return True
        if number > window[0]:
            window[2] = window[1] if number == window[0] + 1 else 0
            window[0], window[1] = number, 0
        weighted = window[1] + window[2] * ((number + 1) * expiry - now_s) / expiry
        if weighted >= limit - amount + 1:
            return False
        window[1] += amount
        self._windows.move_to_end(key)
        return True

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a key."""
        self.clear(key)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count hits and return those of the current window."""
        self.acquire_sliding_window_entry(key, sys.maxsize, expiry, amount)
        return self.get(key)

    def get(self, key: str) -> int:
        """Return the hits of the current window."""
        window = self._windows.get(key)
        return 0 if window is None else self.get_sliding_window(key, window[3])[2]

    def get_expiry(self, key: str) -> float:
        """Return when the current window ends, on the monotonic clock."""
        window = self._windows.get(key)
        return self._clock.monotonic_s() if window is None else float((window[0] + 1) * window[3])

    def check(self) -> bool:
        """Return that the storage is well: it is in memory."""
        return True

    def reset(self) -> int:
        """Forget all keys and return how many there were."""
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget a key."""
        self._windows.pop(key, None)


class _Burst(RateLimitItemPerSecond):
    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        """Leave the amount out of the key: a caller whose rate changes keeps what it has used."""
        return f"b{identifiers[0]!s}"


class _Sustained(RateLimitItemPerMinute):
    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        """As above."""
        return f"m{identifiers[0]!s}"


class RateLimits:
    """Limits callers; a call that is refused is not counted, so that waiting as told is enough.

    Bounded: of callers beyond ``max_callers`` those that called longest ago begin anew. The windows slide, so that no
    moment lets twice the rate through.

    Args:
        clock: source of time.
        max_callers: how many are kept apart.
    """

    def __init__(self, clock: Clock, *, max_callers: int = 100_000) -> None:
        self._storage = WindowStorage(clock, 2 * max_callers)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        # (burst, sustained, ratio) -> the limits; as many as the policy has rates
        self._items: dict[tuple[int, int, float], tuple[_Burst, _Sustained]] = {}

    def __len__(self) -> int:
        """Return how many windows are kept, at most two a caller."""
        return len(self._storage)

    def hit(self, caller: str, rate: RatePolicy, ratio: float = 1.0) -> None:
        """Count one call of ``caller``.

        Args:
            caller: whose call it is; any text.
            rate: how often it may call.
            ratio: multiplies the rate; at least one call a window is left.

        Raises:
            RateLimited: too many; nothing was counted, and ``retry_after_s`` says when the next one counts.
        """
        key = (rate.burst_per_s, rate.sustained_per_min, ratio)
        burst, sustained = self._items.get(key) or self._add(key)
        limiter = self._limiter
        # Asked first and counted last, with nothing in between: either both count or none.
        if not limiter.test(sustained, caller):
            raise self._refusal(sustained, caller)
        if not limiter.hit(burst, caller):
            raise self._refusal(burst, caller)
        limiter.hit(sustained, caller)

    def _add(self, key: tuple[int, int, float]) -> tuple[_Burst, _Sustained]:
        if len(self._items) >= _MAX_RATES:
            self._items.clear()
        per_s, per_min, ratio = key
        items = _Burst(max(1, int(per_s * ratio))), _Sustained(max(1, int(per_min * ratio)))
        self._items[key] = items
        return items

    def _refusal(self, item: RateLimitItem, caller: str) -> RateLimited:
        wait_s = self._wait_s(item, caller) + _AFTER_S
        return RateLimited(
            f"Too many calls: the limit is {item.amount} a {item.GRANULARITY.name}.",
            f"Wait {math.ceil(wait_s * 10) / 10:g} s, and call less often.",
            wait_s,
        )

    def _wait_s(self, item: RateLimitItem, caller: str) -> float:
        """Return when the weighted count of the two windows lets one more call through."""
        expiry_s = item.get_expiry()
        before, left_s, now, _ = self._storage.get_sliding_window(item.key_for(caller), expiry_s)
        room = item.amount - now
        if room > 0:  # what the window before still weighs has to shrink below the room
            return left_s - room * expiry_s / before
        return left_s + (expiry_s - item.amount * expiry_s / now)
