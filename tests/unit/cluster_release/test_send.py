"""A release on its way to all machines."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.cluster_check.reach import Reach
from zejzl_ray.cluster_file.model import CarriedRelease, ClusterFile, DeclaredMachine
from zejzl_ray.cluster_release.send import send_release
from zejzl_ray.errors import InvalidInput, NotFound
from zejzl_ray.release.folder import CarriedWheel, ReleaseManifest

HEAD = DeclaredMachine(name="mainpc", address="10.0.0.1")
WORKER = DeclaredMachine(name="pc2", address="10.0.0.2")


def _cluster(here: Path | None = None) -> ClusterFile:
    carried = CarriedRelease(here=here, there="~/.local/share/zejzl/release") if here is not None else None
    return ClusterFile(
        file="cluster.yaml", head=HEAD, workers=(WORKER,), ssh_user="me", ssh_private_key=Path("/k"),
        carried_release=carried,
    )  # fmt: skip


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
        send_release(_cluster(tmp_path), Reach(_cluster(tmp_path)), lambda _: None)
    with pytest.raises(InvalidInput, match="carries no release"):
        send_release(_cluster(), Reach(_cluster()), lambda _: None)
