from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.pin_constraints import ROOT, closure, wanted_requirements


def test_extras_and_the_build_are_wanted_and_the_project_itself_is_not(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[build-system]\nrequires = ["builder>=1"]\n[project]\nname = "own"\ndependencies = ["one>=1"]\n'
        '[project.optional-dependencies]\nextra = ["two"]\naudit = ["newest"]\ndev = ["own[extra]", "three"]\n'
    )
    assert [one.name for one in wanted_requirements(path)] == ["builder", "one", "two", "three"]


def test_what_a_package_needs_is_pinned_too() -> None:
    pins = closure([Requirement("pytest>=8")])
    assert pins["pytest"] == version("pytest")
    assert pins["pluggy"] == version("pluggy")


def test_what_another_platform_needs_is_not_pinned() -> None:
    assert closure([Requirement("nobody-has-this; sys_platform == 'other'")]) == {}


def test_a_package_that_is_not_here_is_an_error() -> None:
    with pytest.raises(PackageNotFoundError):
        closure([Requirement("nobody-has-this")])


def test_every_direct_requirement_of_the_project_is_pinned() -> None:
    pins = {
        line.partition("==")[0]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = {canonicalize_name(one.name) for one in wanted_requirements(ROOT / "pyproject.toml")}
    assert wanted - pins == set()
