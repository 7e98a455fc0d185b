"""A program that needs video memory, run on the machine that has it."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ray
from pydantic import SecretStr

from zejzl_ray.cluster.names import NAMESPACE
from zejzl_ray.cluster.secret_delivery import check_names, delivered, fetch_as
from zejzl_ray.cluster.secret_file import read_secret
from zejzl_ray.errors import InvalidInput

# Becomes the program, after it has told the kernel (prctl PR_SET_PDEATHSIG, SIGKILL) to end it with its parent. A small
# program and not a hook between fork and exec: the actor's process has threads. Linux only.
_LAUNCHER: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the actor has gone already")
os.execv(sys.argv[2], sys.argv[3:])
"""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """The program's process; ``exit_code`` is None while it runs, negative is the number of a signal."""

    pid: int
    exit_code: int | None


class PlacedProcess:
    """An actor that runs one program for as long as it lives; start it with ``VramPlacer.start``.

    What the actor asked of Ray is what the program may use: the program sees its card in ``CUDA_VISIBLE_DEVICES``. It
    ends with the actor, however that ends. It is not started again when it ends by itself.

    Secrets reach the program in files that it alone inherits, never in its environment or command line
    (``zejzl_ray.cluster.secret_delivery``); ``zejzl_ray.sdk.secrets.get_secret`` reads them. They are read from the
    gateway once, when the program starts, and one that may not be read keeps it from starting.

    Ray keeps the arguments of an actor in its control store as they are, and so would keep a credential's text:
    whoever holds Ray's token can read it there, and a control store that lies on a disk keeps it on that disk. Name a
    file of the program's machine instead wherever there is one. The secrets' values go from the gateway to this actor
    alone, and into no table of Ray's.

    Args:
        argv: program and arguments; no shell is involved.
        environment: laid over the actor's own.
        secrets: name by which the program asks, mostly that of an environment variable -> name of the secret. It may
            ask by the secret's own name too.
        credential: of the subject that may read these secrets, or the file of mode 0600 that holds it; wanted where
            there are secrets, and not handed on to the program.
        namespace: Ray namespace of the gateway.

    Raises:
        InvalidInput: the program cannot be started, or the names of its secrets cannot be used.
        SecretNotFound: a secret is not there, or not for this credential's subject.
        Unauthenticated: the credential does not count, or its file is not there.
        Unavailable: the gateway is away.
        ClusterError: others may read the credential's file.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        credential: SecretStr | Path | None = None,
        namespace: str = NAMESPACE,
    ) -> None:
        wanted = dict(secrets or {})
        program = find_program(argv, environment or {})
        check_names(wanted)
        values: Mapping[str, SecretStr] = {}
        if wanted:
            values = asyncio.run(fetch_as(_text_of(credential), namespace, wanted.values()))
        self._process = start_program(program, argv, environment or {}, secrets=wanted, values=values)

    @ray.method
    def status(self) -> ProcessStatus:
        """Return the process and whether it still runs."""
        return self._status()

    @ray.method
    def stop(self, grace_s: float = 10.0) -> ProcessStatus:
        """Ask the program to end, and end it after ``grace_s``; safe to repeat."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._status()

    def _status(self) -> ProcessStatus:
        return ProcessStatus(self._process.pid, self._process.poll())


def find_program(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the path of the program that ``argv`` means.

    Raises:
        InvalidInput: there is none.
    """
    if not argv:
        raise InvalidInput("A process needs a program.", "Give the program and its arguments as a list.")
    program = shutil.which(argv[0], path=environment.get("PATH", os.environ.get("PATH")))
    if program is None:
        raise InvalidInput(
            f"There is no program {argv[0]!r} that may be run.", "Is it there on every machine?"
        )
    return program


def start_program(
    program: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    secrets: Mapping[str, str],
    values: Mapping[str, SecretStr],
) -> "subprocess.Popen[bytes]":
    """Start a program that ends with this process, and hand it its secrets.

    Args:
        program: its path.
        argv: as it sees them.
        environment: laid over this process's own.
        secrets: name by which the program asks -> name of the secret.
        values: by name of the secret.
    """
    with delivered(secrets, values) as delivery:
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _LAUNCHER, str(os.getpid()), program, *argv],
            env={**os.environ, **environment, **delivery.variables},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=delivery.descriptors,
        )


def _text_of(credential: SecretStr | Path | None) -> SecretStr:
    if credential is None:
        raise InvalidInput(
            "A program with secrets needs the credential of a subject that may read them.",
            "Make one with `zejzl token agent NAME --output FILE`, and name the file.",
        )
    if isinstance(credential, SecretStr):
        return credential
    return read_secret(
        credential, what="credential", remedy="Make one with `zejzl token agent NAME --output FILE`."
    )
