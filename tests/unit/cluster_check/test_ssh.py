"""The command that asks a machine, and what ssh's refusals mean in words."""

import shlex
from pathlib import Path

import pytest

from tests.unit.cluster_check.healthy import CLUSTER
from zejzl_ray.cluster_check.ssh import ssh_command, ssh_fault, ssh_port

PC2 = CLUSTER.workers[0]
KEYED = CLUSTER.model_copy(
    update={"ssh_private_key": Path("/home/me/.ssh/id"), "ssh_proxy_command": "nc %h 22"}
)

SAID = {
    "ssh: Could not resolve hostname pc2.lan: Name or service not known": "name",
    "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.": "host-key",
    "@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nme@pc2: Permission denied (publickey).": "key-mode",
    "me@192.168.1.11: Permission denied (publickey).": "key",
    "Connection timed out during banner exchange\nConnection to 192.168.1.11 port 22 timed out": "no-answer",
    "kex_exchange_identification: Connection closed by remote host": "no-answer",
    "ssh: connect to host 192.168.1.11 port 22: Connection refused": "ssh-closed",
    "ssh: connect to host 192.168.1.11 port 22: No route to host": "no-route",
    "ssh: connect to host 192.168.1.11 port 22: Connection timed out": "no-answer",
    "bash: no job control in this shell\nZEJZL-NO-PYTHON": "python",
}


@pytest.mark.parametrize("said", SAID)
def test_a_refusal_becomes_words_and_a_remedy(said: str) -> None:
    fault = ssh_fault(KEYED, PC2, 255, said)

    assert fault.cause == SAID[said]
    assert "{" not in fault.what + fault.remedy
    assert fault.remedy


def test_the_key_that_is_refused_is_named() -> None:
    assert "/home/me/.ssh/id does not let me in" in ssh_fault(KEYED, PC2, 255, "Permission denied").what


@pytest.mark.parametrize(
    ("said", "cause", "words"),
    [
        ("This account is currently not available.", "shell", "its shell is none"),
        ("SyntaxError: future feature annotations is not defined", "python", "older than 3.8"),
    ],
)
def test_a_shell_and_a_python_that_cannot_be_used_are_named(said: str, cause: str, words: str) -> None:
    fault = ssh_fault(CLUSTER, PC2, 1, said)

    assert fault.cause == cause
    assert words in fault.what


def test_what_nobody_foresaw_is_quoted() -> None:
    noise = "bash: cannot set terminal process group (-1): Inappropriate ioctl for device\n"

    assert "strange thing" in ssh_fault(CLUSTER, PC2, 1, f"{noise}strange thing\n").what
    assert "its shell ends (with 3) before it runs anything" in ssh_fault(CLUSTER, PC2, 3, noise).what
    assert "~/.bashrc" in ssh_fault(CLUSTER, PC2, 0, "").remedy
    assert "no answer in time" in ssh_fault(CLUSTER, PC2, None, "").what


async def test_the_port_is_that_of_the_configuration_of_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\necho user me\necho port 2222\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert await ssh_port(CLUSTER, PC2) == 2222
    program.write_text("#!/bin/sh\nexit 1\n")
    assert await ssh_port(CLUSTER, PC2) == 22
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setattr("zejzl_ray.cluster_check.ssh.CONNECT_LIMIT_S", 0.05)
    assert await ssh_port(CLUSTER, PC2) == 22
    program.unlink()
    assert await ssh_port(CLUSTER, PC2) == 22


def test_the_command_uses_user_key_and_proxy_and_never_asks() -> None:
    command = ssh_command(KEYED, PC2, 10)

    assert command[0] == "ssh"
    assert command[-2] == "me@192.168.1.11"
    for option in ("BatchMode=yes", "ConnectTimeout=5", "IdentitiesOnly=yes", "ProxyCommand=nc %h 22"):
        assert option in command
    assert command[command.index("-i") + 1] == "/home/me/.ssh/id"
    assert shlex.split(command[-1])[:4] == ["bash", "--login", "-i", "-c"]
    assert "-i" not in ssh_command(CLUSTER, PC2, 10)[:-1]
