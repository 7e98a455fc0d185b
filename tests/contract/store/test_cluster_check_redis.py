"""What `zejzl cluster check` hears of real Redis servers: how they keep what they have, who follows whom."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.store.redis_over_tls import certified, has_tls, tls_settings
from zejzl_ray.cluster_check.checks.redis_state import kept_badly
from zejzl_ray.cluster_check.facts import RedisAnswer
from zejzl_ray.cluster_check.remote import services
from zejzl_ray.testing.redis_server import RedisServer


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory of a machine, with the password."""
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))
    for name in ("ZEJZL_REDIS_PASSWORD", "ZEJZL_REDIS_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "redis_password").write_text("word")
    return tmp_path


def _question(server: RedisServer, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "is_tls": False, "machine": "pc2", **more}


def test_a_primary_says_how_it_keeps_what_it_has() -> None:
    with RedisServer(
        password="word", appendfsync="everysec", settings=("maxmemory-policy allkeys-lru",)
    ) as server:
        found = services.ask_redis(_question(server))

    assert (found["state"], found["role"], found["is_appending"]) == ("well", "master", True)
    assert (found["fsync"], found["eviction"], found["replicas"]) == ("everysec", "allkeys-lru", 0)
    assert (found["knows_ray"], found["is_linked"]) == (None, None)


def test_rays_user_is_known_or_not() -> None:
    import redis

    line = "user ray on nopass resetkeys ~RAY* resetchannels -@all +ping"
    for settings, is_known in (((line,), True), ((), False)):
        with RedisServer(settings=settings) as server, redis.Redis(port=server.port) as client:
            assert services._knows_ray(client) is is_known


def test_a_replica_says_whether_it_hears_from_its_primary(data: Path) -> None:
    with RedisServer(password="word") as primary:
        follow = (f"replicaof 127.0.0.1 {primary.port}", "masterauth word", "repl-diskless-sync-delay 0")
        with RedisServer(password="word", settings=follow) as replica:
            assert services.ask_replica(_question(replica)) == {"state": "none"}
            (data / "redis_role.conf").write_text(f"replicaof 127.0.0.1 {primary.port}\n")
            deadline_s = time.monotonic() + 20
            while not services.ask_replica(_question(replica))["is_linked"] and time.monotonic() < deadline_s:
                time.sleep(0.1)

            found = services.ask_replica(_question(replica))

            assert (found["role"], found["is_linked"]) == ("slave", True)
            assert found["meant_to_follow"] == f"127.0.0.1:{primary.port}"
            assert services.ask_redis(_question(primary))["replicas"] == 1
            primary.kill()
            deadline_s = time.monotonic() + 20
            while services.ask_replica(_question(replica))["is_linked"] and time.monotonic() < deadline_s:
                time.sleep(0.1)
            assert services.ask_replica(_question(replica))["is_linked"] is False


def test_sentinels_name_the_primary_or_not() -> None:
    with RedisServer(password="word") as primary:
        monitor = (f"sentinel monitor zejzl 127.0.0.1 {primary.port} 1", "sentinel auth-pass zejzl word")
        with RedisServer(settings=monitor, is_sentinel=True) as sentinel:
            question = {
                "sentinels": [["127.0.0.1", 1], ["127.0.0.1", sentinel.port]],
                "is_tls": False, "machine": "pc2",
            }  # fmt: skip

            well = services.ask_redis({**question, "primary": "zejzl"})
            other = services.ask_redis({**question, "primary": "another"})

    assert (well["state"], [found["state"] for found in well["sentinels"]]) == ("well", ["silent", "well"])
    assert (other["state"], other["sentinels"][1]["state"]) == ("sentinel", "unknown")


def test_nothing_is_wrong_with_redis_as_it_is_shipped(data: Path) -> None:
    if not has_tls():
        pytest.skip("the Redis of this machine was built without TLS")
    from zejzl_ray.cluster.gcs_store import ensure_gcs_user
    from zejzl_ray.cluster.ports import free_ports

    certified(data)
    (port,) = free_ports(1)
    settings = (*tls_settings(data, port), f"include {ensure_gcs_user(data)}", "maxmemory-policy noeviction")
    with RedisServer(password="word", settings=settings) as server:
        question = _question(server, port=port, is_tls=True, machine="mainpc", host="127.0.0.1")
        found = services.ask_redis(question)

    assert (found["state"], found["knows_ray"]) == ("well", True), found
    assert list(kept_badly("Redis", RedisAnswer.model_validate(found))) == []
