"""Questions and answers over one ssh connection: the program goes in first, then one line a question."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from zejzl_ray.cluster_check.remote.program import MARKER

_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_MAX_ERRORS_BYTES: Final = 20_000
_MAX_NOISE_BYTES: Final = 2_000
_END_LIMIT_S: Final = 3.0
_ERRORS_LIMIT_S: Final = 1.0


class ConversationEnded(Exception):
    """The other side does not answer any more.

    Args:
        status: exit status of the command; None when it did not end or could not be run.
        said: the end of what it wrote on standard error.
    """

    def __init__(self, status: int | None, said: str) -> None:
        super().__init__(status, said)
        self.status = status
        self.said = said


class Conversation:
    """One machine that answers; an asynchronous context manager that ends the command.

    Args:
        argv: command that runs the program on the machine.
        program: its source, sent first.
    """

    def __init__(self, argv: Sequence[str], program: bytes) -> None:
        self._argv = tuple(argv)
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._errors = b""
        self._noise = b""
        self._is_lost = False
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Conversation":
        """Run the command and send the program; whether anybody takes it shows with the first question."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_MAX_ANSWER_BYTES,
                start_new_session=True,
            )
        except OSError as error:
            raise ConversationEnded(None, f"cannot run {self._argv[0]}: {error.strerror}") from None
        self._reader = asyncio.create_task(self._read_errors(self._process))
        await self._send(self._process, self._program)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the command; it is killed when it does not end by itself."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 0.0 if self._is_lost else _END_LIMIT_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    async def ask(self, question: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        """Return the answer to one question; ask one at a time.

        Raises:
            ConversationEnded: the connection broke, there is nobody to answer, or not in time.
        """
        process = self._process
        if process is None or process.stdout is None:
            raise ConversationEnded(None, "not connected")
        await self._send(process, orjson.dumps(dict(question)) + b"\n")
        try:
            async with asyncio.timeout(limit_s):
                while line := await process.stdout.readline():
                    _, marker, answer = line.partition(MARKER.encode())
                    if marker:
                        found = orjson.loads(answer)
                        if not isinstance(found, dict):
                            raise ValueError
                        return found
                    self._noise = (self._noise + line)[-_MAX_NOISE_BYTES:]
                status: int | None = await process.wait()
        except TimeoutError:
            self._is_lost = True
            raise ConversationEnded(None, f"{self._said()}\nno answer within {limit_s:g} s") from None
        except ValueError:  # a line that is too long, or no JSON behind the marker
            raise ConversationEnded(None, "the answer cannot be read") from None
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=_ERRORS_LIMIT_S)
        # Who may not log in is told so on standard output.
        raise ConversationEnded(status, self._said() or self._noise.decode(errors="replace"))

    async def _send(self, process: asyncio.subprocess.Process, data: bytes) -> None:
        if process.stdin is None:
            return
        # A broken pipe is told by the next reading, which knows why.
        with contextlib.suppress(ConnectionError):
            process.stdin.write(data)
            await process.stdin.drain()

    async def _read_errors(self, process: asyncio.subprocess.Process) -> None:
        while process.stderr is not None and (chunk := await process.stderr.read(4096)):
            self._errors = (self._errors + chunk)[-_MAX_ERRORS_BYTES:]

    def _said(self) -> str:
        return self._errors.decode(errors="replace")
