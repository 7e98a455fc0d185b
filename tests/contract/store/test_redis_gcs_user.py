"""The user under which Ray's control store keeps its state, against a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from zejzl_ray.cluster.gcs_store import (
    GCS_USER_FILE,
    ensure_gcs_user,
    gcs_redis_address,
    remove_old_state,
    require_gcs_user,
)
from zejzl_ray.cluster.node_start import GCS_ANY_TEXT, GCS_USER
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.shared_store import ensure_redis_password
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.testing.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server whose configuration includes both files of ``zejzl node token``, as ``deploy/redis.conf`` does."""
    password, _ = ensure_redis_password(tmp_path)
    user = ensure_gcs_user(tmp_path)
    with RedisServer(settings=(f"include {user}",), password=password.read_text()) as server:
        yield server


def _settings(tmp_path: Path, server: RedisServer) -> Settings:
    return Settings(data_dir=tmp_path, store_url=f"redis://{server.address}")


def _ray(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port, username=GCS_USER, password=GCS_ANY_TEXT, decode_responses=True)


def test_ray_reaches_its_own_keys_and_nothing_else(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as services:
        services.set("{zejzl:error_bus}:meta", "kept")

    with _ray(server) as ray:
        ray.hset("RAYzejzl-1@KV", "one", "1")
        assert ray.hget("RAYzejzl-1@KV", "one") == "1"
        assert ray.delete("DUMMY") == 0
        for command in (
            ("GET", "{zejzl:error_bus}:meta"),
            ("HGET", "{zejzl:error_bus}:meta", "a"),
            ("SCAN", "0"),
            ("KEYS", "*"),
            ("CONFIG", "GET", "requirepass"),
            ("ACL", "LIST"),
            ("FLUSHALL",),
            ("PUBLISH", "a", "b"),
            ("EVAL", "return 1", "0"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                ray.execute_command(*command)


def test_whoever_gives_no_name_still_needs_the_password(server: RedisServer) -> None:
    with redis.Redis(port=server.port) as nobody, pytest.raises(redis.exceptions.AuthenticationError):
        nobody.ping()


def test_the_file_is_private_and_made_as_often_as_one_likes(tmp_path: Path) -> None:
    first = ensure_gcs_user(tmp_path).read_text()

    assert ensure_gcs_user(tmp_path).read_text() == first
    assert (tmp_path / GCS_USER_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [GCS_USER_FILE]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / GCS_USER_FILE).mkdir()

    with pytest.raises(ClusterError, match=f"Cannot write .*{GCS_USER_FILE}"):
        ensure_gcs_user(tmp_path)


def test_a_redis_that_knows_the_user_is_fit_for_a_head(tmp_path: Path, server: RedisServer) -> None:
    require_gcs_user(_settings(tmp_path, server))


def test_a_redis_that_does_not_know_the_user_is_told_with_the_remedy(tmp_path: Path) -> None:
    password, _ = ensure_redis_password(tmp_path)
    with RedisServer(password=password.read_text()) as older, pytest.raises(ClusterError) as caught:
        require_gcs_user(_settings(tmp_path, older))

    assert "does not let Ray in" in caught.value.message
    assert GCS_USER_FILE in caught.value.remedy
    assert password.read_text() not in str(caught.value)


def test_a_redis_that_is_away_is_told_with_the_remedy(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = Settings(data_dir=tmp_path, store_url=f"redis://127.0.0.1:{port}")

    with pytest.raises(ClusterError, match="does not answer"):
        require_gcs_user(settings)
    with pytest.raises(ClusterError, match="did not let go"):
        remove_old_state(settings, "zejzl-1", "zejzl-1-b")


def test_what_earlier_starts_left_goes_and_nothing_else(tmp_path: Path, server: RedisServer) -> None:
    left, kept = "RAYzejzl-1-a@KV", ("RAYzejzl-1-b@KV", "RAYzejzl-2-a@KV", "{zejzl:error_bus}:log")
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        for key in (left, "RAYzejzl-1-a@NODE", *kept):
            client.hset(key, "one", "1")

        assert remove_old_state(_settings(tmp_path, server), "zejzl-1", "zejzl-1-b") == 2
        assert remove_old_state(_settings(tmp_path, server), "zejzl-1", "zejzl-1-b") == 0
        assert set(client.scan_iter()) == set(kept)


@pytest.mark.parametrize(
    ("store_url", "address"),
    [
        ("rediss://10.0.0.1:6380", "rediss://10.0.0.1:6380"),
        ("rediss://10.0.0.1", "rediss://10.0.0.1:6379"),
        ("redis://10.0.0.1:6380", None),  # without TLS anybody would be let in as this user
        ("redis+sentinel://10.0.0.1:26380/zejzl?ssl=true", None),
        ("sqlite", None),
    ],
)
def test_only_a_single_redis_with_tls_keeps_the_state(
    tmp_path: Path, store_url: str, address: str | None
) -> None:
    assert gcs_redis_address(Settings(data_dir=tmp_path, store_url=store_url)) == address
