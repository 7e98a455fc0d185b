"""The containers of deploy/compose.yaml on test hosts: their commands, environment and health checks, without Docker.

A host is a container of its own process, mount and network namespaces; the head lives with Redis, whose network it
shares in the file too. What differs: the addresses, the places of the volumes, and that everything runs as root.
"""

import shlex
from pathlib import Path
from typing import Any, Final

import yaml

from tests.hosts.commands import Finished
from tests.hosts.hosts import PROJECT, Host
from tests.hosts.waiting import wait_until

_FILE: Final = PROJECT / "deploy" / "compose.yaml"
_ENTRYPOINT: Final = PROJECT / "deploy" / "container" / "entrypoint.sh"
_IN_IMAGE: Final = "/usr/local/lib/zejzl/entrypoint.sh"
_VOLUMES: Final = "/tmp/machines"
_PLACES: Final = {
    "MACHINES_DIR": _VOLUMES,
    "REDIS_DIR": "/tmp/redis",
    "REDIS_CONF": str(PROJECT / "deploy" / "redis.conf"),
}
_STOP_LIMIT_S: Final = 60.0


class Container:
    """One service of the file.

    Args:
        name: of the service.
        host: where it runs.
        addresses: address in the file -> address here.
    """

    def __init__(self, name: str, host: Host, addresses: dict[str, str]) -> None:
        self.name = name
        self.host = host
        text = _FILE.read_text()
        for there, here in addresses.items():
            text = text.replace(there, here)
        self._service: dict[str, Any] = yaml.safe_load(text)["services"][name]

    def run(self, command: str, *, timeout_s: float = 60.0, is_checked: bool = True) -> Finished:
        """Run a shell command in its environment, as ``docker compose exec`` does."""
        places = {**self._service["environment"], **_PLACES}
        places = {key: value.replace("/machines/own", f"{_VOLUMES}/own") for key, value in places.items()}
        given = " ".join(f"{key}={shlex.quote(value)}" for key, value in places.items())
        return self.host.run(f"export {given}; {command}", timeout_s=timeout_s, is_checked=is_checked)

    def start(self) -> None:
        """Start it in the background, as ``docker compose up`` does."""
        words = shlex.join(self._service["command"])
        into = f">>{self._log} 2>&1 </dev/null"
        self.run(f"setsid {_ENTRYPOINT} {words} {into} & echo $! >{self._pid}")

    def run_to_end(self) -> Finished:
        """Run it as a container that does its work and ends."""
        return self.run(f"{_ENTRYPOINT} {shlex.join(self._service['command'])}")

    def health(self) -> Finished:
        """Run its health check once, within the time that the file gives it."""
        check = self._service["healthcheck"]
        kind, program, *words = check["test"]
        assert (kind, program) == ("CMD", _IN_IMAGE)
        limit = check["timeout"].removesuffix("s")
        return self.run(f"timeout {limit} {_ENTRYPOINT} {shlex.join(words)}", is_checked=False)

    def wait_until_healthy(self, limit_s: float) -> None:
        """Wait until its health check says so.

        Raises:
            AssertionError: it did not; holds what it wrote.
        """
        try:
            wait_until(lambda: self.health().status == 0, limit_s=limit_s, what=f"{self.name} is healthy")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def stop(self) -> None:
        """Ask it to end and wait for it, as ``docker compose stop`` does."""
        self.run(f"kill -TERM $(cat {self._pid})")
        wait_until(
            lambda: self.run(f"kill -0 $(cat {self._pid})", is_checked=False).status != 0,
            limit_s=_STOP_LIMIT_S,
            what=f"{self.name} has ended",
        )

    def log(self) -> str:
        """Return the end of what it wrote."""
        found = self.run(f"tail -c 3000 {self._log} $ZEJZL_DATA_DIR/*.log", is_checked=False)
        return f"--- {self.name}\n{found.output}"

    @property
    def _log(self) -> Path:
        return Path("/tmp", f"{self.name}.log")

    @property
    def _pid(self) -> Path:
        return Path("/tmp", f"{self.name}.pid")


def spread_volumes(head: Host, worker: Host) -> None:
    """Put the volume of each machine that ``init`` has filled where its containers look for it."""
    head.run(f"scp -qr {_VOLUMES}/pc2 {worker.address}:/tmp/", timeout_s=30)
    head.run(f"rm -r {_VOLUMES}/pc2; mv {_VOLUMES}/mainpc {_VOLUMES}/own; mkdir -p /tmp/redis")
    worker.run(f"mkdir -p {_VOLUMES}; mv /tmp/pc2 {_VOLUMES}/own")
