"""Commands on a cluster's machines, with user and key of the cluster file: one ssh each, never a question."""

import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from zejzl_ray.cluster_check.ssh import ssh_fault, ssh_options
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.errors import ClusterError

T = TypeVar("T")
Run = Callable[..., "subprocess.CompletedProcess[str]"]

_SSH_FAILED: Final = 255
_NOISE: Final = re.compile(r"(?m)^bash: (?:cannot set terminal process group|no job control).*\n?")


class Reach:
    """The way to the machines.

    Args:
        cluster: says user, key and proxy.
        run: replaces ``subprocess.run`` in tests.
    """

    def __init__(self, cluster: ClusterFile, run: Run = subprocess.run) -> None:
        self._cluster = cluster
        self._run = run

    def command(self, machine: DeclaredMachine, text: str, *, limit_s: float) -> str:
        """Run a shell command there as `ray up` does, in a login shell that reads ~/.bashrc; return what it wrote.

        Raises:
            ClusterError: the machine cannot be reached, or the command failed or took too long; names both.
        """
        login = (
            f"bash --login -i -c {shlex.quote(f'[ -f ~/.bashrc ] && . ~/.bashrc >/dev/null 2>&1; {text}')}"
        )
        target = f"{self._cluster.ssh_user}@{machine.address}"
        return self._done(machine, ("ssh", *ssh_options(self._cluster), "--", target, login), limit_s)

    def copy(self, machine: DeclaredMachine, here: str, there: str, *, limit_s: float) -> None:
        """Make a folder there the same as the one here; what is in it and not here goes.

        Args:
            machine: where to.
            here: the folder.
            there: its place; ``~/`` at its beginning is the home directory.
            limit_s: for all of it.

        Raises:
            ClusterError: as ``command``.
        """
        path = there.removeprefix("~/")
        shell = shlex.join(("ssh", *ssh_options(self._cluster)))
        made = f"mkdir -p {shlex.quote(path)} && rsync"
        target = f"{self._cluster.ssh_user}@{machine.address}:{path}/"
        argv = ("rsync", "-a", "--delete", "-e", shell, "--rsync-path", made, f"{here}/", target)
        self._done(machine, argv, limit_s)

    def on_all(self, work: Callable[[DeclaredMachine], T], machines: Sequence[DeclaredMachine]) -> list[T]:
        """Do some work for all machines at once and return the outcomes in their order.

        Raises:
            ClusterError: it failed somewhere; names every such machine. The others have been done.
        """
        with ThreadPoolExecutor(max(1, len(machines))) as pool:
            waiting = [pool.submit(work, machine) for machine in machines]
        found, faults = [], []
        for each in waiting:
            try:
                found.append(each.result())
            except ClusterError as error:
                faults.append(error)
        if len(faults) > 1:
            raise ClusterError("\n".join(str(fault) for fault in faults))
        if faults:
            raise faults[0]
        return found

    def _done(self, machine: DeclaredMachine, argv: Sequence[str], limit_s: float) -> str:
        try:
            done = self._run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=limit_s,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ClusterError(
                f"{machine.name}: not done within {limit_s:g} s.", "Is the machine busy, or the network slow?"
            ) from None
        except OSError as error:
            raise ClusterError(
                f"Cannot run {argv[0]}: {error.strerror}.",
                "Install it: apt-get install openssh-client rsync.",
            ) from None
        if not done.returncode:
            return done.stdout
        said = _NOISE.sub("", done.stderr).strip()
        if done.returncode == _SSH_FAILED:
            fault = ssh_fault(self._cluster, machine, done.returncode, said)
            raise ClusterError(f"{machine.name}: {fault.what}.", fault.remedy)
        raise ClusterError(
            f"{machine.name}: {said[-1500:].removeprefix('error: ') or f'status {done.returncode}'}"
        )
