"""One command on all machines of a cluster at once, over ssh as `ray up` does it; and what became of it on each."""

import asyncio
import contextlib
import shlex
from collections.abc import Callable, Sequence
from typing import Final

from zejzl_ray.cluster_check.facts import Facts
from zejzl_ray.cluster_check.ssh import RELEASE_FIRST, ssh_fault, ssh_options
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine

_SSH_FAILED: Final = 255
_MAX_SAID: Final = 2000
_PREPARE: Final = "[ -f ~/.bashrc ] && . ~/.bashrc >/dev/null 2>&1; "

Ssh = Callable[[ClusterFile, DeclaredMachine, str], Sequence[str]]


class Outcome(Facts):
    """What became of the command on one machine.

    ``status`` is its exit status, None when the machine could not be asked or it did not end in time; ``said`` is the
    end of what it wrote, or why it could not be asked; ``remedy`` what to do.
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


def remote_command(cluster: ClusterFile, machine: DeclaredMachine, command: str) -> tuple[str, ...]:
    """Return the ssh command that runs a shell command there, in a login shell that reads ~/.bashrc; never asks."""
    first = f"export {RELEASE_FIRST}; " if cluster.carried_release is not None else ""
    remote = f"bash --login -i -c {shlex.quote(_PREPARE + first + command)}"
    return ("ssh", *ssh_options(cluster), "--", f"{cluster.ssh_user}@{machine.address}", remote)


async def run_on_all(
    cluster: ClusterFile,
    command: Callable[[DeclaredMachine], str],
    limit_s: float,
    ssh: Ssh = remote_command,
) -> tuple[Outcome, ...]:
    """Run a command on every machine at once and return what became of it, head first.

    Args:
        cluster: which machines, and the way to them.
        command: gives the shell command for each.
        limit_s: how long it may take; then it is given up, and may go on there.
        ssh: makes the command line; replaced in tests.
    """
    return tuple(
        await asyncio.gather(
            *(
                _run_on(cluster, machine, ssh(cluster, machine, command(machine)), limit_s)
                for machine in cluster.machines
            )
        )
    )


async def _run_on(
    cluster: ClusterFile, machine: DeclaredMachine, argv: Sequence[str], limit_s: float
) -> Outcome:
    name, address = machine.name, machine.address
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return Outcome(machine=name, address=address, status=None, said=f"cannot run ssh: {error.strerror}")
    try:
        output, said = await asyncio.wait_for(process.communicate(), limit_s)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return Outcome(
            machine=name,
            address=address,
            status=None,
            said=f"not done within {limit_s:g} s",
            remedy="Try again.",
        )
    errors = said.decode(errors="replace")
    if process.returncode == _SSH_FAILED:
        fault = ssh_fault(cluster, machine, _SSH_FAILED, errors)
        return Outcome(machine=name, address=address, status=None, said=fault.what, remedy=fault.remedy)
    text = output.decode(errors="replace").strip() if process.returncode == 0 else _last_words(errors)
    return Outcome(machine=name, address=address, status=process.returncode, said=text[-_MAX_SAID:])


def _last_words(text: str) -> str:
    """Leave out what a shell without a terminal complains of."""
    lines = [line for line in text.splitlines() if "job control" not in line and "ioctl" not in line]
    return "\n".join(lines).strip() or "no output"
