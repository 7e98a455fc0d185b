"""A private event loop in a thread, so that blocking code can use the asynchronous client."""

import asyncio
import concurrent.futures
import contextlib
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, Final, Generic, TypeVar

from zejzl_ray.errors import DeadlineExceeded, ZejzlError

START_S: Final = 10.0
STOP_S: Final = 10.0

T = TypeVar("T")


class LoopThread:
    """Runs coroutines in its own thread and loop; works inside Jupyter, whose loop is another one.

    The thread is a daemon and is also stopped at exit of the interpreter, so a forgotten ``close`` hangs
    nothing.
    """

    def __init__(self) -> None:
        self._worker = _Worker()
        self._closer = weakref.finalize(self, self._worker.stop)

    def run(self, coroutine: Coroutine[Any, Any, T], limit_s: float | None) -> T:
        """Run a coroutine and return its result; whatever interrupts the wait cancels it.

        Args:
            coroutine: what to run.
            limit_s: longest wait; null leaves the limit to the coroutine.

        Raises:
            DeadlineExceeded: still running after ``limit_s``.
            ZejzlError: closed already, or called from the loop's own thread.
        """
        if not self.is_open or self._worker.is_current():
            coroutine.close()
            if self.is_open:
                raise ZejzlError(
                    "A blocking client was called from its own event loop.", "Use AsyncClient there."
                )
            raise ZejzlError("This client is closed.", "Connect again.")
        call = _Call(coroutine)
        # Ctrl-C may strike at any point from here on, and nothing may go on in the background then
        try:
            future = asyncio.run_coroutine_threadsafe(call.run(), self._worker.loop)
            done, _ = concurrent.futures.wait((future,), limit_s)
            if not done:
                raise DeadlineExceeded(f"No result within {limit_s:.1f} s.", "Wait longer, or see the log.")
            return future.result()
        except BaseException:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the coroutine with it
                self._worker.loop.call_soon_threadsafe(call.abandon)
            raise

    @property
    def is_open(self) -> bool:
        """Whether coroutines can be run."""
        return self._closer.alive

    def close(self) -> None:
        """Cancel what still runs and end the thread; safe to repeat."""
        self._closer()


class _Call(Generic[T]):
    """A coroutine that can be cancelled before it has begun, too."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._is_abandoned = False

    async def run(self) -> T:
        if self._is_abandoned:
            self._coroutine.close()
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        return await self._coroutine

    def abandon(self) -> None:
        self._is_abandoned = True
        if self._task is not None:
            self._task.cancel()


class _Worker:
    def __init__(self) -> None:
        started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._main, args=(started,), name="zejzl-client", daemon=True)
        self._thread.start()
        self.loop = started.result(START_S)

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                self.loop.call_soon_threadsafe(self._ended.set)
            if not self.is_current():
                self._thread.join(STOP_S)

    def _main(self, started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
        asyncio.run(self._serve(started))  # cancels what is left when it ends

    async def _serve(self, started: concurrent.futures.Future[asyncio.AbstractEventLoop]) -> None:
        self._ended = asyncio.Event()
        started.set_result(asyncio.get_running_loop())
        await self._ended.wait()
