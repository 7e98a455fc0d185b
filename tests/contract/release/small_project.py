"""A project that looks like ours to what builds and installs releases, and is installed in a second or two."""

from pathlib import Path
from typing import Final

_PYPROJECT: Final = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "zejzl-ray"
dynamic = ["version"]
[project.scripts]
zejzl = "zejzl_ray.command:main"
[tool.hatch.version]
path = "zejzl_ray/version.py"
[tool.hatch.build.targets.wheel]
packages = ["zejzl_ray", "ray"]
"""
_COMMAND: Final = """
import sys
from zejzl_ray.version import __version__
def main():
    print({said})
"""


def write_project(
    root: Path, version: str, *, said: str = "__version__", ray: str = "", state_format: int = 1
) -> Path:
    """Write the project and return its folder.

    Args:
        root: where to.
        version: of the project.
        said: what its command prints, as Python.
        ray: content of the module ray.
        state_format: what it says of its state.
    """
    root.mkdir(parents=True)
    (root / "pyproject.toml").write_text(_PYPROJECT)
    (root / "constraints.txt").write_text("# nothing is needed\n")
    for package in ("zejzl_ray", "ray"):
        (root / package).mkdir()
    (root / "zejzl_ray/__init__.py").write_text("")
    (root / "zejzl_ray/version.py").write_text(f'__version__ = "{version}"\nSTATE_FORMAT = {state_format}\n')
    (root / "zejzl_ray/command.py").write_text(_COMMAND.format(said=said))
    (root / "ray/__init__.py").write_text(ray)
    return root
