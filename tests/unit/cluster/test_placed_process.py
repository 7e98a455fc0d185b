"""The program of a placed process, without Ray around it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from zejzl_ray.cluster.placed_process import PlacedProcess, find_program, start_program
from zejzl_ray.errors import ClusterError, InvalidInput, Unauthenticated


def run(argv: list[str], environment: dict[str, str] | None = None) -> Any:
    """Return the actor's object as Ray would make it; outside Ray its methods are plain ones."""
    return PlacedProcess(argv, environment)


def wait_for_end(process: Any) -> int:
    deadline_s = time.monotonic() + 20
    while process.status().exit_code is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return int(process.status().exit_code)


def test_the_program_gets_its_arguments_and_environment(tmp_path: Path) -> None:
    written = tmp_path / "seen"
    process = run(["/bin/sh", "-c", f'echo "$CARD" > {written}; exit 3'], {"CARD": "GPU-a"})
    assert wait_for_end(process) == 3
    assert written.read_text() == "GPU-a\n"


def test_it_is_asked_to_end_and_then_ended(tmp_path: Path) -> None:
    gentle = run(["sleep", "600"])
    assert gentle.stop(10).exit_code == -15
    assert gentle.stop(10).exit_code == -15
    is_deaf = tmp_path / "deaf"
    deaf = run(["/bin/sh", "-c", f"trap '' TERM; touch {is_deaf}; while :; do sleep 0.05; done"])
    deadline_s = time.monotonic() + 20
    while not is_deaf.exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert deaf.stop(0.1).exit_code == -9


@pytest.mark.parametrize("argv", [[], ["/no/such/program"]])
def test_a_program_that_cannot_be_started_is_named(argv: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"needs a program|/no/such/program"):
        run(argv)


def test_it_ends_with_its_parent_even_when_that_is_killed() -> None:
    program = (
        "from zejzl_ray.cluster.placed_process import PlacedProcess; import os, signal\n"
        "print(PlacedProcess(['sleep', '600']).status().pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    deadline_s = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline_s, "the program outlived its parent"
        time.sleep(0.01)


READS = """
import os, pathlib, subprocess, sys
from zejzl_ray.sdk.secrets import get_secret
value = get_secret("KEY").get_secret_value()
listing = pathlib.Path("/proc/self/environ").read_bytes() + pathlib.Path("/proc/self/cmdline").read_bytes()
child = subprocess.run(["env"], capture_output=True, check=True).stdout
seen = value.encode() in listing + child
pathlib.Path(sys.argv[1]).write_text(f"{value} {seen} {get_secret('openai').get_secret_value() == value}")
"""


def test_the_program_reads_its_secrets_from_files_that_it_inherits(tmp_path: Path) -> None:
    written = tmp_path / "seen"
    argv = [sys.executable, "-c", READS, str(written)]
    # What the file variable said before does not count.
    environment = {"ZEJZL_SECRET_KEY_FILE": "/no/such/file"}
    process = start_program(
        find_program(argv, environment),
        argv,
        environment,
        secrets={"KEY": "openai"},
        values={"openai": SecretStr("s3cret-v4lue")},
    )
    assert process.wait(30) == 0
    assert written.read_text() == "s3cret-v4lue False True"


def test_a_program_without_secrets_inherits_no_file() -> None:
    listing = "import os, sys; sys.exit(len(os.listdir('/proc/self/fd')))"
    process = start_program(sys.executable, [sys.executable, "-c", listing], {}, secrets={}, values={})
    assert process.wait(30) == 4  # the three of every program, and that of the listing


def test_secrets_need_a_credential_and_names() -> None:
    with pytest.raises(InvalidInput, match="needs the credential"):
        PlacedProcess(["sleep", "600"], None, {"KEY": "openai"})
    with pytest.raises(InvalidInput, match="another form"):
        PlacedProcess(["sleep", "600"], None, {"KEY": "open ai"}, SecretStr("zk_"))


def test_the_file_of_a_credential_is_private(tmp_path: Path) -> None:
    file = tmp_path / "agent.token"
    with pytest.raises(Unauthenticated, match=r"No credential at .*agent\.token"):
        PlacedProcess(["sleep", "600"], None, {"KEY": "openai"}, file)
    file.write_text("zk_x")
    file.chmod(0o644)
    with pytest.raises(ClusterError, match="Others may read"):
        PlacedProcess(["sleep", "600"], None, {"KEY": "openai"}, file)
