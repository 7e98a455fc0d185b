"""A way to a server that can be cut without a reset: who has a connection hears nothing more, not even its end."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536


class SilentRelay:
    """Relays connections to a port of this machine.

    Args:
        port: where they go.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._is_whole = asyncio.Event()  # of the connections that are made now
        self._is_whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    def cut(self) -> None:
        """Let nothing through any more; who connects is neither refused nor answered."""
        self._is_whole.clear()
        self._is_whole = asyncio.Event()

    def heal(self) -> None:
        """Let new connections through; those of before stay silent, as TCP tries them again later and later."""
        self._is_whole.set()

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            is_whole = self._is_whole
            await is_whole.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._copy(reader, back, is_whole))
                    group.create_task(self._copy(there, writer, is_whole))
            finally:
                back.close()
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_whole: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await is_whole.wait()
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
