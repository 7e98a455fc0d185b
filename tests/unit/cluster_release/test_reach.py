"""Commands on machines over ssh: what is run, and what a failure says. And a release on its way."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.cluster_file.model import CarriedRelease, ClusterFile, DeclaredMachine
from zejzl_ray.cluster_release.reach import Reach
from zejzl_ray.cluster_release.send import send_release
from zejzl_ray.errors import ClusterError, InvalidInput, NotFound
from zejzl_ray.release.folder import CarriedWheel, ReleaseManifest

HEAD = DeclaredMachine(name="mainpc", address="10.0.0.1")
WORKER = DeclaredMachine(name="pc2", address="10.0.0.2")


def _cluster(here: Path | None = None) -> ClusterFile:
    carried = CarriedRelease(here=here, there="~/.local/share/zejzl/release") if here is not None else None
    return ClusterFile(
        file="cluster.yaml", head=HEAD, workers=(WORKER,), ssh_user="me", ssh_private_key=Path("/k"),
        carried_release=carried,
    )  # fmt: skip


def _answer(status: int = 0, output: str = "", errors: str = "") -> Any:
    return lambda argv, **_: subprocess.CompletedProcess(argv, status, output, errors)


def test_a_command_runs_in_a_login_shell_and_gives_what_it_wrote() -> None:
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        ran.append(argv)
        assert options["timeout"] == 5
        return subprocess.CompletedProcess(argv, 0, "said\n", "")

    assert Reach(_cluster(), run).command(WORKER, "echo 'a b'", limit_s=5) == "said\n"
    assert ran[0][0] == "ssh"
    assert ran[0][-2] == "me@10.0.0.2"
    assert ran[0][-1].startswith("bash --login -i -c ")
    assert {"BatchMode=yes", "/k"} <= set(ran[0])


@pytest.mark.parametrize(
    ("status", "errors", "words"),
    [
        (
            255,
            "me@10.0.0.2: Permission denied (publickey).",
            r"pc2: the key /k does not let me in.*ssh-copy-id",
        ),
        (1, "bash: no job control in this shell\nerror: The disk is full.\n", r"^pc2: The disk is full\.$"),
        (3, "", "pc2: status 3"),
    ],
)
def test_a_failure_names_the_machine_and_what_it_said(status: int, errors: str, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        Reach(_cluster(), _answer(status, errors=errors)).command(WORKER, "x", limit_s=1)


def test_a_command_that_does_not_end_and_a_program_that_is_not_there_are_told() -> None:
    def late(argv: Any, **_: Any) -> Any:
        raise subprocess.TimeoutExpired(argv, 1)

    def nowhere(argv: Any, **_: Any) -> Any:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(ClusterError, match="pc2: not done within 1 s"):
        Reach(_cluster(), late).command(WORKER, "x", limit_s=1)
    with pytest.raises(ClusterError, match="Cannot run rsync"):
        Reach(_cluster(), nowhere).copy(WORKER, "/a", "~/b", limit_s=1)


def test_all_machines_are_done_and_every_fault_is_told() -> None:
    done: list[str] = []

    def work(machine: DeclaredMachine) -> str:
        done.append(machine.name)
        if machine is WORKER:
            raise ClusterError("pc2: broken.")
        return machine.name

    with pytest.raises(ClusterError, match=r"^pc2: broken\.$"):
        Reach(_cluster()).on_all(work, (WORKER, HEAD))
    assert sorted(done) == ["mainpc", "pc2"]
    assert Reach(_cluster()).on_all(work, (HEAD,)) == ["mainpc"]


def test_a_release_is_copied_to_each_machine_and_installed(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/pip.whl").write_bytes(b"x")
    wheel = CarriedWheel(file="pip.whl", name="pip", version="1", sha256="0", size_bytes=1)
    manifest = ReleaseManifest(
        id="1-a",
        version="1",
        python="3.11",
        platform="p",
        state_format=1,
        built_at_s=0,
        pip="pip.whl",
        wheels=(wheel,),
    )
    (tmp_path / "release.json").write_text(json.dumps(manifest.model_dump(mode="json")))
    ran: list[tuple[str, str]] = []

    def run(argv: Sequence[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        ran.append((argv[0], " ".join(argv)))
        return subprocess.CompletedProcess(argv, 0, "hello\nrelease 1-a: installed\n", "")

    said = send_release(_cluster(tmp_path), Reach(_cluster(tmp_path), run), lambda _: None)

    assert said == {"mainpc": "release 1-a: installed", "pc2": "release 1-a: installed"}
    copies = [words for program, words in ran if program == "rsync"]
    assert len(copies) == 2
    assert all("--delete" in words and ":.local/share/zejzl/release/" in words for words in copies)
    assert all(
        "python3 ~/.local/share/zejzl/release/install.py" in words for name, words in ran if name == "ssh"
    )


def test_where_there_is_nothing_to_send_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="`zejzl release build`"):
        send_release(_cluster(tmp_path), Reach(_cluster(tmp_path), _answer()), lambda _: None)
    with pytest.raises(InvalidInput, match="carries no release"):
        send_release(_cluster(), Reach(_cluster(), _answer()), lambda _: None)
