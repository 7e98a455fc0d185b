"""The store of a cluster's services: its password, and whether it is the same one from every machine."""

import ipaddress
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.cluster.secret_file import ensure_token, read_secret
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.store.redis_tls import with_tls_files
from zejzl_ray.tls.credentials import certificate_path, key_path, own_machine, tls_directory

REDIS_PASSWORD_FILE: Final = "redis_password"  # noqa: S105  a file name, not a secret
REDIS_AUTH_FILE: Final = "redis_auth.conf"
_PASSWORD_REMEDY: Final = "Run `zejzl node token`, or set ZEJZL_REDIS_PASSWORD_FILE."  # noqa: S105  no secret
_REMEDY: Final = (
    "Set ZEJZL_STORE_URL to a Redis that all machines reach, such as redis://192.168.1.10:6380; "
    "docs/operations.md says how to run one."
)


def require_shared_store(store_url: str, addresses: Collection[str]) -> None:
    """Refuse a store that lies on one machine when services may move to another, where they would begin empty.

    Args:
        store_url: ``Settings.resolved_store_url()``; not repeated in the error.
        addresses: of the cluster's machines, repeated or not; one machine may have any store.

    Raises:
        ClusterError: there are several machines and each would see a store of its own.
    """
    machines = len(set(addresses))
    if machines < 2:
        return
    scheme = store_url.partition("://")[0]
    if scheme == "memory":
        raise ClusterError("The store `memory` is lost when a service moves to another machine.", _REMEDY)
    if not scheme.startswith("redis"):
        raise ClusterError(
            f"The store {scheme} lies on one machine, but services may move: there are {machines} machines.",
            _REMEDY,
        )
    own = [host for host in _hosts(store_url) if _is_loopback(host)]
    if own:
        raise ClusterError(
            f"The store's address names {own[0]}, which is another one on each of {machines} machines.",
            _REMEDY,
        )


def service_store_url(settings: Settings) -> SecretStr:
    """Return the store's URL with its password and certificates, read anew so that a change counts at the next start.

    The password is ``ZEJZL_REDIS_PASSWORD``, else the content of ``ZEJZL_REDIS_PASSWORD_FILE``, else that of
    ``redis_password`` in the data directory, else there is none. With TLS, ``rediss://``, the server must show
    a certificate of ``ZEJZL_CA_FILE``, and is shown the one of this machine where there is one.

    Raises:
        ClusterError: others may read the file.
        Unauthenticated: the file that the settings name is missing, or is empty.
    """
    url = settings.secret_store_url(_password_from_file(settings)).get_secret_value()
    directory = tls_directory(settings.data_path)
    own = own_machine(directory) if url.startswith("redis") else None
    return SecretStr(
        with_tls_files(
            url,
            authority=settings.trusted_authority(),
            certificate=certificate_path(directory, own) if own is not None else None,
            key=key_path(directory, own) if own is not None else None,
        )
    )


def ensure_redis_password(data_dir: Path) -> tuple[Path, Path]:
    """Make the password of Redis if there is none, and the lines for Redis' own configuration that ask for it.

    Safe to repeat: a password that is there is kept, the lines follow it.

    Returns:
        The two files, both of mode 0600.

    Raises:
        ClusterError: others may read the password, or a file cannot be written.
    """
    path = data_dir / REDIS_PASSWORD_FILE
    password = ensure_token(path).get_secret_value()
    quoted = re.sub(r'(["\\])', r"\\\1", password)
    target = data_dir / REDIS_AUTH_FILE
    write_private_file(target, f'requirepass "{quoted}"\nmasterauth "{quoted}"\n')
    return path, target


def _password_from_file(settings: Settings) -> SecretStr | None:
    if settings.redis_password is not None or not settings.store_url.startswith("redis"):
        return None
    path = settings.redis_password_file
    if path is None:
        path = settings.data_path / REDIS_PASSWORD_FILE
        if not path.exists():
            return None
    return read_secret(path.expanduser(), what="Redis password", remedy=_PASSWORD_REMEDY)


def _hosts(store_url: str) -> list[str]:
    """Return the hosts of a Redis URL, several where it names Sentinels; none where it cannot be understood."""
    found = []
    try:
        for part in urlsplit(store_url).netloc.rpartition("@")[2].split(","):
            host = urlsplit(f"//{part}").hostname
            if host:
                found.append(host)
    except ValueError:
        return []  # whoever opens the store says what is wrong with it
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
