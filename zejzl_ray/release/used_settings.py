"""Which settings a release was last started with on a machine: they go back with it."""

import json
from collections.abc import Mapping
from pathlib import Path

from zejzl_ray.release.installer import SETTINGS, write_durably
from zejzl_ray.release.running import own_release, releases_directory


def remember_settings(data_dir: Path, values: Mapping[str, str], executable: str) -> None:
    """Write down the settings of a start beside the release that it starts; nothing outside a release.

    Args:
        data_dir: of this machine.
        values: ``ZEJZL_*`` variables, none of them a secret.
        executable: of the program that starts.

    Raises:
        OSError: the file cannot be written.
    """
    release = own_release(data_dir, executable)
    if release is not None:
        write_durably(releases_directory(data_dir) / release / SETTINGS, json.dumps(dict(values), indent=2))
