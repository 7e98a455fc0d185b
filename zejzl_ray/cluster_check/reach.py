"""Commands on a cluster's machines, with user and key of the cluster file: one ssh each, never a question."""

import shlex
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from zejzl_ray.cluster_check.facts import Facts
from zejzl_ray.cluster_check.ssh import RELEASE_FIRST, ssh_fault, ssh_options, without_noise
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.errors import ClusterError

T = TypeVar("T")
Run = Callable[..., "subprocess.CompletedProcess[str]"]

_SSH_FAILED: Final = 255
_MAX_COMPLAINT: Final = 2000
_PREPARE: Final = "[ -f ~/.bashrc ] && . ~/.bashrc >/dev/null 2>&1; "


class Outcome(Facts):
    """What became of a command on one machine.

    ``status`` is its exit status, None when the machine could not be asked or it did not end in time; ``said`` is what
    it wrote, or the end of its complaint, or why it could not be asked; ``remedy`` what to do.
    """

    machine: str
    address: str
    status: int | None
    said: str
    remedy: str = ""

    @property
    def is_done(self) -> bool:
        """Whether it ended well."""
        return self.status == 0


class Reach:
    """The way to the machines.

    Args:
        cluster: says user, key and proxy, and whether a release was carried there.
        run: replaces ``subprocess.run`` in tests.
    """

    def __init__(self, cluster: ClusterFile, run: Run = subprocess.run) -> None:
        self._cluster = cluster
        self._run = run

    def ask(self, machine: DeclaredMachine, text: str, limit_s: float) -> Outcome:
        """Run a shell command there as `ray up` does, in a login shell that reads ~/.bashrc; say what became of it.

        The programs of the release that was carried there come before others of the same name.

        Args:
            machine: where.
            text: the command.
            limit_s: how long it may take; then it is given up, and may go on there.
        """
        first = f"export {RELEASE_FIRST}; " if self._cluster.carried_release is not None else ""
        login = f"bash --login -i -c {shlex.quote(_PREPARE + first + text)}"
        target = f"{self._cluster.ssh_user}@{machine.address}"
        return self._outcome(machine, ("ssh", *ssh_options(self._cluster), "--", target, login), limit_s)

    def ask_all(self, text: Callable[[DeclaredMachine], str], limit_s: float) -> tuple[Outcome, ...]:
        """Run a command on every machine at once, each its own; return what became of it, head first."""
        return tuple(
            self.on_all(lambda machine: self.ask(machine, text(machine), limit_s), self._cluster.machines)
        )

    def command(self, machine: DeclaredMachine, text: str, *, limit_s: float) -> str:
        """Run a shell command there, as ``ask``; return what it wrote.

        Raises:
            ClusterError: the machine cannot be reached, or the command failed or took too long; names both.
        """
        return _done(self.ask(machine, text, limit_s))

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
        _done(self._outcome(machine, argv, limit_s))

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

    def _outcome(self, machine: DeclaredMachine, argv: Sequence[str], limit_s: float) -> Outcome:
        def ended(status: int | None, said: str, remedy: str = "") -> Outcome:
            return Outcome(
                machine=machine.name, address=machine.address, status=status, said=said, remedy=remedy
            )

        try:
            done = self._run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=limit_s,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ended(None, f"not done within {limit_s:g} s", "Is the machine busy, or the network slow?")
        except OSError as error:
            return ended(
                None,
                f"cannot run {argv[0]}: {error.strerror}",
                "Install it: apt-get install openssh-client rsync.",
            )
        if done.returncode == _SSH_FAILED:
            fault = ssh_fault(self._cluster, machine, done.returncode, done.stderr)
            return ended(None, fault.what, fault.remedy)
        if done.returncode:
            complaint = without_noise(done.stderr)[-_MAX_COMPLAINT:]
            return ended(done.returncode, complaint.removeprefix("error: ") or f"status {done.returncode}")
        return ended(0, done.stdout.strip())


def _done(outcome: Outcome) -> str:
    """Return what it wrote; raise what kept it from that."""
    if outcome.is_done:
        return outcome.said
    is_sentence = outcome.status is not None
    raise ClusterError(f"{outcome.machine}: {outcome.said}{'' if is_sentence else '.'}", outcome.remedy)
