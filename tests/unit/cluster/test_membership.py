"""What the answer of the head means."""

import subprocess
from typing import Any

import pytest

from tests.unit.cluster.nodes import a_worker
from zejzl_ray.cluster.membership import is_still_member

_NODE = a_worker()


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
