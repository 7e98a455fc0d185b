"""Write ``constraints.txt``: the versions here of all packages that the project needs, directly or not.

Run it in an environment where the tests pass; ``make pins`` does. The file names packages and versions only,
so that any package index can serve them.
"""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
_UNPINNED_EXTRA = "audit"
HEADER = """\
# The versions that the tests run with; made by `make pins`, used by `make` as pip's constraints.
"""


def wanted_requirements(pyproject: Path) -> list[Requirement]:
    """Return what the project, its extras and its build need; its own name and the extra ``audit`` are left out.

    The program that looks for known faults is wanted as new as it can be, and nothing that runs needs it.
    """
    data = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = data["project"]
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    texts = [*data["build-system"]["requires"], *project["dependencies"]]
    for name, group in extras.items():
        texts += [] if name == _UNPINNED_EXTRA else group
    requirements = [Requirement(text) for text in texts]
    return [
        item for item in requirements if canonicalize_name(item.name) != canonicalize_name(project["name"])
    ]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Return name -> installed version of everything that the requirements lead to in this environment.

    Raises:
        PackageNotFoundError: something that is needed is not installed here.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(item, "") for item in requirements]
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        package = distribution(requirement.name)
        versions[name] = package.version
        for wanted in ("", *sorted(requirement.extras)):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                queue += [(Requirement(text), wanted) for text in package.requires or ()]
    return versions


def main() -> int:
    """Write the file; return the exit code."""
    try:
        versions = closure(wanted_requirements(ROOT / "pyproject.toml"))
    except PackageNotFoundError as error:
        print(
            f"error: {error.name} is needed and not installed here. Run `make setup` first.", file=sys.stderr
        )
        return 1
    lines = [f"{name}=={version}" for name, version in sorted(versions.items())]
    local = [line for line in lines if "+" in line]
    if local:
        print(f"error: no index serves {', '.join(local)}.", file=sys.stderr)
        return 1
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"constraints.txt: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
