"""Where fleet files lie: the user's own, or the one that is shipped."""

from pathlib import Path

from zejzl_ray.errors import FleetInvalid

_PACKAGE = Path(__file__).resolve().parent
# An installed wheel carries the project's config directory; a checkout has it beside the package.
_SHIPPED = (_PACKAGE / "shipped", _PACKAGE.parents[1] / "config")


def default_fleet_file(directory: Path | None = None) -> Path:
    """Return ``config/fleet.yaml`` below the directory (the current one), else the shipped file.

    Raises:
        FleetInvalid: there is neither.
    """
    candidates = [
        (directory or Path.cwd()) / "config" / "fleet.yaml",
        *(path / "fleet.yaml" for path in _SHIPPED),
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FleetInvalid(
        "No fleet file: config/fleet.yaml is not here.", "Name one with --fleet or ZEJZL_FLEET_FILE."
    )


def overlay_file(fleet_file: Path, environment: str) -> Path | None:
    """Return the overlay of an environment: ``overlays/<environment>.yaml`` beside the fleet file, None without."""
    candidate = fleet_file.parent / "overlays" / f"{environment}.yaml"
    return candidate if candidate.is_file() else None
