"""The registry inside an ingress replica: a copy that follows core_orchestrator, and how fresh it is.

Staleness bound: a read is answered only from a copy that was confirmed within the last ``max_staleness_s`` (5
s). The copy is confirmed by every answer of a watch call of ``poll_s`` (1 s), and changes arrive as soon as
they are committed; so in a healthy cluster a read is behind by about one call. ``last_seen_at_s`` and
``lease_expires_at_s`` change without a revision; they are copied every ``renewals_period_s`` (15 s; 10 ms an
agent in larger fleets).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from serve_apps.config import IngressConfig
from serve_apps.event_ring import EventRing, RingEntry
from serve_apps.registry_copy import RegistryCopy
from zejzl_ray.clock import Clock
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.errors import RevisionCompacted, ServiceUnavailable, Unavailable

_log = logging.getLogger("zejzl.ingress")
_OPERATIONS = {operation.name: operation for operation in wire.OPERATIONS}
_CALL_GRACE_S = 5.0
_MAX_PAUSE_S = 1.0


class RegistryReplica:
    """Follows the registry through a ``Caller`` and answers reads.

    Start it in a running event loop; everything else is for that loop only. While core_orchestrator is away
    the copy stays and ages; after ``max_staleness_s`` every read raises ``ServiceUnavailable``.

    Args:
        caller: the way to core_orchestrator; not closed here.
        clock: where time comes from.
        config: periods and bounds.
        new_context: makes the context of each own call, with the replica's token.
    """

    def __init__(
        self,
        caller: Caller,
        clock: Clock,
        config: IngressConfig,
        new_context: Callable[[], CallContext] = CallContext,
    ) -> None:
        self._caller = caller
        self._clock = clock
        self._config = config
        self._new_context = new_context
        self._copy = RegistryCopy()
        self._ring = EventRing(config.kept_events)
        # name -> machine, its JSON; all that ever reported
        self._machines: dict[str, tuple[Machine, bytes]] = {}
        self._is_loaded = False
        self._agents_confirmed_at_s: float | None = None
        self._machines_confirmed_at_s: float | None = None
        self._renewed_at_s = 0.0
        self._last_error = "it has not been read yet"
        self._changed = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.is_stopped = False

    async def start(self) -> None:
        """Begin to follow; returns at once. Reads are refused until the first copy is there."""
        self._tasks = (
            asyncio.create_task(self._repeat(self._follow_agents), name="follow agents"),
            asyncio.create_task(self._repeat(self._follow_machines), name="follow machines"),
        )

    async def stop(self) -> None:
        """Stop following and end all watches; safe to repeat."""
        self.is_stopped = True
        self._wake()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = ()

    @property
    def is_following(self) -> bool:
        """Whether the following tasks run; false is a defect of this process, not of the registry."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    @property
    def revision(self) -> int:
        """Revision of the copy."""
        return self._copy.revision

    @property
    def agent_count(self) -> int:
        """Number of agents in the copy."""
        return len(self._copy)

    @property
    def staleness_s(self) -> float:
        """Upper bound of the copy's age in seconds; infinite before the first one.

        Counted from the moment at which the last answered call was sent, so the true age is never larger.
        """
        if self._agents_confirmed_at_s is None:
            return float("inf")
        return self._clock.monotonic_s() - self._agents_confirmed_at_s

    @property
    def machines_staleness_s(self) -> float:
        """Upper bound of the age of the machines in seconds; infinite before the first answer."""
        if self._machines_confirmed_at_s is None:
            return float("inf")
        return self._clock.monotonic_s() - self._machines_confirmed_at_s

    def why_not_fresh(self) -> str:
        """Return why reads are refused; empty when they are answered."""
        staleness_s = max(self.staleness_s, self.machines_staleness_s)
        if staleness_s <= self._config.max_staleness_s:
            return ""
        age = (
            "there is no copy yet" if staleness_s == float("inf") else f"the copy is {staleness_s:.1f} s old"
        )
        return f"core_orchestrator cannot be followed: {age}; {self._last_error}"

    def copy(self) -> RegistryCopy:
        """Return the copy for reading at this moment.

        Raises:
            ServiceUnavailable: it is older than ``max_staleness_s``.
        """
        if self.staleness_s > self._config.max_staleness_s:
            raise self._stale()
        return self._copy

    def machines(self) -> dict[str, tuple[Machine, bytes]]:
        """Return the machines, name -> record and its JSON, by name ascending.

        Raises:
            ServiceUnavailable: they are older than ``max_staleness_s``.
        """
        if self.machines_staleness_s > self._config.max_staleness_s:
            raise self._stale()
        return self._machines

    async def wait_for_revision(self, revision: int) -> None:
        """Wait until the copy has a revision, so that a writer reads its own write.

        Raises:
            ServiceUnavailable: it did not arrive within ``min_revision_wait_s``.
        """
        try:
            async with asyncio.timeout(self._config.min_revision_wait_s):
                while self._copy.revision < revision:
                    await self._changed.wait()
        except TimeoutError:
            raise ServiceUnavailable(
                f"query.min_revision: this replica is at revision {self._copy.revision}, before {revision}.",
                "Try again, or check the number: it comes from the answer to a write.",
            ) from None

    def events_after(self, revision: int, limit: int) -> Sequence[RingEntry] | None:
        """Return kept changes after a revision; None when core_orchestrator must be asked for them."""
        if not self._is_loaded:
            return None
        return self._ring.after(revision, limit)

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return at the next change, at the end of the time, or when the replica stops."""
        if self.is_stopped:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    def _stale(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            self.why_not_fresh() or "The copy of the registry is too old.", "Try again."
        )

    def _wake(self) -> None:
        # a fresh event for the next change; those who wait on the old one go on
        self._changed.set()
        self._changed = asyncio.Event()

    async def _call(self, name: str, request: Contract, timeout_s: float) -> Contract:
        deadline_at_s = self._clock.now_s() + timeout_s
        context = self._new_context().model_copy(update={"deadline_at_s": deadline_at_s})
        async with asyncio.timeout(timeout_s + _CALL_GRACE_S):  # whatever the caller does
            return await self._caller.call(_OPERATIONS[name], request, context)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                await step()
                failures = 0
                continue
            except Exception as error:  # this loop must outlive whatever goes wrong; the copy ages meanwhile
                failures += 1
                self._last_error = str(error) or type(error).__name__
                if failures == 1 or not isinstance(error, Unavailable | TimeoutError):
                    _log.warning("following core_orchestrator failed (%s): %s", type(error).__name__, error)
            await asyncio.sleep(min(_MAX_PAUSE_S, 0.05 * 2 ** min(failures, 10)))

    async def _follow_agents(self) -> None:
        if not self._is_loaded:
            await self._load()
        started_at_s = self._clock.monotonic_s()
        request = wire.WatchAgents(from_revision=self._copy.revision, timeout_s=self._config.poll_s)
        try:
            batch = await self._call("watch_agents", request, self._config.poll_s + 2.0)
        except RevisionCompacted:
            self._is_loaded = False
            return
        assert isinstance(batch, wire.WatchBatch)
        if batch.revision < self._copy.revision:
            # the registry went back: its store was replaced
            self._is_loaded = False
            return
        if batch.events:
            new = [event for event in batch.events if event.revision > self._copy.revision]
            self._copy.apply(new)
            self._ring.add(new)
            self._copy.revision = max(self._copy.revision, batch.revision)
        self._agents_confirmed_at_s = started_at_s
        if batch.events:
            self._wake()
            return
        await self._renew()
        # a registry that answers a long poll at once must not make this a busy loop
        await asyncio.sleep(0.01)

    async def _load(self) -> None:
        started_at_s = self._clock.monotonic_s()
        snapshot = await self._call("get_snapshot", wire.GetSnapshot(), 10.0)
        assert isinstance(snapshot, wire.RegistrySnapshot)
        self._copy.load(snapshot)
        self._ring.reset(snapshot.revision)
        self._is_loaded = True
        self._last_error = "no answer to the last call"
        self._agents_confirmed_at_s = self._renewed_at_s = started_at_s
        self._wake()

    async def _renew(self) -> None:
        period_s = max(self._config.renewals_period_s, 0.01 * len(self._copy))
        if self._clock.monotonic_s() - self._renewed_at_s < period_s:
            return
        snapshot = await self._call("get_snapshot", wire.GetSnapshot(), 10.0)
        assert isinstance(snapshot, wire.RegistrySnapshot)
        if snapshot.boot != self._copy.boot:
            # events of the restarted registry go on from the old revisions; only a memory store begins anew
            self._is_loaded = False
            return
        self._copy.renew(snapshot.agents)
        self._renewed_at_s = self._clock.monotonic_s()

    async def _follow_machines(self) -> None:
        started_at_s = self._clock.monotonic_s()
        reply = await self._call("list_machines", wire.ListMachines(), 5.0)
        assert isinstance(reply, wire.MachineList)
        self._machines = {
            machine.name: (machine, machine.model_dump_json().encode())
            for machine in sorted(reply.machines, key=lambda machine: machine.name)
        }
        self._machines_confirmed_at_s = started_at_s
        await asyncio.sleep(self._config.poll_s)
