"""Senders and receivers in processes of their own, driven from the benchmark over a pipe.

A party is a class with coroutine methods. Times that parties return are monotonic times, which all processes of one
machine share.
"""

import asyncio
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Protocol, Self

LIMIT_S: Final = 120.0


class Party(Protocol):
    """What runs in the process."""

    async def close(self) -> None:
        """End what was opened."""
        ...


class PartyProcess:
    """One party in its own process; a context manager that ends it.

    Args:
        make: makes the party inside of the process; importable by name there.
        arguments: for ``make``.
    """

    def __init__(self, make: Callable[..., Party], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_run, args=(other, os.getpid(), make, arguments), daemon=True)
        self._process.start()
        other.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid or 0

    def begin(self, method: str, *arguments: Any) -> None:
        """Let it run a method; ``result`` waits for it."""
        self._pipe.send((method, arguments))

    def result(self, limit_s: float = LIMIT_S) -> Any:
        """Return what the method that was begun first returns.

        Raises:
            TimeoutError: it did not end in time; the process is ended.
            RuntimeError: it failed; holds its traceback.
        """
        if not self._pipe.poll(limit_s):
            self.kill()
            raise TimeoutError(f"A party did not end within {limit_s:g} s.")
        is_well, value = self._pipe.recv()
        if not is_well:
            raise RuntimeError(f"A party failed:\n{value}")
        return value

    def call(self, method: str, *arguments: Any, limit_s: float = LIMIT_S) -> Any:
        """Run a method and return what it returns."""
        self.begin(method, *arguments)
        return self.result(limit_s)

    def kill(self) -> None:
        """End the process; safe to repeat."""
        self._process.kill()
        self._process.join(10)

    def __enter__(self) -> Self:
        """Nothing more: it runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the party and end its process."""
        try:
            if error is None:
                self.call("close", limit_s=20)
        finally:
            self.kill()


def _run(pipe: Connection, parent: int, make: Callable[..., Party], arguments: tuple[Any, ...]) -> None:
    """Obey the pipe until it closes."""
    if os.getppid() != parent:
        sys.exit("the benchmark has gone already")
    asyncio.run(_obey(pipe, make, arguments))


async def _obey(pipe: Connection, make: Callable[..., Party], arguments: tuple[Any, ...]) -> None:
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[None] = asyncio.Queue()
    # Not a thread that reads the pipe: a second thread of Python would take part in what is measured.
    loop.add_reader(pipe.fileno(), commands.put_nowait, None)
    party = make(*arguments)
    while True:
        await commands.get()
        while pipe.poll():
            try:
                method, given = pipe.recv()
            except EOFError:  # the benchmark has gone
                return
            try:
                answer = (True, await getattr(party, method)(*given))
            except Exception:
                answer = (False, traceback.format_exc())
            pipe.send(answer)
            if method == "close":
                return
