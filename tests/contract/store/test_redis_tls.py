"""The store over TLS, against a real Redis that wants a certificate from whoever comes; skipped without one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.store.redis_over_tls import certified, has_tls, tls_settings
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.shared_store import ensure_redis_password, service_store_url
from zejzl_ray.errors import StoreUnavailable
from zejzl_ray.settings import Settings
from zejzl_ray.store import Put
from zejzl_ray.store.open import open_store
from zejzl_ray.testing.redis_server import RedisServer
from zejzl_ray.tls.credentials import tls_directory

pytestmark = pytest.mark.skipif(
    not has_tls(), reason="this redis-server has no TLS: install one that has (apt-get install redis-server)"
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    certified(directory)
    return directory


@pytest.fixture
def url(data_dir: Path) -> Iterator[str]:
    """Address of a server set up as ``deploy/redis.conf`` does, with its password."""
    password_file, auth_file = ensure_redis_password(data_dir)
    (port,) = free_ports(1)
    settings = (*tls_settings(data_dir, port), "protected-mode yes")
    assert auth_file.exists()
    with RedisServer(settings=settings, password=password_file.read_text()):
        yield f"rediss://127.0.0.1:{port}"


async def _open_and_write(settings: Settings, timeout_s: float = 1.0) -> None:
    found = service_store_url(settings).get_secret_value()
    separator = "&" if "?" in found else "?"
    store = await open_store(
        f"{found}{separator}timeout_s={timeout_s:g}", "tls", clock=SystemClock(), owner="test"
    )
    try:
        epoch = await store.take_epoch()
        await store.commit([Put("one", b"1")], epoch=epoch)
        assert (await store.get("one")) is not None
    finally:
        await store.close()


async def test_the_store_is_reached_with_the_certificate_of_this_machine(url: str, data_dir: Path) -> None:
    await _open_and_write(Settings(data_dir=data_dir, store_url=url))


async def test_a_server_of_another_authority_is_not_trusted(url: str, data_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)

    with pytest.raises(StoreUnavailable):
        await _open_and_write(
            Settings(
                data_dir=data_dir,
                store_url=url,
                ca_file=certified(other) / "ca.pem",
                redis_password_file=data_dir / "redis_password",
            )
        )


async def test_a_client_with_the_password_but_without_a_certificate_is_refused(
    url: str, data_dir: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir(mode=0o700)

    with pytest.raises(StoreUnavailable):
        await _open_and_write(
            Settings(
                data_dir=bare,
                store_url=url,
                ca_file=tls_directory(data_dir) / "ca.pem",
                redis_password_file=data_dir / "redis_password",
            )
        )
