"""Following the deadlocks that are found, over pauses and restarts of the hub."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Final

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.observability_hub import DeadlockBatch, DeadlockEvent
from zejzl_ray.errors import DeadlineExceeded, Unavailable
from zejzl_ray.sdk.patience import Patience

_POLL_S: Final = 20.0
# between empty answers, so that a server that does not wait is not asked in a tight loop
_PAUSE_S: Final = 0.02


async def follow_deadlocks(
    poll: Callable[[int | None, float], Awaitable[DeadlockBatch]],
    from_revision: int | None,
    *,
    clock: Clock,
    timeout_s: float | None,
    outage_s: float,
    patience: Patience,
) -> AsyncGenerator[DeadlockEvent, None]:
    """Yield deadlocks in the order in which they are found, each once.

    Args:
        poll: waits up to the given seconds for deadlocks after a revision; null: after the newest.
        from_revision: begin after this one; null begins with the next one.
        clock: measures ``timeout_s``.
        timeout_s: end after this long; null goes on until the caller stops.
        outage_s: how long the hub may be away before its error is raised.
        patience: with which pauses it is tried in that time.

    Raises:
        Unavailable, DeadlineExceeded: away for longer than ``outage_s``.
    """
    end_s = None if timeout_s is None else clock.monotonic_s() + timeout_s
    revision = from_revision
    while True:
        left_s = _POLL_S if end_s is None else min(_POLL_S, end_s - clock.monotonic_s())
        if left_s <= 0:
            return
        # The first question where nobody has said where to begin is for the revision only.
        wait_s = 0.0 if revision is None else left_s
        batch = await patience.run(partial(poll, revision, wait_s), _pause_after, outage_s)
        for event in batch.events:
            yield event
        if not batch.events and revision is not None:
            await asyncio.sleep(_PAUSE_S)
        # A hub that is behind us was restored from an older copy, and counts on from there.
        revision = batch.revision


def _pause_after(error: BaseException) -> float | None:
    return 0.0 if isinstance(error, Unavailable | DeadlineExceeded) else None
