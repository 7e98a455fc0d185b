"""Which release a program runs from, and the settings that a release was started with."""

import json
from pathlib import Path

from zejzl_ray.release.running import own_release, release_folder, release_of, releases_directory
from zejzl_ray.release.used_settings import remember_settings

DATA = Path("/home/me/data")


def test_a_program_of_a_release_knows_which_one_it_is() -> None:
    assert release_of(DATA / "releases/1.0-a/venv/bin/python", DATA) == "1.0-a"
    assert release_of(str(DATA / "releases/1.0-a/venv/bin/ray"), DATA) == "1.0-a"


def test_other_programs_are_of_no_release() -> None:
    for path in (
        "/usr/bin/python",
        "ray",
        DATA / "releases",
        DATA / "releases/1.0-a/other/python",
        DATA / "x/venv/y",
    ):
        assert release_of(path, DATA) is None
    assert own_release(DATA) is None


def test_the_current_link_leads_to_its_release(tmp_path: Path) -> None:
    (tmp_path / "releases/1.0-a").mkdir(parents=True)
    (tmp_path / "releases/current").symlink_to("1.0-a")

    assert release_of(tmp_path / "releases/current/venv/bin/python", tmp_path) == "1.0-a"


def test_settings_are_kept_beside_the_release_that_starts_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "releases/1.0-a").mkdir(parents=True)

    remember_settings(tmp_path, {"ZEJZL_LEASE_S": "3"}, str(tmp_path / "releases/1.0-a/venv/bin/python"))
    remember_settings(tmp_path, {"ZEJZL_LEASE_S": "4"}, "/usr/bin/python")

    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["releases/1.0-a/settings.json"]
    assert json.loads(found[0].read_text()) == {"ZEJZL_LEASE_S": "3"}


def test_what_is_carried_and_what_is_installed_lie_side_by_side() -> None:
    assert release_folder(DATA).parent == releases_directory(DATA).parent == DATA
