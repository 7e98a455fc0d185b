"""What the real servers for tests have in common: a process, a directory, a log, and their end."""

import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0


class ServerProcess(ABC):
    """One server process; a context manager that starts it and cleans up.

    Args:
        name: of its log, ``<name>.log``, and of a temporary directory.
        directory: where it keeps everything; a temporary one, removed at the end, when left out.
    """

    def __init__(self, name: str, directory: Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix=f"zejzl-{name}-") if directory is None else None
        self.directory = Path(self._temporary.name) if self._temporary else Path(directory or ".")
        self._log = self.directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    @abstractmethod
    def start(self) -> Self:
        """Start it and wait until it answers; safe to repeat.

        Raises:
            NotFound: there is no such program.
            ServiceUnavailable: it did not within 20 s; holds the end of its log.
        """

    def stop(self) -> None:
        """End it in an orderly way, killing it after 10 s; safe to repeat."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End it as a crash does (SIGKILL); safe to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def restart(self) -> None:
        """Stop it if it runs, then start it on the same port with the same data."""
        self.stop()
        self.start()

    def log_tail(self) -> str:
        """Return the last lines of the server's log."""
        try:
            return self._log.read_text(errors="replace")[-2000:]
        except OSError:
            return "no log"

    def close(self) -> None:
        """Stop it and remove a temporary directory; safe to repeat."""
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        """Start it."""
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and remove a temporary directory."""
        self.close()

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _launch(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start the process; what it says goes to the end of the log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self._process
