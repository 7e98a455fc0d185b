"""Following the gateway: keys, revocations, standings and limits, as soon as they change."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_never,
    wait_exponential_jitter,
)

from zejzl_ray.auth.ports import FeedSource
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.security_feed import WatchFeed
from zejzl_ray.errors import DeadlineExceeded, ZejzlError
from zejzl_ray.log import get_logger

_log = get_logger("security")
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0
_GRACE_S: Final = 5.0  # how much longer than asked for an answer may take
_END_TIMEOUT_S: Final = 2.0
_BACKOFF: Final = wait_exponential_jitter(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S, jitter=_FIRST_WAIT_S)


class FeedFollower:
    """Keeps a ``SecurityState`` up to date by asking for the next change and waiting.

    While the gateway is away it asks again, after 0.05 s and then ever longer up to about 1 s, for ever. It logs one
    line when the news stop and one when they come again.

    Args:
        source: the gateway.
        state: what is kept up to date.
        clock: source of time.
        timeout_s: how long one question waits for a change, at most 30; an answer that is 5 s late is given up.
        sleep: waits so many seconds; a test hands in its own.
    """

    def __init__(
        self,
        source: FeedSource,
        state: SecurityState,
        clock: Clock,
        *,
        timeout_s: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._state = state
        self._clock = clock
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._is_connected: bool | None = None  # None: nothing was said about it yet

    async def run(self, stop_event: asyncio.Event) -> None:
        """Follow until ``stop_event`` is set; a question under way is given up then."""
        following = asyncio.create_task(self._follow(), name="security-feed:questions")
        stopping = asyncio.create_task(stop_event.wait(), name="security-feed:stop")
        try:
            await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (following, stopping):
                task.cancel()
            await asyncio.wait({following, stopping}, timeout=_END_TIMEOUT_S)
        if following.done() and not following.cancelled():
            following.result()

    async def read_once(self) -> None:
        """Ask once and take the answer in.

        Raises:
            DeadlineExceeded: no answer in time.
            ZejzlError: what the gateway or the way to it says.
        """
        # Nothing is known yet: everything, and at once.
        wait_s = self._timeout_s if self._state.is_read else 0.0
        request = WatchFeed(epoch=self._state.epoch, revision=self._state.revision, timeout_s=wait_s)
        before = (self._state.epoch, self._state.revision)
        asked_s = self._clock.monotonic_s()
        limit_s = wait_s + _GRACE_S
        try:
            async with asyncio.timeout(limit_s):
                batch = await self._source.watch(request)
        except TimeoutError:
            raise DeadlineExceeded(
                f"The security feed: no answer within {limit_s:g} s.", "Is the security gateway up?"
            ) from None
        self._state.apply(batch, self._clock.now_s())
        self._say_connected()
        is_news = (self._state.epoch, self._state.revision) != before
        if not is_news and self._clock.monotonic_s() - asked_s < _FIRST_WAIT_S:
            await self._sleep(_FIRST_WAIT_S)  # a source that does not wait must not be asked in circles

    async def _follow(self) -> None:
        asking = AsyncRetrying(
            sleep=self._sleep,
            stop=stop_never,
            wait=_BACKOFF,
            retry=retry_if_exception_type(Exception),
            before_sleep=self._say_lost,
        )
        while True:
            await asking(self.read_once)

    def _say_connected(self) -> None:
        if self._is_connected is not True:
            self._is_connected = True
            _log.info("security feed connected", epoch=self._state.epoch, revision=self._state.revision)

    def _say_lost(self, state: RetryCallState) -> None:
        if self._is_connected is False:
            return
        self._is_connected = False
        error = state.outcome.exception() if state.outcome is not None else None
        reason = str(error) if isinstance(error, ZejzlError) else type(error).__name__
        _log.warning("security feed lost, trying again", error=reason)
