"""Whether this machine is on its way down: then Ray's processes end because of that, and nobody has asked them to."""

import subprocess
from pathlib import Path

_LIMIT_S = 2.0


def is_machine_shutting_down(marker: Path = Path("/run/systemd/system")) -> bool:
    """Ask systemd; False where there is none, or it does not say.

    Args:
        marker: exists where systemd runs the machine.
    """
    if not marker.exists():
        return False
    try:
        said = subprocess.run(
            ("systemctl", "is-system-running"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return said.stdout.strip() == "stopping"
