"""Following the registry's changes over pauses, restarts and gaps."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Final

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.orchestrator import AgentEvent, RegistrySnapshot, WatchBatch
from zejzl_ray.errors import DeadlineExceeded, RevisionCompacted, Unavailable
from zejzl_ray.sdk.patience import Patience

POLL_S: Final = 20.0
# between empty answers, so that a server that does not wait is not asked in a tight loop
_PAUSE_S: Final = 0.02


def changes_over_gap(known: set[str], after_revision: int, snapshot: RegistrySnapshot) -> list[AgentEvent]:
    """Return what changed since ``after_revision``, summed up from the registry as it is now.

    One event an agent, in the order of revisions: ``agent_registered`` for a name that is not in ``known``,
    ``agent_updated`` for one that is, and at the end ``agent_deregistered`` for known names that are gone.
    """
    changed = sorted(
        (a for a in snapshot.agents if a.revision > after_revision), key=lambda agent: agent.revision
    )
    events = [
        AgentEvent(
            kind="agent_updated" if agent.name in known else "agent_registered",
            name=agent.name,
            revision=agent.revision,
            at_s=agent.state_since_s,
            agent=agent,
        )
        for agent in changed
    ]
    at_s = max((agent.state_since_s for agent in snapshot.agents), default=0.0)
    for name in sorted(known - {agent.name for agent in snapshot.agents}):
        events.append(
            AgentEvent(
                kind="agent_deregistered", name=name, revision=snapshot.revision, at_s=at_s, agent=None
            )
        )
    return events


async def follow(
    poll: Callable[[int, float], Awaitable[WatchBatch]],
    snapshot: Callable[[], Awaitable[RegistrySnapshot]],
    from_revision: int | None,
    *,
    clock: Clock,
    timeout_s: float | None,
    outage_s: float,
    patience: Patience,
) -> AsyncGenerator[AgentEvent, None]:
    """Yield changes in the order of revisions, each once.

    Args:
        poll: waits up to the given seconds for changes after a revision.
        snapshot: the registry as it is now.
        from_revision: begin after this one; null begins with the next change.
        clock: measures ``timeout_s``.
        timeout_s: end after this long; null goes on until the caller stops.
        outage_s: how long the registry may be away before its error is raised.
        patience: with which pauses it is tried in that time.

    Raises:
        Unavailable: away for longer than ``outage_s``.
        DeadlineExceeded: did not answer for longer than ``outage_s``.
    """
    end_s = None if timeout_s is None else clock.monotonic_s() + timeout_s
    known: set[str] = set()  # names as of `revision`; complete only when the watch began with a snapshot
    if from_revision is None:
        now = await patience.run(snapshot, _pause_after, outage_s)
        known, revision = {agent.name for agent in now.agents}, now.revision
    else:
        revision = from_revision
    while True:
        left_s = POLL_S if end_s is None else min(POLL_S, end_s - clock.monotonic_s())
        if left_s <= 0:
            return
        batch = await patience.run(partial(_poll, poll, revision, left_s), _pause_after, outage_s)
        if batch is None:
            now = await patience.run(snapshot, _pause_after, outage_s)
            # a registry that is behind us was restored from an older copy: everything may have changed
            events = changes_over_gap(known, revision if now.revision >= revision else 0, now)
            known, revision = {agent.name for agent in now.agents}, now.revision
        else:
            events = [event for event in batch.events if event.revision > revision]
            for event in events:
                (known.discard if event.agent is None else known.add)(event.name)
            revision = max(revision, batch.revision)  # another replica of the ingress may lag behind
        for event in events:
            yield event
        if not events:
            await asyncio.sleep(_PAUSE_S)


async def _poll(
    poll: Callable[[int, float], Awaitable[WatchBatch]], since: int, wait_s: float
) -> WatchBatch | None:
    """Return the next batch, or null when the history since then is no longer kept."""
    try:
        return await poll(since, wait_s)
    except RevisionCompacted:
        return None


def _pause_after(error: BaseException) -> float | None:
    return 0.0 if isinstance(error, Unavailable | DeadlineExceeded) else None
