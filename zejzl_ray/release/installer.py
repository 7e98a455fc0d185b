"""Installs the release that lies beside this file, and changes between those that are installed.

Carried to each machine with the wheels, where nothing else of the project is yet: it runs on any Python 3.8 with the
standard library alone. ``releases/ID/venv`` in the data directory is one release; ``current`` and ``previous`` are
symbolic links to two of them. A release counts once its own ``release.json`` is there, which is written last, so an
installation that was killed changes nothing and is begun anew by the next.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

MANIFEST = "release.json"
REQUIREMENTS = "requirements.txt"
WHEELS = "wheels"
SETTINGS = "settings.json"
LEFT = "left_by_rollback"
FORMAT = 1
_LOCK_LIMIT_S = 600.0
_PIP_LIMIT_S = 600.0
_TRY_LIMIT_S = 60.0


class ReleaseFault(Exception):
    """What keeps a release from being installed or used: a sentence, and a remedy."""


def read_manifest(folder: Path) -> Optional[Dict[str, Any]]:
    """Return what a release says about itself; None where it is not whole.

    Raises:
        ReleaseFault: the file is there and cannot be understood.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ReleaseFault(
                f"{path} is of format {manifest['format']}, and this reads {FORMAT}. Run `zejzl release build` anew."
            )
        if Path(manifest["id"]).name != manifest["id"]:
            raise ReleaseFault(f"{path} names a release that is no name. Run `zejzl release build` anew.")
        return dict(manifest)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseFault(f"{path} cannot be read: {error}. Run `zejzl release build` anew.") from None


class Releases:
    """The releases of one machine.

    Args:
        root: the directory ``releases``; made when missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def linked(self, name: str) -> Optional[str]:
        """Return which whole release ``current`` or ``previous`` is; None when it is none."""
        try:
            found = os.readlink(str(self.root / name))
        except OSError:
            return None
        return found if read_manifest(self.root / found) is not None else None

    def installed(self) -> List[Dict[str, Any]]:
        """Return every whole release: its manifest, and how it stands here; the oldest installation first."""
        found = []
        for path in self.root.glob("*/" + MANIFEST):
            if not path.parent.is_symlink():
                found.append((path.stat().st_mtime, path.parent))
        current, previous = self.linked("current"), self.linked("previous")
        return [
            dict(
                read_manifest(folder) or {},
                is_current=folder.name == current,
                is_previous=folder.name == previous,
                was_left=(folder / LEFT).exists(),
                settings=_settings(folder),
            )
            for _, folder in sorted(found)
        ]

    def install(self, folder: Path) -> str:
        """Install the release in a folder and make it the current one; return what was done, in words.

        One that a rollback has left is not taken again by this.

        Raises:
            ReleaseFault: the folder is not whole or not for this machine, or the release does not run here; the
                current release is what it was.
        """
        manifest = read_manifest(folder)
        if manifest is None:
            raise ReleaseFault(
                f"There is no release in {folder}. Run `zejzl release build` where `ray up` is run."
            )
        name = str(manifest["id"])
        with self._locked():
            if self.linked("current") == name:
                return f"release {name}: current already"
            own = self.root / name
            if (own / LEFT).exists():
                return (
                    f"release {name}: left alone, since a rollback has left it; the current one is "
                    f"{self.linked('current')}. `zejzl rollback --to {name}` takes it again."
                )
            if read_manifest(own) is None:
                started_s = time.monotonic()
                _require_fit(manifest, folder)
                self._make(own, folder, manifest)
                done = f"installed in {time.monotonic() - started_s:.1f} s"
            else:
                done = "was installed already"
            self._switch(name)
            self._prune()
            _drop_strange_wheels(folder, manifest)
            return f"release {name}: {done}, and is the current one"

    def use(self, name: str, *, leaving: str = "") -> None:
        """Make an installed release the current one; safe to repeat.

        Args:
            name: which.
            leaving: a release that ``install`` shall not take again by itself.

        Raises:
            ReleaseFault: it is not installed.
        """
        with self._locked():
            if read_manifest(self.root / name) is None:
                raise ReleaseFault(
                    f"Release {name} is not installed here. `zejzl release list` shows those that are."
                )
            with contextlib.suppress(FileNotFoundError):
                (self.root / name / LEFT).unlink()
            if leaving and leaving != name and read_manifest(self.root / leaving) is not None:
                (self.root / leaving / LEFT).touch()
            if self.linked("current") != name:
                self._switch(name)
            elif (
                leaving and self.linked("previous") == name and read_manifest(self.root / leaving) is not None
            ):
                self._link("previous", leaving)  # what a switch that was cut off has not come to

    def _make(self, own: Path, folder: Path, manifest: Dict[str, Any]) -> None:
        if own.exists():
            shutil.rmtree(str(own))
        own.mkdir(mode=0o700)
        venv, wheels = own / "venv", folder / WHEELS
        _run([sys.executable, "-m", "venv", "--without-pip", str(venv)], _TRY_LIMIT_S, "make an environment")
        python = str(venv / "bin" / "python")
        options = [
            "--isolated",
            "--no-input",
            "--disable-pip-version-check",
            "--no-index",
            "--no-deps",
            "--no-compile",
        ]
        # pip runs out of its own wheel: many systems have none, and no module to make one with.
        _run(
            [python, str(wheels / manifest["pip"] / "pip"), "install", "-q", *options, "--require-hashes",
             "--find-links", str(wheels), "-r", str(folder / REQUIREMENTS)],
            _PIP_LIMIT_S, "install the wheels",
        )  # fmt: skip
        program = str(venv / "bin" / "zejzl")
        _run([program, "--help"], _TRY_LIMIT_S, "start `zejzl --help`")  # which loads all commands
        said = _run([program, "version"], _TRY_LIMIT_S, "start `zejzl version`").strip()
        if said != manifest["version"]:
            raise ReleaseFault(f"zejzl of {own.name} says that it is {said}. Run `zejzl release build` anew.")
        _run([python, "-c", "import ray"], _TRY_LIMIT_S, "import ray")
        write_durably(own / MANIFEST, json.dumps(manifest, indent=2))

    def _switch(self, name: str) -> None:
        """Change the two links, one after the other; a repetition completes what was cut off between them."""
        before, links = self.linked("current"), [("current", name)]
        if before is not None and before != name:
            links.insert(0, ("previous", before))
        if self.linked("previous") == name:
            links.reverse()  # otherwise nothing would tell any more which one it was to be
        for link, target in links:
            self._link(link, target)

    def _link(self, link: str, name: str) -> None:
        temporary = self.root / f".{link}.new"
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(name)
        os.replace(str(temporary), str(self.root / link))
        _sync(self.root)

    def _prune(self) -> None:
        """Remove what is neither current nor previous, unless a process runs from it."""
        kept = {self.linked("current"), self.linked("previous")}
        for folder in self.root.iterdir():
            is_release = folder.is_dir() and not folder.is_symlink()
            if is_release and folder.name not in kept and not _is_running_from(folder):
                shutil.rmtree(str(folder), ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline_s = time.monotonic() + _LOCK_LIMIT_S
        with open(str(self.root / ".lock"), "w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline_s:
                        raise ReleaseFault(
                            f"Another installation in {self.root} does not end. End it."
                        ) from None
                    time.sleep(0.1)
            yield


def _require_fit(manifest: Dict[str, Any], folder: Path) -> None:
    own = sysconfig.get_platform()
    if manifest["platform"] != own:
        raise ReleaseFault(
            f"The release is for {manifest['platform']}, and this machine is {own}. Build it on such a one."
        )
    for wheel in manifest["wheels"]:
        path = folder / WHEELS / wheel["file"]
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ReleaseFault(
                f"{path} cannot be read: {error.strerror}. Run `ray up` again, which copies it."
            ) from None
        if digest != wheel["sha256"]:
            raise ReleaseFault(
                f"{path} is damaged: its SHA-256 is not that of the release. Remove it and run `ray up` again."
            )


def _drop_strange_wheels(folder: Path, manifest: Dict[str, Any]) -> None:
    """Remove wheels of releases that were carried before: `ray up` copies, and takes nothing away."""
    own = {wheel["file"] for wheel in manifest["wheels"]}
    for path in (folder / WHEELS).glob("*.whl"):
        if path.name not in own:
            with contextlib.suppress(OSError):
                path.unlink()


def _run(argv: List[str], limit_s: float, what: str) -> str:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))
    }
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False,
            env=environment, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ReleaseFault(
            f"Could not {what} within {limit_s:g} s. Is the disk slow, or the machine busy?"
        ) from None
    except OSError as error:
        raise ReleaseFault(f"Could not {what}: {error.strerror}. Look at the disk.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
        raise ReleaseFault(f"Could not {what}: {said[-1500:] or 'it says nothing'}")
    return done.stdout.decode(errors="replace")


def _settings(folder: Path) -> Optional[Dict[str, str]]:
    try:
        return dict(json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _is_running_from(folder: Path) -> bool:
    wanted = os.fsencode(str(folder)) + b"/"
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in process.read_bytes():
                return True
    return False


def write_durably(path: Path, text: str) -> None:
    """Replace a file in one step; durable on return."""
    temporary = path.with_name(f".{path.name}.new")
    with open(str(temporary), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(str(temporary), str(path))
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(str(directory), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fitting_python(manifest: Optional[Dict[str, Any]]) -> None:
    """Go on under the Python that the wheels are for, when this is another.

    Raises:
        ReleaseFault: the machine has none.
    """
    wanted = manifest["python"] if manifest is not None else None
    if wanted is None or wanted == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return
    other = shutil.which(f"python{wanted}")
    if other is None or os.environ.get("ZEJZL_INSTALLER_AGAIN"):
        raise ReleaseFault(
            f"The release is for Python {wanted}, and python3 is {sys.version_info[0]}.{sys.version_info[1]} here. "
            f"Install python{wanted}, the same on all machines."
        )
    os.environ["ZEJZL_INSTALLER_AGAIN"] = "1"
    os.execv(other, [other, *sys.argv])  # nosec B606  # a Python of the machine, no shell


def main(argv: Optional[List[str]] = None, folder: Optional[Path] = None) -> int:
    """Run one command; return the exit code.

    Args:
        argv: the arguments; None takes those of the process.
        folder: of the release; None takes that of this file.
    """
    parser = argparse.ArgumentParser(
        description="Install the release beside this file, or change to another."
    )
    parser.add_argument("command", nargs="?", choices=("install", "list", "use"), default="install")
    parser.add_argument("name", nargs="?", default="", help="of the release to use")
    parser.add_argument(
        "--leaving", default="", help="a release that `install` shall not take again by itself"
    )
    given = parser.parse_args(argv)
    folder = folder or Path(__file__).absolute().parent
    # Beside its folder, wherever that was carried to: what `ray up` starts lies at a fixed place too.
    releases = Releases(folder.parent / "releases")
    try:
        if given.command == "install":
            _fitting_python(read_manifest(folder))
            print(releases.install(folder))
        elif given.command == "use":
            releases.use(given.name, leaving=given.leaving)
        if given.command != "install":
            print("ZEJZL-RELEASES:" + json.dumps(releases.installed()))
    except (ReleaseFault, OSError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
