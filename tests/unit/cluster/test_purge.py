"""What a purge removes from a machine, and what it leaves alone."""

import os
import subprocess
from pathlib import Path

import pytest

from zejzl_ray.cluster.local_plan import cluster_id
from zejzl_ray.cluster.node_start import MARKER, node_marker
from zejzl_ray.cluster.purge import purge_files, purge_redis, require_stopped
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings

SECRETS = ("token", "ray_token", "redis_password", "security_key")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    for folder in ("store", "logs/mainpc", "tls", "backups"):
        (path / folder).mkdir(parents=True)
        (path / folder / "file").touch()
    for name in (*SECRETS, "node_intent.json", "node.log", "ray_start_pc2.log", "photo.jpg"):
        (path / name).write_text("x")
    return path


def _left(data_dir: Path) -> set[str]:
    return {path.name for path in data_dir.iterdir()}


def test_state_and_logs_go_and_secrets_stay(data_dir: Path) -> None:
    removed = purge_files(data_dir, is_everything=False)

    assert _left(data_dir) == {*SECRETS, "tls", "backups", "photo.jpg"}
    assert removed[-1].endswith("node_intent.json")  # tells a repeated purge where Redis is
    assert purge_files(data_dir, is_everything=False) == ()


def test_everything_is_what_the_project_has_made_and_nothing_else(data_dir: Path) -> None:
    purge_files(data_dir, is_everything=True)

    assert _left(data_dir) == {"photo.jpg"}


def test_what_redis_asks_for_goes_after_the_record_that_says_where_redis_is(data_dir: Path) -> None:
    removed = [Path(path).name for path in purge_files(data_dir, is_everything=True)]

    at = removed.index("node_intent.json")
    assert {"store", "logs"} <= set(removed[:at])
    assert removed[-2:] == ["tls", "redis_password"]
    assert at < removed.index("ray_token")


def test_a_link_is_not_followed(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (data_dir / "node.json").symlink_to(tmp_path / "elsewhere")

    purge_files(data_dir, is_everything=False)

    assert (tmp_path / "elsewhere").exists()


def test_what_cannot_be_removed_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuse)

    with pytest.raises(ClusterError, match=r"Cannot remove .*store: Permission denied"):
        purge_files(data_dir, is_everything=False)


def test_a_cluster_that_is_up_keeps_its_data(data_dir: Path) -> None:
    require_stopped(data_dir)
    environment = {**os.environ, MARKER: node_marker(cluster_id(data_dir), "mainpc")}
    with subprocess.Popen(("sleep", "60"), env=environment) as process:
        try:
            with pytest.raises(ClusterError, match="nothing was removed"):
                require_stopped(data_dir)
        finally:
            process.kill()


def test_a_store_on_one_machine_has_no_redis_to_empty() -> None:
    assert purge_redis(Settings()) is None
