"""The fleet file that a command works with."""

import os
from pathlib import Path

from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.sources import default_fleet_file, overlay_file
from zejzl_ray.settings import Settings


def load_checked_fleet(settings: Settings, named: Path | None) -> tuple[Fleet, Path]:
    """Return the fleet with the environment's overlay, and the file it came from.

    Raises:
        FleetInvalid: it has errors; all of them are in the message.
    """
    source = named or settings.fleet_file or default_fleet_file()
    overlay = overlay_file(source, settings.environment)
    return load_fleet([source], environment=os.environ, overlay=overlay).raise_if_invalid(), source
