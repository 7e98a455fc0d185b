"""Collects a release: the project's wheel and those that it needs, in the versions of ``constraints.txt``."""

import ensurepip
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from zejzl_ray.clock import Clock
from zejzl_ray.errors import InvalidInput, NotFound
from zejzl_ray.release import installer
from zejzl_ray.release.folder import (
    INSTALLER,
    CarriedWheel,
    ReleaseManifest,
    read_folder,
    release_id,
    requirements_text,
)

_LIMIT_S: Final = 900.0
_CHECKOUT: Final = Path(__file__).resolve().parents[2]


def own_source() -> Path:
    """Return the checkout that this program runs from.

    Raises:
        NotFound: it runs from an installation, which can be carried on but not built again.
    """
    if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "constraints.txt").is_file():
        return _CHECKOUT
    raise NotFound(
        "This is an installation, not a checkout of the project.", "Name a checkout with --source."
    )


def build_release(source: Path, folder: Path, clock: Clock) -> ReleaseManifest:
    """Collect the wheels of a checkout and put them in place of what is in the folder; pip's own settings count.

    The folder is what it was until everything is there. The same checkout and pins give the same release.

    Args:
        source: a checkout, or any project with a ``constraints.txt`` beside its ``pyproject.toml``.
        folder: where the release goes; made when missing.
        clock: says when it was built.

    Raises:
        NotFound: the source is no checkout.
        InvalidInput: pip cannot get a wheel, or the folder cannot be written; says which.
    """
    for name in ("pyproject.toml", "constraints.txt"):
        if not (source / name).is_file():
            raise NotFound(f"{source} has no {name}.", "Name a checkout of the project with --source.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            (made / installer.WHEELS).mkdir(mode=0o700, parents=True)
            manifest = _collect(source, made, clock)
            before = _before(folder)
            if before is not None and before.id == manifest.id:
                return before
            if folder.exists():
                folder.rename(Path(temporary) / "before")
            made.rename(folder)
            return manifest
    except OSError as error:
        raise InvalidInput(f"cannot write {folder}: {error.strerror}.", "Look at the disk.") from None


def _before(folder: Path) -> ReleaseManifest | None:
    try:
        return read_folder(folder)
    except InvalidInput:
        return None


def _collect(source: Path, made: Path, clock: Clock) -> ReleaseManifest:
    wheels = made / installer.WHEELS
    # The project's build backend is fetched for this build alone, unless it is here already.
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    _pip(["wheel", *isolation, "-c", str(source / "constraints.txt"), "-w", str(wheels), str(source)])
    pip = _add_pip(wheels)
    carried = _listed(wheels)
    own = next((wheel for wheel in carried if wheel.name == "zejzl_ray"), None)
    if own is None:
        raise NotFound(f"{source} is not the project zejzl-ray.", "Name a checkout of it with --source.")
    version = own.version
    python = ".".join(platform.python_version_tuple()[:2])
    manifest = ReleaseManifest(
        id=release_id(version, python, carried),
        version=version,
        python=python,
        platform=sysconfig.get_platform(),
        state_format=_state_format(wheels / own.file),
        built_at_s=clock.now_s(),
        pip=pip,
        wheels=carried,
    )
    (made / installer.REQUIREMENTS).write_text(requirements_text(manifest), encoding="utf-8")
    shutil.copyfile(str(installer.__file__), made / INSTALLER)
    (made / installer.MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), indent=2), "utf-8")
    return manifest


def _listed(wheels: Path) -> tuple[CarriedWheel, ...]:
    found = []
    for path in sorted(wheels.glob("*.whl")):
        name, version = path.name.split("-")[:2]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(
            CarriedWheel(
                file=path.name, name=name, version=version, sha256=digest, size_bytes=path.stat().st_size
            )
        )
    return tuple(found)


def _state_format(wheel: Path) -> int:
    """Return what the code in the wheel says of its own state; it need not be the code that runs here."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("zejzl_ray/version.py").decode()
    found = re.search(r"(?m)^STATE_FORMAT\b[^=\n]*=\s*(\d+)", text)
    return int(found.group(1)) if found is not None else 1


def _add_pip(wheels: Path) -> str:
    """Put a wheel of pip there and return its name: Python's own where it brings one, else it is fetched."""
    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if bundled:
        shutil.copyfile(bundled[-1], wheels / bundled[-1].name)
        return bundled[-1].name
    before = set(wheels.iterdir())
    _pip(["download", "--no-deps", "-d", str(wheels), "pip"])
    return next(path.name for path in wheels.iterdir() if path not in before)


def _pip(arguments: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "-q", "--no-input", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, *arguments[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
    except subprocess.TimeoutExpired:
        raise InvalidInput(
            f"pip did not end within {_LIMIT_S:g} s.", "Is the way to the packages slow? Try again."
        ) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise InvalidInput(
            "pip cannot collect the wheels: " + "\n".join(lines)[-1500:],
            "This is the one step that needs a way to the packages; pip's own settings say which.",
        )
