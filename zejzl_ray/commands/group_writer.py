"""Group commit: commands that arrive while the store is busy are decided in order and stored together.

Knows nothing of agents: a service hands in a ``Target``. One commit is under way at a time.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from zejzl_ray.errors import (
    Overloaded,
    ServiceUnavailable,
    StaleEpoch,
    Unavailable,
    VersionConflict,
    ZejzlError,
)

D = TypeVar("D")
_log = structlog.get_logger(__name__)
_ATTEMPTS: Final = 3


class Target(Protocol[D]):
    """What a service does with a group of commands."""

    async def prepare(self) -> None:
        """Make sure that memory agrees with the store before anything is decided; raises when it cannot."""
        ...

    def begin(self) -> D:
        """Return an empty draft."""
        ...

    def is_full(self, draft: D) -> bool:
        """Tell whether no further command fits into this draft's commit."""
        ...

    async def commit(self, draft: D) -> None:
        """Store the draft and apply it, all or nothing.

        Raises:
            VersionConflict: the store has changed meanwhile; ``prepare`` reads it again and the group is
                redecided.
            StaleEpoch: another writer has taken over.
            ZejzlError: nothing was applied.
        """
        ...


@dataclass(slots=True)
class _Waiting(Generic[D]):
    decide: Callable[[D], Any]
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: ZejzlError


class GroupWriter(Generic[D]):
    """Runs commands one after the other and commits them in groups.

    Args:
        target: the service's side.
        max_queue: commands that may wait; above it ``submit`` raises ``Overloaded``.
        max_batch: commands in one commit.
    """

    def __init__(self, target: Target[D], *, max_queue: int, max_batch: int) -> None:
        self._target = target
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._queue: deque[_Waiting[D]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed: ZejzlError | None = None

    def __len__(self) -> int:
        """Return how many commands wait."""
        return len(self._queue)

    async def submit(self, decide: Callable[[D], Any], timeout_s: float | None) -> Any:
        """Have a command decided and committed.

        Args:
            decide: called once its turn comes, and again when the group has to be redecided; records what it decides
                in the draft and returns the answer, or raises to refuse. Must not change anything else. A refusal too
                is told once the group is durable: what it was refused for may come to nothing.
            timeout_s: longest wait. After it the command may still take effect. None leaves the limit to the target's
                commits, each of which has one; a timer for every command costs more than the rest of this call.

        Returns:
            What ``decide`` returned, once the commit is durable.

        Raises:
            Overloaded: too many commands wait.
            TimeoutError: no answer within the time.
            ZejzlError: what ``decide`` or the commit raised.
        """
        if self._closed is not None:
            raise _copy(self._closed)
        if len(self._queue) >= self._max_queue:
            raise Overloaded(
                f"{self._max_queue} commands wait for the store already.", "Send again a little later."
            )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(decide, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="group-writer")
        if timeout_s is None:
            return await future
        async with asyncio.timeout(timeout_s):
            return await future

    async def close(self, error: ZejzlError, timeout_s: float) -> None:
        """Refuse further commands with ``error`` and wait until those that wait are through; safe to repeat.

        Args:
            error: what later callers get.
            timeout_s: after it the rest is refused as well.
        """
        self._closed = error
        task = self._task
        if task is None:
            return
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=timeout_s)
            self._refuse(self._queue, error)

    async def _drain(self) -> None:
        try:
            while self._queue:
                await self._run_group()
        finally:
            self._task = None

    async def _run_group(self) -> None:
        """Decide and commit what waits, up to one full commit."""
        group: list[tuple[_Waiting[D], Any]] = []
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                await self._target.prepare()
                draft = self._target.begin()
                again = [waiting for waiting, _ in group]
                group = self._decide(draft, again)
                try:
                    await self._target.commit(draft)
                except VersionConflict:
                    if attempt == _ATTEMPTS:
                        raise
                else:
                    break
        except asyncio.CancelledError:
            self._refuse(
                (waiting for waiting, _ in group),
                ServiceUnavailable("The service is stopping.", "Send again a little later."),
            )
            raise
        except Exception as error:
            self._fail(group, error)
        else:
            for waiting, reply in group:
                if waiting.future.done():
                    continue
                if isinstance(reply, _Refusal):
                    waiting.future.set_exception(reply.error)
                else:
                    waiting.future.set_result(reply)

    def _decide(self, draft: D, again: list[_Waiting[D]]) -> list[tuple[_Waiting[D], Any]]:
        group: list[tuple[_Waiting[D], Any]] = []
        self._queue.extendleft(reversed(again))
        while self._queue and len(group) < self._max_batch and not self._target.is_full(draft):
            waiting = self._queue.popleft()
            if waiting.future.done():  # its caller is gone and nothing was decided yet
                continue
            try:
                group.append((waiting, waiting.decide(draft)))
            except ZejzlError as error:
                # It may be refused because of what another command of this group does, so it is told with the group.
                group.append((waiting, _Refusal(error)))
            except Exception as error:
                _log.exception("command failed unexpectedly")
                waiting.future.set_exception(error)
        return group

    def _fail(self, group: list[tuple[_Waiting[D], Any]], error: Exception) -> None:
        if isinstance(error, StaleEpoch):
            error = ServiceUnavailable("Another instance of this service has taken over.", "Connect again.")
            self._closed = error
        elif isinstance(error, VersionConflict):
            error = ServiceUnavailable(
                "The store keeps changing under this service.", "Send again a little later."
            )
        elif not isinstance(error, ZejzlError):
            _log.error("commit failed unexpectedly", exc_info=error)
            error = ServiceUnavailable("The commit failed unexpectedly; the log says why.", "Send again.")
        self._refuse((waiting for waiting, _ in group), error)
        if not group or isinstance(error, Unavailable):
            # Those that still wait would meet the same error one by one, each after the store's time limit.
            self._refuse(self._queue, error)
            self._queue.clear()

    @staticmethod
    def _refuse(waiting: Any, error: ZejzlError) -> None:
        for each in waiting:
            if not each.future.done():
                each.future.set_exception(_copy(error))


def _copy(error: ZejzlError) -> ZejzlError:
    """Return an equal error, so that callers do not share one traceback."""
    return type(error)(*error.args)
