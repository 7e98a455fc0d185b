"""Room on the disks, shared secrets by their digests, certificates: what lies on a machine."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import ssl
import stat
from pathlib import Path
from typing import Any, Dict, List, Optional

_SECRET_FILES = ("ray_token", "redis_password", "security_key", "token")


def data_directory() -> Path:
    """Return the data directory of the user who is logged in."""
    text = os.environ.get("ZEJZL_DATA_DIR") or "~/.local/share/zejzl"
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~nobody
        raise ValueError(f"ZEJZL_DATA_DIR is {text}, and there is no such home directory") from None


def current_release() -> Optional[str]:
    """Return the release that `ray up` starts here; None when none is installed."""
    link = Path("~/.local/share/zejzl/releases/current").expanduser()
    with contextlib.suppress(OSError):
        name = os.readlink(str(link))
        if (link / "release.json").is_file():
            return name
    return None


def disks(data_dir: Path) -> List[Dict[str, Any]]:
    """Return the room in each place that a node writes to; a place that is not there yet counts as its parent."""
    temporary = Path(os.environ.get("TMPDIR") or "/tmp")  # nosec B108  # looked at, nothing is written
    wanted = {
        "state": data_dir,
        "home": Path("~").expanduser(),
        "Ray's files": temporary,
        "shared memory": Path("/dev/shm"),  # nosec B108  # looked at only
    }
    return [_disk(use, path) for use, path in wanted.items()]


def _disk(use: str, path: Path) -> Dict[str, Any]:
    found: Dict[str, Any] = {"use": use, "path": str(path)}
    try:
        place = path
        while not place.exists() and place != place.parent:
            place = place.parent
        room = os.statvfs(str(place))
        found.update(
            device=os.stat(str(place)).st_dev,
            free_mib=room.f_bavail * room.f_frsize / 1048576,
            total_mib=room.f_blocks * room.f_frsize / 1048576,
            free_inodes=room.f_favail if room.f_files else None,
            is_writable=os.access(str(place), os.W_OK | os.X_OK),
            is_directory=place.is_dir(),
        )
    except OSError as error:
        found["error"] = error.strerror or type(error).__name__
    return found


def secret_files(data_dir: Path, digest_key: str) -> Dict[str, Any]:
    """Return state, mode and keyed digest of each shared secret."""
    return {name: _secret_file(data_dir / name, digest_key) for name in _SECRET_FILES}


def _secret_file(path: Path, digest_key: str) -> Dict[str, Any]:
    found: Dict[str, Any] = {"path": str(path), "state": "missing", "mode": None, "digest": None}
    try:
        status = path.stat()
        found.update(
            state="unreadable", mode=stat.S_IMODE(status.st_mode), is_own=status.st_uid == os.geteuid()
        )
        content = path.read_bytes().strip()
    except FileNotFoundError:
        return found
    except OSError as error:
        return {**found, "state": "unreadable", "error": error.strerror}
    digest = hmac.new(digest_key.encode(), content, hashlib.sha256).hexdigest()[:16]
    return {**found, "state": "present" if content else "empty", "digest": digest}


def tls_files(data_dir: Path, machine: str) -> Dict[str, Any]:
    """Return the certificates, which are public, and whether the private key fits."""
    directory = data_dir / "tls"
    found: Dict[str, Any] = {"directory": str(directory), "key": _key_file(directory, machine), "errors": {}}
    for name, file in (("ca", "ca.pem"), ("certificate", f"{machine}.pem"), ("own_name", "machine")):
        try:
            found[name] = (directory / file).read_bytes()[:20000].decode("ascii", "replace").strip()
        except FileNotFoundError:
            found[name] = None
        except OSError as error:
            found[name] = None
            found["errors"][file] = error.strerror or type(error).__name__
    return found


def _key_file(directory: Path, machine: str) -> Optional[Dict[str, Any]]:
    """Return whose the private key is, and whether it can be read and fits; None where there is none."""
    key = directory / f"{machine}.key"
    try:
        status = key.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return {"path": str(key), "mode": 0o600, "fits": None, "error": error.strerror}
    found: Dict[str, Any] = {
        "path": str(key),
        "mode": stat.S_IMODE(status.st_mode),
        "is_own": status.st_uid == os.geteuid(),
        "fits": None,
        "error": None,
    }
    try:
        with key.open("rb"):
            pass
    except OSError as error:
        return {**found, "error": error.strerror or type(error).__name__}
    with contextlib.suppress(OSError):
        certificate = directory / f"{machine}.pem"
        if certificate.read_bytes().strip():
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                    str(certificate), str(key), password=lambda: ""
                )
                found["fits"] = True
            except (ssl.SSLError, ValueError):
                found["fits"] = False
    return found
