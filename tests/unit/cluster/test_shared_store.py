"""A store that services find from every machine, and where its password comes from."""

import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from zejzl_ray.cluster.shared_store import ensure_redis_password, require_shared_store, service_store_url
from zejzl_ray.errors import ClusterError, Unauthenticated
from zejzl_ray.settings import Settings
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names

TWO = ("10.0.0.1", "10.0.0.2")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ZEJZL_{name.upper()}", raising=False)


def settings(data_dir: Path, url: str = "redis://h:6380", **fields: object) -> Settings:
    return Settings.model_validate({"data_dir": data_dir, "store_url": url, **fields})


def write_secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("url", ["sqlite:///data/store", "memory://", "redis://127.0.0.1:6380"])
def test_one_machine_may_have_any_store_however_many_nodes_it_has(url: str) -> None:
    require_shared_store(url, ["127.0.0.1", "127.0.0.1"])
    require_shared_store(url, [])


@pytest.mark.parametrize(
    "url",
    [
        "redis://10.0.0.1:6380",
        "rediss://me@redis.lan:6380/0?replicas=1",
        "redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/primary/0",
        "redis://[fd00::1]:6380",
        "redis://[broken",  # whoever opens it says so
    ],
)
def test_several_machines_may_have_a_redis_that_both_reach(url: str) -> None:
    require_shared_store(url, TWO)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///data/store", "The store sqlite lies on one machine, but services may move"),
        ("memory://", "is lost when a service moves"),
        ("redis://127.0.0.1:6380", "names 127.0.0.1"),
        ("redis://:hunter2@localhost:6380", "names localhost"),
        ("redis://[::1]:6380", "names ::1"),
        ("redis+sentinel://10.0.0.1:26379,127.0.1.1:26379/primary", "names 127.0.1.1"),
    ],
)
def test_several_machines_with_a_store_of_their_own_each_are_refused_with_the_remedy(
    url: str, reason: str
) -> None:
    with pytest.raises(ClusterError) as caught:
        require_shared_store(url, TWO)
    assert reason in str(caught.value)
    assert "Set ZEJZL_STORE_URL to a Redis" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_password_is_made_once_and_redis_own_lines_follow_it(tmp_path: Path) -> None:
    first, lines = ensure_redis_password(tmp_path)
    password = first.read_text()
    assert ensure_redis_password(tmp_path) == (first, lines)
    assert first.read_text() == password
    assert len(password) > 30
    assert lines.read_text() == f'requirepass "{password}"\nmasterauth "{password}"\n'
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {"redis_password", "redis_auth.conf"}


def test_a_password_of_ones_own_is_kept_and_quoted_for_redis(tmp_path: Path) -> None:
    write_secret(tmp_path / "redis_password", 'a"b\\c #d\n')
    _, lines = ensure_redis_password(tmp_path)
    assert lines.read_text().splitlines()[0] == r'requirepass "a\"b\\c #d"'


def test_lines_that_cannot_be_written_are_an_error_without_the_password(tmp_path: Path) -> None:
    password = write_secret(tmp_path / "redis_password", "hunter2")
    (tmp_path / "redis_auth.conf").mkdir()
    with pytest.raises(ClusterError, match=r"Cannot write .*redis_auth\.conf") as caught:
        ensure_redis_password(tmp_path)
    assert "hunter2" not in str(caught.value)
    assert set(tmp_path.iterdir()) == {password, tmp_path / "redis_auth.conf"}


def test_the_password_comes_from_the_variable_then_the_named_file_then_the_data_directory(
    tmp_path: Path,
) -> None:
    def password(**fields: object) -> str:
        return service_store_url(settings(tmp_path, "redis://h:6380", **fields)).get_secret_value()

    assert password() == "redis://h:6380"
    write_secret(tmp_path / "redis_password", "own\n")
    assert password() == "redis://:own@h:6380"
    named = write_secret(tmp_path / "named", "named")
    assert password(redis_password_file=named) == "redis://:named@h:6380"
    assert password(redis_password_file=named, redis_password=SecretStr("given")) == "redis://:given@h:6380"


def test_a_password_file_is_read_anew_each_time_and_only_for_redis(tmp_path: Path) -> None:
    file = write_secret(tmp_path / "redis_password", "old")
    wanted = settings(tmp_path)
    assert "old" in service_store_url(wanted).get_secret_value()
    write_secret(file, "new")
    assert "new" in service_store_url(wanted).get_secret_value()
    assert "old" not in service_store_url(wanted).get_secret_value()
    assert service_store_url(settings(tmp_path, "memory")).get_secret_value() == "memory://"


def test_a_password_file_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    missing = settings(tmp_path, redis_password_file=tmp_path / "missing")
    with pytest.raises(Unauthenticated, match=r"No Redis password at .*missing.*zejzl node token"):
        service_store_url(missing)
    write_secret(tmp_path / "redis_password", " \n")
    with pytest.raises(Unauthenticated, match="holds no Redis password"):
        service_store_url(settings(tmp_path))
    write_secret(tmp_path / "redis_password", "hunter2", mode=0o644)
    with pytest.raises(ClusterError, match="Others may read the Redis password file") as caught:
        service_store_url(settings(tmp_path))
    assert "hunter2" not in str(caught.value)


def test_the_lines_are_whole_when_two_write_them_at_once(tmp_path: Path) -> None:
    threads = [threading.Thread(target=ensure_redis_password, args=(tmp_path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    password = (tmp_path / "redis_password").read_text()
    assert (tmp_path / "redis_auth.conf").read_text().startswith(f'requirepass "{password}"\n')
    assert len(list(tmp_path.iterdir())) == 2


def test_with_tls_the_store_is_told_whom_to_trust_and_what_to_show(tmp_path: Path) -> None:
    TlsDirectory(tmp_path / "tls").init(certificate_names("mainpc", (), ()), time.time())
    directory = quote(str(tmp_path / "tls"), safe="")

    url = service_store_url(settings(tmp_path, "rediss://h:6380/0?timeout_s=2")).get_secret_value()

    assert url == (
        f"rediss://h:6380/0?timeout_s=2&ssl_ca_certs={directory}%2Fca.pem"
        f"&ssl_certfile={directory}%2Fmainpc.pem&ssl_keyfile={directory}%2Fmainpc.key"
    )
    assert "ssl_" not in service_store_url(settings(tmp_path, "redis://h:6380")).get_secret_value()
    other = service_store_url(settings(tmp_path, "rediss://h:6380", ca_file="/x/ca.pem")).get_secret_value()
    assert "ssl_ca_certs=%2Fx%2Fca.pem" in other


def test_a_machine_without_certificates_trusts_the_systems_authorities(tmp_path: Path) -> None:
    assert service_store_url(settings(tmp_path, "rediss://h:6380")).get_secret_value() == "rediss://h:6380"
