"""Releases of this source tree for the tests of two hosts, and of the same tree under another version."""

import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.hosts.hosts import PROJECT
from zejzl_ray.clock import SystemClock
from zejzl_ray.release.build import build_release
from zejzl_ray.release.folder import ReleaseManifest
from zejzl_ray.version import __version__

_SOURCES: Final = (
    "actors", "serve_apps", "zejzl_ray", "config", "deploy", "cluster.yaml", "constraints.txt", "pyproject.toml",
    "README.md", "LICENSE",
)  # fmt: skip


def release_of_this_tree(folder: Path) -> ReleaseManifest:
    """Build the release of this source tree; pip gets the wheels as its settings say."""
    return build_release(PROJECT, folder, SystemClock())


def next_release(first: Path, copy: Path, folder: Path, version: str) -> ReleaseManifest:
    """Build the same tree under another version, with the wheels of a release that is there.

    Its nodes have a field more, which the release before does not know, in what they write down.

    Args:
        first: folder of that release.
        copy: where a copy of the tree is made.
        folder: where the release goes.
        version: of the new one.
    """
    copy.mkdir()
    for name in _SOURCES:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, copy / name)
    file = copy / "zejzl_ray" / "version.py"
    file.write_text(file.read_text().replace(f'"{__version__}"', f'"{version}"'))
    _add_field(copy / "zejzl_ray" / "cluster" / "node_start.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(first / "wheels"))
        return build_release(copy, folder, SystemClock())


def _add_field(file: Path) -> None:
    last = '    ray_executable: str = "ray"\n'
    text = file.read_text()
    assert text.count(last) == 1
    file.write_text(text.replace(last, f'{last}    only_in_the_next_release: str = "yes"\n'))
