"""A store that has fallen silent: who comes next is refused at once, until the store answers a question again.

A cut cable and a frozen server send no error. Without this every command would wait out the time limit of the store.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from zejzl_ray.clock import Clock
from zejzl_ray.errors import StoreUnavailable, ZejzlError

# What fails sooner is an answer of some kind, such as a full disk, and costs its callers nothing.
SLOW_S: Final = 1.0
ASK_LIMIT_S: Final = 1.0
ASK_EVERY_S: Final = 0.5
# Who comes later than this after the last answer that stayed out waits for the next one: the store may be back since.
FRESH_S: Final = 2.0

_log = structlog.get_logger(__name__)


class Silence:
    """Whether a store is silent, as far as is known.

    It is asked only when somebody wants to write, once each 0.5 s at most and by one question at a time of 1 s at most,
    however many want to.

    Args:
        ask: asks the store something small.
        clock: monotonic time.

    Attributes:
        reason: what went unanswered; empty while the store answers.
    """

    def __init__(self, ask: Callable[[], Awaitable[object]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._question: asyncio.Task[None] | None = None
        self._asked_s = self._unanswered_s = self._since_s = 0.0
        self.reason = ""

    def begins(self, reason: str, since_s: float) -> None:
        """Note that the store has not answered what it was asked at ``since_s``, monotonic time."""
        self._unanswered_s = self._clock.monotonic_s()
        if not self.reason:
            self._since_s = since_s
            _log.warning("the store is silent", reason=reason)
        self.reason = reason

    def ends(self) -> None:
        """Note that the store has answered."""
        if self.reason:
            _log.info("the store answers again", after_s=round(self._clock.monotonic_s() - self._since_s, 1))
        self.reason = ""

    async def check(self) -> None:
        """Return while the store answers; one that is silent is asked whether it is back.

        Raises:
            StoreUnavailable: it is silent. At once, or after 1 s at most where nobody has asked for 2 s.
        """
        if not self.reason:
            return
        now_s = self._clock.monotonic_s()
        if self._question is None and now_s >= self._asked_s + ASK_EVERY_S:
            self._asked_s = now_s
            self._question = asyncio.create_task(self._find_out(), name="is-the-store-back")
        if self._question is not None and now_s > self._unanswered_s + FRESH_S:
            await asyncio.wait({self._question}, timeout=2 * ASK_LIMIT_S)
        if self.reason:
            silent_s = self._clock.monotonic_s() - self._since_s
            raise StoreUnavailable(
                f"This was not sent to the store, which is silent for {silent_s:.0f} s: {self.reason}",
                "Repeat it with the same request_id a little later; what was sent before is done once or not at all.",
            )

    async def _find_out(self) -> None:
        try:
            async with asyncio.timeout(ASK_LIMIT_S):
                await self._ask()
        except (TimeoutError, StoreUnavailable):
            self._unanswered_s = self._clock.monotonic_s()
        except ZejzlError:  # an answer
            self.ends()
        else:
            self.ends()
        finally:
            self._question = None
