"""Which release a program runs from, if it runs from one."""

import sys
from pathlib import Path
from typing import Final

from zejzl_ray.release.folder import FOLDER

RELEASES: Final = "releases"


def releases_directory(data_dir: Path) -> Path:
    """Return where the releases of a machine lie."""
    return data_dir / RELEASES


def release_folder(data_dir: Path) -> Path:
    """Return the folder that `ray up` carries."""
    return data_dir / FOLDER


def release_of(executable: str | Path, data_dir: Path) -> str | None:
    """Return the release that an executable belongs to; None when it is part of another environment.

    Args:
        executable: such as ``.../releases/0.1.0-ab12/venv/bin/python``.
        data_dir: of this machine.
    """
    root = releases_directory(data_dir)
    path = Path(executable)
    if not path.is_relative_to(root):
        return None
    name, *rest = path.relative_to(root).parts or ("",)
    if name == "current":
        name = (root / name).resolve().name
    return name if rest[:1] == ["venv"] else None


def own_release(data_dir: Path, executable: str = sys.executable) -> str | None:
    """Return the release that this program runs from; None outside one."""
    return release_of(executable, data_dir)
