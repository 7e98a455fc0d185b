"""The record of a cluster is written whole or not at all, and read back as it was."""

from pathlib import Path

import pytest

from zejzl_ray.cluster.record import FILE_NAME, ClusterRecord, read_record, remove_record, require_record
from zejzl_ray.errors import ClusterError


@pytest.fixture
def record() -> ClusterRecord:
    return ClusterRecord(
        cluster_id="zejzl-1",
        temp_dir=Path("/tmp/zejzl-1"),
        address="127.0.0.1:6379",
        dashboard_url="http://127.0.0.1:8265",
        http_url="http://127.0.0.1:7000",
        bind_host="127.0.0.1",
        namespace="zejzl",
        machines=("mainpc", "pc2"),
    )


def test_what_was_written_is_read(tmp_path: Path, record: ClusterRecord) -> None:
    record.write(tmp_path)
    assert read_record(tmp_path) == record == require_record(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [FILE_NAME]


def test_a_newer_versions_record_is_read(tmp_path: Path, record: ClusterRecord) -> None:
    (tmp_path / FILE_NAME).write_text(record.model_dump_json()[:-1] + ',"more":1}')
    assert read_record(tmp_path) == record


def test_without_a_cluster_there_is_no_record(tmp_path: Path, record: ClusterRecord) -> None:
    assert read_record(tmp_path) is None
    with pytest.raises(ClusterError, match="zejzl up"):
        require_record(tmp_path)
    record.write(tmp_path)
    remove_record(tmp_path)
    remove_record(tmp_path)
    assert read_record(tmp_path) is None


def test_a_broken_record_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(ClusterError, match="zejzl down"):
        read_record(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path, record: ClusterRecord) -> None:
    with pytest.raises(ClusterError, match="Cannot write"):
        record.write(tmp_path / "missing")
