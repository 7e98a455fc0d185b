"""Where fleet files are looked for."""

from pathlib import Path

import pytest

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet import sources
from zejzl_ray.fleet.sources import default_fleet_file, overlay_file


def test_the_file_of_the_working_directory_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "config" / "fleet.yaml"
    own.parent.mkdir()
    own.write_text("")
    monkeypatch.chdir(tmp_path)
    assert default_fleet_file() == own == default_fleet_file(tmp_path)


def test_without_one_the_shipped_file_is_taken(tmp_path: Path) -> None:
    assert default_fleet_file(tmp_path).name == "fleet.yaml"
    assert default_fleet_file(tmp_path).is_file()


def test_without_any_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_SHIPPED", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(FleetInvalid, match="ZEJZL_FLEET_FILE"):
        default_fleet_file(tmp_path)


def test_an_overlay_lies_beside_the_fleet(tmp_path: Path) -> None:
    overlay = tmp_path / "overlays" / "dev.yaml"
    overlay.parent.mkdir()
    overlay.write_text("")
    assert overlay_file(tmp_path / "fleet.yaml", "dev") == overlay
    assert overlay_file(tmp_path / "fleet.yaml", "prod") is None
