"""Group commit: whoever waits while a batch is on its way goes together in the next one.

Nothing is delayed to fill a batch. A lone commit goes out at once; under load one fsync or one round trip
carries many.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from zejzl_ray.errors import StoreError, StoreUnavailable, ZejzlError
from zejzl_ray.store.operations import Prepared

MAX_BATCH_COMMITS = 256  # far below the commit window, so that a batch that is sent again finds its own ids
MAX_BATCH_BYTES = 16 * 1024 * 1024
MAX_WAITING = 8192


@dataclass(slots=True, eq=False)
class Waiting:
    """A commit and the caller that waits for it; the future is done early when the caller gave up."""

    prepared: Prepared
    future: asyncio.Future[None] = field(repr=False)


Outcome = ZejzlError | None
Send = Callable[[Sequence[Waiting]], Awaitable[Sequence[Outcome]]]


class GroupCommitter:
    """Collects concurrent commits into batches, in the order of arrival.

    Args:
        name: the store, for error texts.
        send: applies a batch and returns one outcome for each of its commits; raising fails the whole batch.
        timeout_s: how long a caller waits at most, queueing included.
    """

    def __init__(self, name: str, send: Send, *, timeout_s: float) -> None:
        self._name = name
        self._send = send
        self._timeout_s = timeout_s
        self._waiting: deque[Waiting] = deque()
        self._room = asyncio.Semaphore(MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        # What the last attempt failed with; said to callers that run out of time.
        self.trouble = ""

    async def submit(self, prepared: Prepared) -> None:
        """Return when the commit is durable.

        Raises:
            StoreUnavailable: no answer within the time limit, or the store was closed.
            ZejzlError: the outcome that ``send`` gave for this commit.
        """
        try:
            async with asyncio.timeout(self._timeout_s), self._room:
                if self._is_closed:
                    raise closed(self._name)
                waiting = Waiting(prepared, asyncio.get_running_loop().create_future())
                self._waiting.append(waiting)
                if self._task is None:
                    self._task = asyncio.create_task(self._drain(), name=f"store-commit-{self._name}")
                await waiting.future
        except TimeoutError:
            raise StoreUnavailable(
                f"{self._name}: no answer to a commit within {self._timeout_s:g} s. {self.trouble}".strip(),
                "It may still have been applied; repeating it with the same commit_id is safe.",
            ) from None

    async def close(self) -> None:
        """Let the batch on its way finish within the time limit; refuse the rest. Safe to repeat."""
        self._is_closed = True
        while self._waiting:
            _settle(self._waiting.popleft(), closed(self._name))
        task = self._task
        if task is None:
            return
        done, _ = await asyncio.wait({task}, timeout=self._timeout_s)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=1)

    async def _drain(self) -> None:
        batch: list[Waiting] = []
        try:
            while batch := self._take():
                try:
                    outcomes = await self._send(batch)
                except ZejzlError as error:
                    outcomes = [error] * len(batch)
                except Exception as error:
                    # A defect of an implementation must not leave the callers behind it waiting for nothing.
                    outcomes = [StoreError(f"{self._name}: unexpected {error!r}; it may be applied.")] * len(
                        batch
                    )
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    _settle(waiting, outcome)
        finally:
            # Reached with a non-empty batch only when cancelled by close(): nobody may hang.
            for waiting in batch:
                _settle(
                    waiting, StoreUnavailable(f"{self._name}: the commit was interrupted and may be applied.")
                )
            self._task = None

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size_bytes = 0
        while self._waiting and len(batch) < MAX_BATCH_COMMITS:
            size_bytes += self._waiting[0].prepared.size_bytes
            if batch and size_bytes > MAX_BATCH_BYTES:
                break
            waiting = self._waiting.popleft()
            if not waiting.future.done():
                batch.append(waiting)
        return batch


def closed(name: str) -> StoreUnavailable:
    """Return the error of every call after ``close``."""
    return StoreUnavailable(f"{name}: the store is closed.")


def _settle(waiting: Waiting, outcome: Outcome) -> None:
    if waiting.future.done():
        return
    if outcome is None:
        waiting.future.set_result(None)
    else:
        # One exception object raised in many tasks would collect all their tracebacks.
        waiting.future.set_exception(type(outcome)(*outcome.args))
