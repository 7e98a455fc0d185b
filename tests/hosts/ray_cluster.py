"""The project's own ``cluster.yaml`` on two test hosts, started as a stranger starts it."""

import json
import shlex
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.hosts.commands import Finished
from tests.hosts.hosts import PROJECT, Host
from tests.hosts.network import Network

CLUSTER_FILE: Final = "~/cluster.yaml"
VRAM_MIB: Final = {"mainpc": 24564, "pc2": 12288}
_UP_LIMIT_S: Final = 120.0
_DOWN_LIMIT_S: Final = 90.0


class RayCluster:
    """Two hosts, mainpc and pc2, and the commands that a person gives on mainpc."""

    def __init__(self, mainpc: Host, pc2: Host) -> None:
        self.mainpc = mainpc
        self.pc2 = pc2

    def prepare(self) -> None:
        """Edit the two addresses and the ssh login in ``cluster.yaml``, and make the token, on mainpc."""
        document = yaml.safe_load((PROJECT / "cluster.yaml").read_text())
        document["provider"]["head_ip"] = self.mainpc.address
        document["provider"]["worker_ips"] = [self.pc2.address]
        document["auth"]["ssh_user"] = "root"
        (self.mainpc.folder / "home" / "cluster.yaml").write_text(yaml.safe_dump(document))
        self.mainpc.run("zejzl node token")

    def up(self) -> Finished:
        """Run ``ray up``; it returns when the head is up, and the worker follows."""
        return self.mainpc.run(f"ray up -y --no-config-cache {CLUSTER_FILE}", timeout_s=_UP_LIMIT_S)

    def down(self) -> Finished:
        """Run ``ray down``; it returns when the head is stopped, and the worker follows."""
        return self.mainpc.run(f"ray down -y {CLUSTER_FILE}", timeout_s=_DOWN_LIMIT_S)

    def ask(self, program: str, *, timeout_s: float = 60.0) -> Any:
        """Run a Python program on mainpc as a client of the cluster; return what it passes to ``answer``.

        ``ray`` and ``answer`` are there already; the connection is made.
        """
        connected = (
            "import json, os, pathlib, sys\n"
            "token = pathlib.Path('~/.local/share/zejzl/ray_token').expanduser()\n"
            "os.environ.update(RAY_AUTH_MODE='token', RAY_AUTH_TOKEN_PATH=str(token))\n"
            "import ray\n"
            f"ray.init(address='{self.mainpc.address}:6379', namespace='zejzl', log_to_driver=False)\n"
            "def answer(value): print('ANSWER' + json.dumps(value))\n"
        ) + textwrap.dedent(program)
        done = self.mainpc.run(
            f"timeout {timeout_s:g} python -c {shlex.quote(connected)} 2>&1", timeout_s=timeout_s + 10
        )
        line = next(line for line in done.output.splitlines() if line.startswith("ANSWER"))
        return json.loads(line.removeprefix("ANSWER"))

    def dashboard(self, path: str) -> Any:
        """Return what the dashboard says under this path, asked on mainpc with the Ray token."""
        token = '"Authorization: Bearer $(cat ~/.local/share/zejzl/ray_token)"'
        done = self.mainpc.run(f"curl -fsS -m 20 -H {token} 'http://127.0.0.1:8265{path}'", timeout_s=30)
        return json.loads(done.output)

    def logs(self) -> str:
        """Return the end of what the supervisors and the start of the services wrote, for a failed test."""
        parts = []
        for host in (self.mainpc, self.pc2):
            for name in ("node.log", "services.log"):
                found = host.run(f"tail -c 3000 ~/.local/share/zejzl/{name}", is_checked=False)
                parts.append(f"--- {host.name} {name}\n{found.output}")
        return "\n".join(parts)


@contextmanager
def two_hosts(prefix: str) -> Iterator[RayCluster]:
    """Make mainpc and pc2 with one declared CPU and simulated cards each; nothing runs on them yet."""
    with Network(prefix) as network:
        names = {"mainpc": network.address(11), "pc2": network.address(12)}
        environment = {
            "ZEJZL_CPUS": "1",
            "ZEJZL_OBJECT_STORE_MIB": "200",
            "ZEJZL_SIMULATED_GPUS": ";".join(f"{name}=Card:{mib}" for name, mib in VRAM_MIB.items()),
            "PYTHONPATH": str(PROJECT),
        }
        with (
            Host(network, "mainpc", 11, environment=environment, neighbours=names) as mainpc,
            Host(network, "pc2", 12, environment=environment, neighbours=names) as pc2,
        ):
            for host in (mainpc, pc2):
                _provide_command(host)
            cluster = RayCluster(mainpc, pc2)
            cluster.prepare()
            yield cluster


def _provide_command(host: Host) -> None:
    """Give the host a ``zejzl`` of this very source tree, whether or not the project is installed."""
    folder = host.folder / "home" / "bin"
    folder.mkdir()
    program = folder / "zejzl"
    program.write_text(f'#!/bin/sh\nexec {Path(sys.prefix) / "bin/python"} -m zejzl_ray.cli.main "$@"\n')
    program.chmod(0o755)
    with (host.folder / "home" / ".bashrc").open("a") as file:
        file.write('export PATH="$HOME/bin:$PATH"\n')
