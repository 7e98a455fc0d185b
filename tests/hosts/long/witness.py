"""Sentinel on three hosts, as docs/operations.md sets it up under "A witness": the third one has no more than that."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.hosts.heads import HeadStage, is_ready
from tests.hosts.hosts import PROJECT, Host
from tests.hosts.ray_cluster import RayCluster, two_hosts
from tests.hosts.waiting import wait_until

PORT: Final = 26379
AGREE_S: Final = 60.0
_FOLDER: Final = "sentinel"


class Sentinels:
    """The three of them, started, and each knows the two others and the replica.

    Args:
        cluster: both Redis run, Ray need not.
        witness: a host with ``redis-server`` and nothing of the project.
    """

    def __init__(self, cluster: RayCluster, witness: Host) -> None:
        self._cluster = cluster
        self.witness = witness
        self.hosts = (cluster.mainpc, cluster.pc2, witness)
        cluster.mainpc.run(f"zejzl tls issue witness --address {witness.address}")
        witness.run(f"mkdir -p -m 700 {_FOLDER}")
        made = " ".join(
            f"~/.local/share/zejzl/tls/{name}" for name in ("ca.pem", "witness.pem", "witness.key")
        )
        cluster.mainpc.run(
            f"scp -q {made} {witness.address}:{_FOLDER}/; rm ~/.local/share/zejzl/tls/witness.key"
        )
        for host in self.hosts:
            self._configure(host)
            self.start(host)
        wait_until(self._have_met, limit_s=AGREE_S, what="the Sentinels know one another")

    def start(self, host: Host) -> None:
        """Start that of one machine with what it knew, as its unit does: the first time, and after a boot."""
        host.run(
            f"setsid redis-server {host.home}/{_FOLDER}/sentinel.conf --sentinel </dev/null >>{_FOLDER}/log 2>&1 &"
        )

    def primary(self, host: Host) -> str:
        """Return the address of the primary that one of them names; nothing while it does not answer."""
        return self._ask(host, "get-master-addr-by-name zejzl").partition("\n")[0].strip()

    def logs(self) -> str:
        """Return the end of what each wrote."""
        parts = [
            f"--- {host.name} sentinel\n{host.run(f'tail -n 30 {_FOLDER}/log', is_checked=False).output}"
            for host in self.hosts
        ]
        return "\n".join(parts)

    def _configure(self, host: Host) -> None:
        tls = f"{host.home}/.local/share/zejzl/tls" if host is not self.witness else f"{host.home}/{_FOLDER}"
        password = self._cluster.mainpc.run("cat ~/.local/share/zejzl/redis_password").output.strip()
        text = (PROJECT / "deploy" / "sentinel.conf").read_text()
        text = (
            text.replace("192.168.1.12", host.address)
            .replace("192.168.1.10", self._cluster.mainpc.address)
            .replace("dir /var/lib/zejzl-sentinel", f"dir {host.home}/{_FOLDER}")
            .replace("/var/lib/zejzl-sentinel/", f"{tls}/")
            .replace("/witness.", f"/{host.name}.")
            .replace("PASSWORD", password)
        )
        folder = host.folder / "home" / _FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "sentinel.conf").write_text(text)
        (folder / "sentinel.conf").chmod(0o600)

    def _have_met(self) -> bool:
        told = [self._ask(host, "master zejzl").split("\n") for host in self.hosts]
        return all(
            dict(zip(lines[::2], lines[1::2], strict=False)).get("num-other-sentinels") == "2"
            and dict(zip(lines[::2], lines[1::2], strict=False)).get("num-slaves") == "1"
            for lines in told
        )

    def _ask(self, host: Host, question: str) -> str:
        tls = f"{_FOLDER}/ca.pem {_FOLDER}/witness.pem {_FOLDER}/witness.key".split()
        if host is not self.witness:
            folder = "~/.local/share/zejzl/tls"
            tls = [f"{folder}/ca.pem", f"{folder}/{host.name}.pem", f"{folder}/{host.name}.key"]
        return host.run(
            f"timeout 3 redis-cli --tls --cacert {tls[0]} --cert {tls[1]} --key {tls[2]} "
            f"-h {host.address} -p {PORT} sentinel {question}",
            is_checked=False,
            timeout_s=10,
        ).output


@contextmanager
def heads_with_witness(prefix: str) -> Iterator[tuple[HeadStage, Sentinels]]:
    """Start the project's own ``cluster.yaml`` with a replica on pc2 and a witness, and a writer on both machines.

    Args:
        prefix: of every name.
    """
    with two_hosts(prefix, has_replica=True) as cluster:
        network = cluster.mainpc.network
        with Host(network, "witness", 13) as witness:
            file = cluster.mainpc.folder / "home" / "cluster.yaml"
            voters = ",".join(host.address for host in (cluster.mainpc, cluster.pc2, witness))
            options = f"when_away=witness&sentinels={voters}"
            file.write_text(file.read_text().replace("when_away=acknowledge", options))
            sentinels = Sentinels(cluster, witness)
            try:
                cluster.up()
                wait_until(lambda: is_ready(cluster.mainpc), limit_s=150, what="every service is ready")
                yield HeadStage(cluster), sentinels
            except Exception as error:
                raise AssertionError(f"{error}\n{cluster.logs()}\n{sentinels.logs()}") from None
