import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.errors import ClusterError, InvalidInput
from zejzl_ray.tls.remote import RemoteMachine, pem_blocks

_REQUEST = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"


class Ssh:
    """Stands in for the program; answers as told."""

    def __init__(self, stdout: bytes = b"", *, status: int = 0, stderr: bytes = b"") -> None:
        self.calls: list[list[str]] = []
        self.given = b""
        self._answer = (status, stdout, stderr)

    def __call__(self, argv: list[str], **options: Any) -> "subprocess.CompletedProcess[bytes]":
        self.calls.append(argv)
        self.given = options["input"]
        assert options["timeout"] == 60
        status, stdout, stderr = self._answer
        return subprocess.CompletedProcess(argv, status, stdout, stderr)


def test_a_request_is_found_among_what_a_shell_says() -> None:
    ssh = Ssh(b"Welcome!\n" + _REQUEST + b"bye")

    found = RemoteMachine("me@pc2", Path("/keys/id"), ssh).request("pc2", is_new_key=True)

    assert found == _REQUEST
    (argv,) = ssh.calls
    assert argv[0] == "ssh"
    assert argv[-2] == "me@pc2"
    assert argv[-3] == "--"
    assert argv[-1].endswith("tls request pc2 --new-key")
    assert {"BatchMode=yes", "StrictHostKeyChecking=accept-new", "/keys/id"} <= set(argv)


def test_what_is_handed_over_goes_through_standard_input() -> None:
    ssh = Ssh()

    RemoteMachine("pc2", None, ssh).accept("pc2", b"one", b"two", is_forced=True)

    assert ssh.given == b"onetwo"
    assert ssh.calls[0][-1].endswith("tls accept pc2 --force")


def test_the_release_over_there_is_asked_before_an_environment_of_the_same_path() -> None:
    ssh = Ssh()

    RemoteMachine("pc2", None, ssh).accept("pc2", b"one", b"two", is_forced=True)

    command = ssh.calls[0][-1]
    assert command.index("~/.local/share/zejzl/releases/current/venv/bin/python") < command.index(
        sys.executable
    )


def test_where_the_project_is_not_installed_it_is_said_how_to() -> None:
    with pytest.raises(ClusterError, match="`zejzl release send`"):
        RemoteMachine("pc2", None, Ssh(status=127, stderr=b"not found")).request("pc2", is_new_key=False)


def test_an_answer_without_a_request_is_an_error() -> None:
    with pytest.raises(ClusterError, match="did not answer with a request"):
        RemoteMachine("pc2", None, Ssh(b"nothing")).request("pc2", is_new_key=False)


@pytest.mark.parametrize(
    ("stderr", "message"), [(b"no route\n", "failed on pc2: no route"), (b"", "status 255")]
)
def test_a_failure_over_there_is_told(stderr: bytes, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        RemoteMachine("pc2", None, Ssh(status=255, stderr=stderr)).request("pc2", is_new_key=False)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (subprocess.TimeoutExpired("ssh", 60), "within 60 s"),
        (FileNotFoundError(2, "No such file"), "Cannot run ssh"),
    ],
)
def test_silence_and_a_missing_program_are_told(error: Exception, message: str) -> None:
    def run(*_: Any, **__: Any) -> "subprocess.CompletedProcess[bytes]":
        raise error

    with pytest.raises(ClusterError, match=message):
        RemoteMachine("pc2", None, run).request("pc2", is_new_key=False)


@pytest.mark.parametrize("target", ["", "-oProxyCommand=x", "a b", "a;b", "a@b@c", "$(x)"])
def test_a_target_that_is_more_than_a_target_is_refused(target: str) -> None:
    with pytest.raises(InvalidInput, match="USER@HOST"):
        RemoteMachine(target)


def test_blocks_come_in_order() -> None:
    other = _REQUEST.replace(b"AAAA", b"BBBB").rstrip()

    assert pem_blocks(b"x\n" + _REQUEST + other) == [_REQUEST, other + b"\n"]
