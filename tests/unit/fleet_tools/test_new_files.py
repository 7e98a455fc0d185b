"""Writing several files at once."""

from pathlib import Path

import pytest

from zejzl_ray.errors import Conflict, InvalidInput
from zejzl_ray.fleet.new_files import write_files


def test_all_files_are_written_with_their_folders(tmp_path: Path) -> None:
    write_files({tmp_path / "a" / "one": "1\n", tmp_path / "two": "ä"})
    assert (tmp_path / "a" / "one").read_text() == "1\n"
    assert (tmp_path / "two").read_text(encoding="utf-8") == "ä"
    assert (tmp_path / "two").stat().st_mode & 0o777 == 0o644


def test_what_is_there_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    with pytest.raises(Conflict, match=r"there.*--force"):
        write_files({tmp_path / "new": "x", tmp_path / "there": "x"})
    assert not (tmp_path / "new").exists()
    write_files({tmp_path / "there": "new"}, is_overwriting=True)
    assert (tmp_path / "there").read_text() == "new"


def test_nothing_is_left_when_one_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="cannot write"):
        write_files({tmp_path / "good": "x", tmp_path / "file" / "below": "x"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_overwritten_with_something_else_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    write_files({path: "first"})
    write_files({path: "first"}, is_overwriting=True)
    assert [file.name for file in tmp_path.iterdir()] == ["fleet.yaml"]

    write_files({path: "second"}, is_overwriting=True)

    assert path.read_text() == "second"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "fleet.yaml": "second",
        "fleet.yaml.before": "first",
    }
