"""The lock of a machine's node, among real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zejzl_ray.cluster.node_lock import FILE_NAME, VARIABLE, inherit_node_lock, take_node_lock
from zejzl_ray.errors import ClusterError

_HOLD = """
import sys
from pathlib import Path
from zejzl_ray.cluster.node_lock import inherit_node_lock
with inherit_node_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _is_free(data_dir: Path) -> bool:
    lock = take_node_lock(data_dir)
    if lock is None:
        return False
    lock.close()
    return True


def test_one_at_a_time_has_it(tmp_path: Path) -> None:
    with take_node_lock(tmp_path) or pytest.fail("nobody had it"):
        assert not _is_free(tmp_path)

    assert _is_free(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_whoever_it_is_handed_to_keeps_it_until_it_dies(tmp_path: Path) -> None:
    lock = take_node_lock(tmp_path)
    assert lock is not None
    with subprocess.Popen(
        (sys.executable, "-c", _HOLD, str(tmp_path)),
        env={**os.environ, VARIABLE: str(lock.descriptor)},
        pass_fds=(lock.descriptor,),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        lock.close()
        lock.close()
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert not _is_free(tmp_path)
        process.kill()
        process.wait()

        assert _is_free(tmp_path)


def test_a_program_that_is_started_meanwhile_does_not_keep_it(tmp_path: Path) -> None:
    lock = take_node_lock(tmp_path)
    assert lock is not None

    with subprocess.Popen(("sleep", "60"), close_fds=False) as process:
        lock.close()
        assert _is_free(tmp_path)
        process.kill()


def test_a_second_supervisor_is_told_that_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits_s: list[float] = []
    with take_node_lock(tmp_path) or pytest.fail("nobody had it"):
        with pytest.raises(ClusterError, match=r"Another supervisor .* has touched nothing"):
            inherit_node_lock(tmp_path, waits_s.append)
        with (tmp_path / "other").open("w") as other:
            monkeypatch.setenv(VARIABLE, str(other.fileno()))  # somebody's file, but not the lock
            with pytest.raises(ClusterError, match="Another supervisor"):
                inherit_node_lock(tmp_path, waits_s.append)

    assert sum(waits_s) == pytest.approx(4.0)
    assert VARIABLE not in os.environ


def test_who_only_looked_is_waited_for(tmp_path: Path) -> None:
    looking = take_node_lock(tmp_path)
    assert looking is not None

    with inherit_node_lock(tmp_path, lambda _: looking.close()) as lock:
        assert lock.descriptor >= 0


def test_a_lock_whose_file_a_purge_has_removed_is_none(tmp_path: Path) -> None:
    with take_node_lock(tmp_path) or pytest.fail("nobody had it"):
        (tmp_path / FILE_NAME).unlink()

        assert _is_free(tmp_path)


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=f"Cannot use .*{FILE_NAME}: No such file"):
        take_node_lock(tmp_path / "none")
