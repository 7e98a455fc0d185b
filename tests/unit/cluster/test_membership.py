"""What the answer of the head means."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.cluster.membership import is_still_member
from zejzl_ray.cluster.node_start import NodeRole, NodeStart

_NODE = NodeStart(
    cluster_id="c1",
    machine="pc2",
    role=NodeRole.WORKER,
    head_address="10.0.0.1:6379",
    node_ip="10.0.0.2",
    temp_dir=Path("/tmp/c1"),
    token_path=Path("/home/me/ray_token"),
    cpus=1,
)


@pytest.mark.parametrize(("status", "answer"), [(0, True), (3, False), (1, None), (-9, None)])
def test_only_a_clear_answer_counts(
    monkeypatch: pytest.MonkeyPatch, status: int, answer: bool | None
) -> None:
    seen: list[Any] = []

    def run(argv: tuple[str, ...], **options: Any) -> subprocess.CompletedProcess[bytes]:
        seen.append((argv[-2:], options["env"]["RAY_AUTH_TOKEN_PATH"]))
        return subprocess.CompletedProcess(argv, status)

    monkeypatch.setattr(subprocess, "run", run)

    assert is_still_member(_NODE, "ab12") is answer
    assert seen == [(("10.0.0.1:6379", "ab12"), "/home/me/ray_token")]


def test_a_question_that_is_not_answered_in_time_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: tuple[str, ...], **_: Any) -> None:
        raise subprocess.TimeoutExpired(argv, 15)

    monkeypatch.setattr(subprocess, "run", run)

    assert is_still_member(_NODE, "ab12") is None
