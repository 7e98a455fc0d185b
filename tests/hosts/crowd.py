"""Clients on both hosts that write all the time, and the judgement of what they were told."""

import contextlib
import json
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tests.hosts.crowd_client import REGISTERS
from tests.hosts.hosts import Host
from tests.hosts.ray_cluster import DATA_DIR, RayCluster
from tests.hosts.waiting import wait_until
from zejzl_ray.testing.history import Call, Outcome, Verdict, judge, read_journals

CLIENTS: Final = {"mainpc": ("m1", "m2"), "pc2": ("p1", "p2")}
_EVERYBODY: Final = {name for names in CLIENTS.values() for name in names}
_FOLDER: Final = "history"
_AT_HOME: Final = "http://127.0.0.1:7000"
_TAIL_BYTES: Final = 8192
_START_S: Final = 40.0


class Crowd:
    """The clients of one test; a context manager that ends them.

    Args:
        cluster: must be up, with every service ready.
        is_local: each client asks its own machine, where somebody answers while that is the head, which mainpc is at
            first; else all ask mainpc.
    """

    def __init__(self, cluster: RayCluster, *, is_local: bool = False) -> None:
        self._cluster = cluster
        self._is_local = is_local
        self._hosts = (cluster.mainpc, cluster.pc2)

    def __enter__(self) -> "Crowd":
        """Make the registers, start every client, and wait until each was answered."""
        token = f"{DATA_DIR}/token"
        self._cluster.mainpc.run(f"scp -q {token} {self._cluster.pc2.address}:{token.removeprefix('~/')}")
        self._cluster.python(
            f"""
            from zejzl_ray import connect
            with connect() as client:
                for name in {REGISTERS!r}:
                    client.register(name, metadata={{"value": ""}})
            answer(True)
            """
        )
        for host in self._hosts:
            host.run(f"rm -rf ~/{_FOLDER}; mkdir ~/{_FOLDER}")
            self.start(host)
        wait_until(self._everybody_answered, limit_s=_START_S, what="every client writes")
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self, host: Host) -> None:
        """Start the clients of a host, on which none runs: the first time, and after its boot."""
        for name in CLIENTS[host.name]:
            host.run(
                f"setsid python -m tests.hosts.crowd_client ~/{_FOLDER} {name} {self._address(host)} "
                f">>~/{_FOLDER}/{name}.log 2>&1 </dev/null &"
            )

    def stop(self) -> None:
        """Kill every client; what they were in the middle of stays unknown."""
        for host in self._hosts:
            for pid in host.pids():
                with contextlib.suppress(OSError):
                    if b"tests.hosts.crowd_client" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)

    def calls(self) -> list[Call]:
        """Return what everybody has written down so far, in the order in which calls began."""
        paths = [path for host in self._hosts for path in (host.folder / "home" / _FOLDER).glob("*.jsonl")]
        return read_journals(paths)

    def are_all_answered(self, since_s: float, names: Collection[str] = _EVERYBODY) -> bool:
        """Whether each of some clients has been answered after a moment; looks at the last of each journal only."""
        answered: set[str] = set()
        for host in self._hosts:
            for path in (host.folder / "home" / _FOLDER).glob("*.jsonl"):
                if _last_answer_s(path) > since_s:
                    answered.add(path.name.partition(".")[0])
        return answered.issuperset(names)

    def verdict(self, head: Host | None = None) -> Verdict:
        """Stop everybody, read every register once more at the head, mainpc unless told, and judge."""
        self.stop()
        head = head or self._cluster.mainpc
        head.run(f"python -m tests.hosts.crowd_client ~/{_FOLDER} final {_AT_HOME} final", timeout_s=90)
        return judge(self.calls())

    def logs(self) -> str:
        """Return what the clients printed, which is nothing unless one broke."""
        return "\n".join(
            host.run(f"tail -c 2000 ~/{_FOLDER}/*.log", is_checked=False).output for host in self._hosts
        )

    def _everybody_answered(self) -> bool:
        return self.are_all_answered(0.0, CLIENTS["mainpc"] if self._is_local else _EVERYBODY)

    def _address(self, host: Host) -> str:
        own = self._is_local or host is self._cluster.mainpc
        return _AT_HOME if own else f"https://{self._cluster.mainpc.address}:7000"


def _last_answer_s(path: Path) -> float:
    """Return when the last call of a journal ended that was answered; 0 where none is among its last lines."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    for text in reversed(lines):
        with contextlib.suppress(json.JSONDecodeError):
            line = json.loads(text)
            if line.get("outcome") in (Outcome.OK, Outcome.REFUSED):
                return float(line["ended_s"])
    return 0.0
