"""The folder of a release, as `ray up` carries it: wheels, their digests, and the program that installs them."""

import hashlib
import json
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import InvalidInput
from zejzl_ray.release.installer import FORMAT, MANIFEST, WHEELS

FOLDER: Final = "release"  # in the data directory, here and on all machines
INSTALLER: Final = "install.py"
_DIGEST_CHARS: Final = 12


class CarriedWheel(Contract):
    """One wheel of a release."""

    file: str
    name: str
    version: str
    sha256: str
    size_bytes: int


class ReleaseManifest(Contract):
    """What a release says about itself."""

    format: int = FORMAT
    id: str = Field(description="version of the project, and a short digest of everything that is installed")
    version: str
    python: str = Field(description="major and minor version that the wheels are for")
    platform: str = Field(description="as sysconfig names it")
    state_format: int = Field(description="of what its services keep in the store")
    built_at_s: float
    pip: str = Field(description="file name of the pip that installs the others, and is not installed")
    wheels: tuple[CarriedWheel, ...]

    @property
    def size_bytes(self) -> int:
        """Of all wheels together."""
        return sum(wheel.size_bytes for wheel in self.wheels)


def release_id(version: str, python: str, wheels: tuple[CarriedWheel, ...]) -> str:
    """Return the name of a release: the same wheels for the same Python always have the same."""
    lines = sorted(f"{wheel.file} {wheel.sha256}" for wheel in wheels)
    digest = hashlib.sha256("\n".join([python, *lines]).encode()).hexdigest()
    return f"{version}-{digest[:_DIGEST_CHARS]}"


def requirements_text(manifest: ReleaseManifest) -> str:
    """Return what pip is told to install: each wheel but its own, with its digest."""
    lines = [
        f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"
        for wheel in manifest.wheels
        if wheel.file != manifest.pip
    ]
    return "\n".join(sorted(lines)) + "\n"


def read_folder(folder: Path) -> ReleaseManifest | None:
    """Return which release lies in a folder; None when there is none. Wheels are looked for, not read.

    Raises:
        InvalidInput: it is not whole.
    """
    path = folder / MANIFEST
    try:
        manifest = ReleaseManifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        raise InvalidInput(
            f"{path} cannot be read: {type(error).__name__}.", "Run `zejzl release build` anew."
        ) from None
    for wheel in manifest.wheels:
        found = folder / WHEELS / wheel.file
        if not found.is_file() or found.stat().st_size != wheel.size_bytes:
            raise InvalidInput(f"{found} is missing or cut short.", "Run `zejzl release build` anew.")
    return manifest
