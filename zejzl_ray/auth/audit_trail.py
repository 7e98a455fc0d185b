"""The audit trail of one process: told at once, written in groups, anchored at the gateway."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from zejzl_ray.auth.audit_chain import SealedEntries, seal_all
from zejzl_ray.auth.audit_fact import Fact, cleaned_text, make_fact
from zejzl_ray.auth.audit_waiting import WaitingFacts, started
from zejzl_ray.auth.ports import AuditSink
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.audit import ChainHead
from zejzl_ray.errors import Conflict, ZejzlError

_log = structlog.get_logger(__name__)
_MINUTE_S: Final = 60
_MAX_NAME: Final = 160


@dataclass(frozen=True, slots=True)
class TrailLimits:
    """How much an audit trail holds in memory, and how often it writes.

    Attributes:
        max_waiting: facts that wait for the sink; further ones are counted and the count is written.
        max_counters: pairs of subject, operation and minute for which grants are counted.
        batch: entries in one append; so many waiting ones are written at once.
        flush_period_s: fewer are written after so long.
        anchor_period_s: a head that has moved is anchored after so long.
        call_timeout_s: longest wait for the sink or the anchor.
    """

    max_waiting: int = 10_000
    max_counters: int = 10_000
    batch: int = 256
    flush_period_s: float = 0.5
    anchor_period_s: float = 10.0
    call_timeout_s: float = 10.0


@dataclass(slots=True)
class _Group:
    """What is written together; ``entries`` is null until the facts are sealed."""

    facts: list[Fact]
    entries: SealedEntries | None = None


class AuditTrail:
    """An ``AuditRecorder`` that keeps one hash-chained trail.

    ``record`` and ``count_grant`` only take note; ``run`` writes every half second, or as soon as 256 facts wait. While
    the sink is away facts wait in their order, up to 10,000; how many were dropped beyond is an entry itself. All
    methods belong to one event loop.

    What a process that is killed may lose: the facts of the last flush period (0.5 s, longer while the sink is away:
    then all that waited), and the counts of grants of the current minute. Nothing that was written. Its successor
    writes ``started`` first, so that the place of a possible loss can be seen. What was written after the last anchor
    (10 s) can be cut off by somebody who can write the store, without the anchors telling.

    Args:
        chain: name of the chain; one process at a time writes it.
        sink: where entries are kept.
        clock: what entries are dated by.
        anchor: tells the gateway where the chain stands; null where the gateway keeps the chain itself.
        limits: sizes and periods.

    Attributes:
        head: where the chain stands in the sink; null until that is known, or when it is new.
        fault: why the sink was of no use the last time; empty when it was.
    """

    def __init__(
        self,
        chain: str,
        sink: AuditSink,
        clock: Clock,
        *,
        anchor: Callable[[ChainHead], Awaitable[object]] | None = None,
        limits: TrailLimits | None = None,
    ) -> None:
        self._chain = chain
        self._sink = sink
        self._clock = clock
        self._anchor = anchor
        self._limits = limits if limits is not None else TrailLimits()
        self._waiting = WaitingFacts(self._limits.max_waiting, self._limits.max_counters)
        # One group on its way, or to be sent again, and at most one behind it.
        self._groups: deque[_Group] = deque()
        self._is_head_known = False
        self._is_started = False
        self._anchored_index = 0
        self._wake = asyncio.Event()
        self._flushing = asyncio.Lock()
        self.head: ChainHead | None = None
        self.fault = ""

    @property
    def waiting(self) -> int:
        """How many facts are not written yet."""
        return len(self._waiting) + sum(len(group.facts) for group in self._groups)

    def record(
        self,
        kind: str,
        *,
        subject: str = "",
        operation: str = "",
        target: str = "",
        outcome: str = "ok",
        reason: str = "",
        address: str = "",
        request_id: str = "",
        count: int = 1,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Take note of one thing; returns at once and never raises. Secrets are cut out of its texts."""
        fact = make_fact(
            self._clock.now_s(), kind, subject, operation, target, outcome, reason, address, request_id, count, details
        )  # fmt: skip
        if self._waiting.add(fact) >= self._limits.batch:
            self._wake.set()

    def count_grant(self, subject: str, operation: str) -> None:
        """Count an ordinary grant; one entry a subject, operation and minute, written when the minute is over."""
        if len(subject) > _MAX_NAME or len(operation) > _MAX_NAME:
            subject, operation = cleaned_text(subject, _MAX_NAME), cleaned_text(operation, _MAX_NAME)
        self._waiting.count_grant(int(self._clock.now_s() // _MINUTE_S), subject, operation)

    async def start(self) -> None:
        """Begin: the first entry from now on says so. A sink that is away is no error; safe to repeat."""
        if not self._is_started:
            self._is_started = True
            self._waiting.add_first(started(self._clock.now_s()))
        await self.flush()

    async def run(self, stop_event: asyncio.Event) -> None:
        """Write and anchor until the event is set; ``stop`` writes the rest."""
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(self._keep_flushing())]
            if self._anchor is not None:
                loops.append(group.create_task(self._keep_anchoring()))
            await stop_event.wait()
            for loop in loops:
                loop.cancel()

    async def flush(self) -> None:
        """Write all that waits; what cannot be written goes on waiting, and ``fault`` says why. Never raises."""
        await self._flush(is_last=False)

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Write all that waits, counts of the current minute too, and anchor it; what is told later is lost.

        Args:
            timeout_s: after it the rest is given up.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._flush(is_last=True)
                await self._anchor_once()
        if self.waiting:
            _log.error("audit entries given up", chain=self._chain, entries=self.waiting, reason=self.fault)

    async def _keep_flushing(self) -> None:
        while True:
            if self.fault:  # tried once a period, however many wait
                await asyncio.sleep(self._limits.flush_period_s)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.flush_period_s):
                        await self._wake.wait()
            await self.flush()

    async def _keep_anchoring(self) -> None:
        while True:
            await asyncio.sleep(self._limits.anchor_period_s)
            await self._anchor_once()

    async def _flush(self, *, is_last: bool) -> None:
        async with self._flushing:
            self._wake.clear()
            while await self._write_next(is_last):
                pass

    async def _write_next(self, is_last: bool) -> bool:
        """Write one group; return whether it is worthwhile to go on."""
        if not self._groups and not self._take_group(is_last):
            return False
        preparing: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._limits.call_timeout_s):
                if not self._is_head_known:
                    self.head = await self._sink.head(self._chain)
                    self._is_head_known = True
                sealed = self._seal()
                preparing = asyncio.create_task(self._prepare_next(is_last))
                await self._sink.append(sealed)
        except Conflict as error:
            # The chain stands elsewhere: it was restored, or somebody else has written it. Nothing of the group was
            # kept, so it is sealed anew on what is there.
            self._failed(error.message)
            self._is_head_known = False
            for group in self._groups:
                group.entries = None
            return False
        except TimeoutError:
            self._failed(f"no answer within {self._limits.call_timeout_s:g} s")
            return False
        except Exception as error:
            # The same sealed entries are sent again: whether they arrived is open.
            self._failed(error.message if isinstance(error, ZejzlError) else type(error).__name__)
            return False
        finally:
            if preparing is not None:
                preparing.cancel()
        self._groups.popleft()
        self.head = sealed.head
        if self.fault:
            _log.info("audit trail is written again", chain=self._chain)
            self.fault = ""
        return True

    async def _prepare_next(self, is_last: bool) -> None:
        """Seal the next group while the store writes this one."""
        await asyncio.sleep(0)  # by then the store has given this one to its thread
        if len(self._groups) == 1 and self._take_group(is_last):
            self._seal()

    def _take_group(self, is_last: bool) -> bool:
        facts = self._waiting.take(self._limits.batch, self._clock.now_s(), is_last=is_last)
        if facts:
            self._groups.append(_Group(facts))
        return bool(facts)

    def _seal(self) -> SealedEntries:
        """Seal the groups that are not yet, each behind the one before it; return the first."""
        head, sealed = self.head, []
        for group in self._groups:
            if group.entries is None:
                group.entries = seal_all(head, self._chain, group.facts)
            sealed.append(group.entries)
            head = group.entries.head
        return sealed[0]

    async def _anchor_once(self) -> None:
        head = self.head
        if self._anchor is None or head is None or head.index == self._anchored_index:
            return
        try:
            async with asyncio.timeout(self._limits.call_timeout_s):
                await self._anchor(head)
        except Exception as error:  # tried again after the next period
            _log.warning(
                "audit head not anchored; trying again", chain=self._chain, error=type(error).__name__
            )
        else:
            self._anchored_index = head.index

    def _failed(self, why: str) -> None:
        if not self.fault:
            _log.error("audit trail not written; trying again", chain=self._chain, reason=why)
        self.fault = why or "unknown"
