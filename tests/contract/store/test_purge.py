"""A purge of the cluster's keys in a real Redis; what is not the cluster's stays."""

from pathlib import Path

import pytest
import redis

from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.purge import purge_redis
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.testing.redis_server import RedisServer


def test_only_keys_of_the_cluster_go(tmp_path: Path) -> None:
    with RedisServer() as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        for number in range(1200):
            client.set(f"{{zejzl:error_bus}}:{number}", "x")
        for key in ("zejzl:stopped", "RAYzejzl-1@KV", "somebody", "RAYothers@KV"):
            client.set(key, "x")
        settings = Settings(data_dir=tmp_path, store_url=f"redis://{server.address}?replicas=0")

        assert purge_redis(settings) == 1202
        assert sorted(client.keys()) == ["RAYothers@KV", "somebody"]
        assert purge_redis(settings) == 0


def test_a_redis_that_does_not_answer_stops_a_purge_before_files_go(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, store_url=f"redis://127.0.0.1:{free_ports(1)[0]}")

    with pytest.raises(ClusterError, match="did not let go"):
        purge_redis(settings)
