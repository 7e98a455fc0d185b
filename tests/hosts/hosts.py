"""Hosts for tests: each with its own processes, mounts, name, network and home, and an ssh server, on one
machine.

A host sees the same files as the machine, except for ``/tmp``, ``/dev/shm``, ``/run`` and the home
directory, which are its own and vanish with it. Root is needed: for namespaces and mounts. Everything here
is bounded in time.
"""

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.hosts.commands import CommandFailed, Finished, run_command
from tests.hosts.leftovers import BASE, kill_all_in_namespace
from tests.hosts.network import Network

PROGRAMS = ("ip", "sshd", "ssh", "ssh-keygen", "rsync", "unshare", "nsenter", "mount", "redis-server")
PROJECT = Path(__file__).resolve().parents[2]

_SEARCH_PATH = f"{Path(sys.prefix) / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNSHARE = ("unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child")
_START_LIMIT_S = 15.0
_STOP_LIMIT_S = 10.0


def reason_to_skip() -> str | None:
    """Return why hosts cannot be made here, or None when they can."""
    if sys.platform != "linux":
        return "hosts are made of Linux namespaces"
    if os.geteuid() != 0:
        return "hosts need root, for namespaces and mounts"
    missing = [name for name in PROGRAMS if shutil.which(name, path=_SEARCH_PATH) is None]
    if missing:
        return f"programs are missing: {', '.join(missing)} (run tests/hosts/prerequisites.sh)"
    tried = subprocess.run(
        [*_UNSHARE, "--net", "true"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    if tried.returncode != 0:
        return f"this machine does not allow namespaces: {tried.stderr.strip()}"
    return None


class Host:
    """One test host; a context manager that tears everything down, also after a failure.

    Args:
        network: where it is connected.
        name: its host name.
        number: last part of its address, 1 to 254, unique in the network.
        environment: variables that every login shell has.
        neighbours: names and addresses that it can resolve, besides its own.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        number: int,
        *,
        environment: Mapping[str, str] | None = None,
        neighbours: Mapping[str, str] | None = None,
    ) -> None:
        self.network = network
        self.name = name
        self.number = number
        self.address = network.address(number)
        self.namespace = f"{network.prefix}{name}"
        self.folder = BASE / self.namespace
        self.home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
        self._environment = dict(environment or {})
        self._neighbours = {name: self.address, **(neighbours or {})}
        self._holder: subprocess.Popen[bytes] | None = None
        self._first_pid = 0

    def __enter__(self) -> "Host":
        """Make the host and wait until its ssh server answers."""
        try:
            self._prepare_files()
            run_command(("ip", "netns", "add", self.namespace), timeout_s=10)
            self.network.attach(self.namespace, self.number)
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the host away."""
        self.close()

    def close(self) -> None:
        """Kill every process of the host, then remove its namespace and files; safe to repeat."""
        self.kill()
        with contextlib.suppress(CommandFailed):
            run_command(("ip", "netns", "del", self.namespace), timeout_s=10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """Cut the power: every process dies at once, mounts go with them. The wire and the address stay."""
        if self._holder is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._holder.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._holder.wait(_STOP_LIMIT_S)
            self._holder = None
        deadline_s = time.monotonic() + _STOP_LIMIT_S
        while self.pids() and time.monotonic() < deadline_s:
            kill_all_in_namespace(self.namespace)
            time.sleep(0.05)

    def boot(self) -> None:
        """Switch a killed host on again: the same files, address and wire, and nothing running but the ssh server."""
        self._start()

    def freeze(self) -> None:
        """Stop every process of the host where it stands, the ssh server too."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen host go on."""
        self._signal_all(signal.SIGCONT)

    def unplug(self) -> None:
        """Pull the network cable."""
        self.network.unplug(self.number)

    def plug(self) -> None:
        """Put the network cable back."""
        self.network.plug(self.number)

    def pids(self) -> list[int]:
        """Return the process ids of everything that runs on the host, as the machine counts them."""
        if not Path("/run/netns", self.namespace).exists():
            return []
        found = run_command(("ip", "netns", "pids", self.namespace), timeout_s=10, is_checked=False)
        return [int(pid) for pid in found.output.split()]

    def processes(self) -> list[str]:
        """Return the command lines of everything that runs on the host."""
        lines = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                line = (
                    Path(f"/proc/{pid}/cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace")
                    .strip()
                )
                if line:
                    lines.append(line)
        return lines

    def run(self, command: str, *, timeout_s: float = 30.0, is_checked: bool = True) -> Finished:
        """Run a shell command on the host as root, in a login shell, without ssh."""
        enter = ("nsenter", "-t", str(self._first_pid), "-m", "-p", "-u", "-n", "-i", "--wd=/")
        return run_command(
            (*enter, "bash", "--login", "-c", f". {self.home}/.bashrc; cd; {command}"),
            timeout_s=timeout_s,
            is_checked=is_checked,
            environment={"HOME": str(self.home), "PATH": _SEARCH_PATH, "LANG": "C.UTF-8"},
        )

    def ssh(
        self, other: "Host", command: str, *, timeout_s: float = 30.0, is_checked: bool = True
    ) -> Finished:
        """Run a shell command on another host, through ssh from this one."""
        return self.run(
            f"ssh -o BatchMode=yes -o ConnectTimeout=5 {other.address} {shlex.quote(command)}",
            timeout_s=timeout_s,
            is_checked=is_checked,
        )

    def inside(self, path: str) -> Path:
        """Return where the machine finds a file of the host, such as one in its own ``/tmp``."""
        return Path(f"/proc/{self._first_pid}/root") / path.lstrip("/")

    def _prepare_files(self) -> None:
        self.folder.mkdir(mode=0o700)
        home = self.folder / "home"
        (home / ".ssh").mkdir(mode=0o700, parents=True)
        exports = {"PATH": _SEARCH_PATH, **self._environment}
        shell = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in exports.items())
        (home / ".bashrc").write_text(shell)
        (home / ".profile").write_text(". ~/.bashrc\n")
        keys = client_key(self.network)
        shutil.copy(keys, home / ".ssh/id_ed25519")
        shutil.copy(keys.with_suffix(".pub"), home / ".ssh/authorized_keys")
        (home / ".ssh/config").write_text(
            "Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        )
        host_key = self.folder / "host_key"
        _make_key(host_key)
        (self.folder / "hosts").write_text(
            "127.0.0.1 localhost\n" + "".join(f"{at} {name}\n" for name, at in self._neighbours.items())
        )
        # A locked root account would not be let in, and the machine's own password stays out of the host.
        (self.folder / "shadow").write_text("root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n")
        (self.folder / "sshd_config").write_text(
            f"HostKey {host_key}\nListenAddress {self.address}\nListenAddress 127.0.0.1\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nMaxStartups 50\n"
            "Subsystem sftp internal-sftp\n"
        )
        (self.folder / "first.sh").write_text(self._first_program())

    def _first_program(self) -> str:
        """Process 1 of the host: mounts, then the ssh server; it reaps whatever loses its parent."""
        kept = [
            path
            for path in _paths_to_keep()
            if any(path.is_relative_to(top) for top in ("/tmp", "/run", self.home))
        ]
        pairs = [(shlex.quote(str(path)), f"{self.folder}/keep/{index}") for index, path in enumerate(kept)]
        stage = "".join(f"mkdir -p {kept_at}; mount --bind {path} {kept_at}\n" for path, kept_at in pairs)
        back = "".join(f"mkdir -p {path}; mount --bind {kept_at} {path}\n" for path, kept_at in pairs)
        return f"""set -eu
mount --make-rprivate /
hostname {self.name}
{stage}mount --bind {self.folder}/home {self.home}
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=1777,size=2g tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd
mount --bind {self.folder}/hosts /etc/hosts
mount --bind {self.folder}/shadow /etc/shadow
{back}sshd=$(command -v sshd)
"$sshd" -D -e -f {self.folder}/sshd_config &
server=$!
trap 'kill $server; exit 0' TERM
while kill -0 $server 2>/dev/null; do wait $server || true; done
"""

    def _start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._holder = subprocess.Popen(
                ("ip", "netns", "exec", self.namespace, *_UNSHARE, "bash", str(self.folder / "first.sh")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(self.home), "PATH": _SEARCH_PATH, "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        deadline_s = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline_s and self._holder.poll() is None:
            children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
            if children:
                self._first_pid = int(children[0])
                answer = self._try_ssh()
                if answer is not None and answer.status == 0:
                    return
            time.sleep(0.05)
        log_text = (self.folder / "log").read_text(errors="replace")
        raise CommandFailed(
            f"host {self.name} did not come up within {_START_LIMIT_S:g} s\n{log_text[-3000:]}"
        )

    def _try_ssh(self) -> Finished | None:
        try:
            return self.ssh(self, "true", timeout_s=5, is_checked=False)
        except CommandFailed:
            return None

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def client_key(network: Network) -> Path:
    """Return the private key that all hosts of the network accept and hold; made on the first call."""
    path = BASE / f"{network.prefix}key" / "id_ed25519"
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _make_key(path)
    return path


def _make_key(path: Path) -> None:
    run_command(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)), timeout_s=10)


def _paths_to_keep() -> list[Path]:
    """What a host must still see when it lies under a folder of which each host has its own."""
    paths = {PROJECT, Path(sys.prefix), Path(sys.base_prefix)}
    return sorted(
        path for path in paths if not any(path != other and path.is_relative_to(other) for other in paths)
    )
