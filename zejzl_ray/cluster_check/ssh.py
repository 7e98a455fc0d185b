"""How a machine is asked: by the system's ssh with user and key of the cluster file; and what its refusals mean."""

import asyncio
import re
import shlex
from typing import Final

from zejzl_ray.cluster_check.facts import SshFault
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine

CONNECT_LIMIT_S: Final = 5
SSH_PORT: Final = 22
RELEASE_FIRST: Final = "PATH=~/.local/share/zejzl/releases/current/venv/bin:$PATH"
# As `ray up` runs its commands: a login shell that reads ~/.bashrc. The interpreter is that of `zejzl` if it names one.
_FIND_PYTHON: Final = r"""
[ -f ~/.bashrc ] && . ~/.bashrc >/dev/null 2>&1
%s
z=$(command -v zejzl); p=
[ -n "$z" ] && p=$(sed -n '1s/^#! *\(\/[^ ]*python[0-9.]*\) *$/\1/p;1q' "$z" 2>/dev/null)
[ -x "$p" ] || p=$(command -v python3) || { echo ZEJZL-NO-PYTHON >&2; exit 9; }
exec "$p" -c %s
"""


def ssh_command(cluster: ClusterFile, machine: DeclaredMachine, program_bytes: int) -> tuple[str, ...]:
    """Return the ssh command that runs a program there which comes in on its standard input, then asks for more.

    It never asks anybody, and connects within 5 s. A machine that ssh has not met yet is trusted this once; one
    whose key has changed is refused.

    Args:
        cluster: says user, key and proxy.
        machine: where to.
        program_bytes: how much of standard input is the program.
    """
    load = (
        "import sys; sys.path[:] = [path for path in sys.path if path]; "
        f"exec(compile(sys.stdin.buffer.read({program_bytes}).decode(), 'zejzl_check', 'exec'), "
        "{'__name__': 'zejzl_check'})"
    )
    first = RELEASE_FIRST if cluster.carried_release is not None else ""
    remote = f"bash --login -i -c {shlex.quote(_FIND_PYTHON % (first, shlex.quote(load)))}"
    return ("ssh", *ssh_options(cluster), "--", f"{cluster.ssh_user}@{machine.address}", remote)


def ssh_options(cluster: ClusterFile) -> tuple[str, ...]:
    """Return the options of every ssh to the cluster's machines."""
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_LIMIT_S}", "-o", "LogLevel=ERROR"]
    options += [
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        "ServerAliveInterval=5",
        "-o",
        "ServerAliveCountMax=2",
    ]
    if cluster.ssh_private_key is not None:
        options += ["-o", "IdentitiesOnly=yes", "-i", str(cluster.ssh_private_key)]
    if cluster.ssh_proxy_command:
        options += ["-o", f"ProxyCommand={cluster.ssh_proxy_command}"]
    return tuple(options)


async def ssh_port(cluster: ClusterFile, machine: DeclaredMachine) -> int:
    """Return the port that ssh would use, as far as its configuration says; connects to nothing."""
    argv = ("ssh", "-G", *ssh_options(cluster), "--", f"{cluster.ssh_user}@{machine.address}")
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return SSH_PORT
    try:
        said, _ = await asyncio.wait_for(process.communicate(), CONNECT_LIMIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return SSH_PORT
    found = re.search(rb"^port (\d+)$", said, re.MULTILINE)
    return int(found.group(1)) if found is not None else SSH_PORT


# What ssh writes -> cause, what, remedy; the first that fits. {user}, {address}, {key} are filled in.
_REFUSALS: Final = (
    (
        r"Could not resolve hostname|Name or service not known|Temporary failure in name resolution",
        "name",
        "the name {address} cannot be resolved",
        "Correct the address in the cluster file, or write the name into /etc/hosts or your DNS.",
    ),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|host key .* has changed",
        "host-key",
        "ssh meets another host key than before at {address}",
        "If the machine was installed anew: ssh-keygen -R {address}. If not, somebody else may answer in its place.",
    ),
    (
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "key-mode",
        "others may read the private key {key}, so ssh does not use it",
        "Run: chmod 600 {key}",
    ),
    (
        r"Permission denied|Too many authentication failures|no mutual signature",
        "key",
        "the key {key} does not let {user} in",
        "Run: ssh-copy-id -i {key} {user}@{address}; or correct ssh_user and ssh_private_key.",
    ),
    (
        r"during banner exchange|kex_exchange_identification|Connection reset|Connection closed by",
        "no-answer",
        "something accepts connections to ssh at {address}, but ssh does not answer",
        "The machine may be frozen or overloaded, or its ssh server may refuse this computer: look at its screen.",
    ),
    (
        r"Connection refused",
        "ssh-closed",
        "the machine answers at {address}, but no ssh server does",
        "Start it there (systemctl enable --now ssh), and let it through the firewall.",
    ),
    (
        r"No route to host|Network is unreachable|Host is down",
        "no-route",
        "there is no way to {address}",
        "Is the machine on, its cable in, and the address right?",
    ),
    (
        r"timed out|timeout",
        "no-answer",
        "nothing answers at {address}",
        "Is the machine on, its cable in, and the address right? A firewall may swallow the port of ssh.",
    ),
    (
        r"This account is (?:currently )?not available|nologin",
        "shell",
        "the account {user} may not log in there: its shell is none",
        "Run there: chsh -s /bin/bash {user}; or name another ssh_user.",
    ),
    (
        r"future feature annotations is not defined|SyntaxError: invalid syntax|has no attribute 'capture_output'",
        "python",
        "its python3 is older than 3.8",
        "Install a newer Python and the project's environment there, with its bin on PATH in ~/.bashrc.",
    ),
    (
        r"ZEJZL-NO-PYTHON",
        "python",
        "there is no python3 on the machine",
        "Install Python and the project's environment, with its bin on PATH in ~/.bashrc.",
    ),
)  # fmt: skip


def without_noise(said: str) -> str:
    """Leave out what a shell without a terminal complains of, and empty lines."""
    lines = said.splitlines()
    return "\n".join(
        line for line in lines if line.strip() and "job control" not in line and "ioctl" not in line
    ).strip()


def ssh_fault(cluster: ClusterFile, machine: DeclaredMachine, status: int | None, said: str) -> SshFault:
    """Return why a machine could not be asked, in words.

    Args:
        cluster: says user and key.
        machine: which machine.
        status: exit status of ssh; None when it was not there, or did not end in time.
        said: what it wrote on standard error.
    """
    values = {
        "user": cluster.ssh_user,
        "address": machine.address,
        "key": str(cluster.ssh_private_key or "of ssh's choice"),
    }
    for pattern, cause, what, remedy in _REFUSALS:
        if re.search(pattern, said, re.IGNORECASE):
            return SshFault(cause=cause, what=what.format(**values), remedy=remedy.format(**values))
    lines = without_noise(said).splitlines()
    ending = f"it ended with {status}" if status is not None else "it gave no answer in time"
    if status is not None and not lines:
        return SshFault(
            cause="shell",
            what=f"its shell ends (with {status}) before it runs anything",
            remedy="Look for `exit` in ~/.bashrc, ~/.profile and ~/.bash_profile of {user} there.".format(
                **values
            ),
        )
    return SshFault(
        cause="ssh",
        what=f"the questions over ssh were not answered: {lines[-1].strip()[:200] if lines else ending}",
        remedy=f"Try it by hand: ssh {values['user']}@{values['address']} python3 --version",
    )
