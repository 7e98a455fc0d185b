"""A witness: three real Sentinels over TLS promote the replica, and the watch of its machine makes that the head."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.contract.store.redis_over_tls import has_tls, tls_settings
from tests.contract.store.redis_pair import Pair, pair
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import RedisPeer
from zejzl_ray.cluster.role_watch import RoleWatch
from zejzl_ray.cluster.roles import succession
from zejzl_ray.testing.redis_server import RedisServer

pytestmark = pytest.mark.skipif(
    not has_tls(), reason="this redis-server has no TLS: install one that has (apt-get install redis-server)"
)
__all__ = ["pair"]

_CONF = Path(__file__).parents[3] / "deploy" / "sentinel.conf"


def _lines(pair: Pair, port: int) -> tuple[str, ...]:
    """Return the project's own configuration of a Sentinel, for the pair and quick."""
    password = (pair.settings.data_path / "redis_password").read_text()
    lines = [line for line in _CONF.read_text().splitlines() if line.startswith("sentinel ")]
    text = "\n".join(lines).replace("192.168.1.10 6380", f"{pair.first.host} {pair.first.port}")
    text = (
        text.replace("PASSWORD", password)
        .replace("zejzl 5000", "zejzl 500")
        .replace("zejzl 20000", "zejzl 3000")
    )
    return (*tls_settings(pair.settings.data_path, port), *text.splitlines())


@pytest.fixture
def sentinels(pair: Pair) -> Iterator[list[RedisServer]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(RedisServer(is_sentinel=True, settings=_lines(pair, port)))
            for port in free_ports(3)
        ]


def _known(sentinel: RedisServer) -> tuple[int, int, int]:
    """Return the port of the primary, how many replicas and how many other Sentinels one of them knows."""
    with redis.Redis(port=sentinel.port, decode_responses=True) as client:
        state: Any = client.sentinel_master("zejzl")
    return int(state["port"]), int(state["num-slaves"]), int(state["num-other-sentinels"])


def test_a_lost_head_is_replaced_without_a_hand_and_its_redis_follows(
    pair: Pair, sentinels: list[RedisServer], tmp_path: Path
) -> None:
    def connect(address: RedisAddress) -> RedisPeer:
        return RedisPeer(pair.settings, address)

    stores = (pair.second, pair.first)
    watch = RoleWatch(
        "pc2", stores, tmp_path, connect, lambda before: succession(before, "pc2", "127.0.0.3", pair.second)
    )
    watch.look()
    _until(lambda: all(_known(sentinel)[1:] == (1, 2) for sentinel in sentinels))

    pair.servers[pair.first].kill()
    record = _until(lambda: (found := watch.look()) and found.machine == "pc2" and found)
    assert (record.term, record.store, record.home.machine) == (2, pair.second, "mainpc")

    pair.servers[pair.first].start()
    of_mainpc = RoleWatch("mainpc", stores[::-1], tmp_path, connect)
    _until(lambda: of_mainpc.look() == record and pair.standing(pair.first).primary == pair.second)
    of_mainpc.close()
    pair.wait_linked(pair.first)
    assert pair.standing(pair.first).record == record
    watch.close()


def _until(is_so: Any) -> Any:
    deadline_s = time.monotonic() + 40
    while not (found := is_so()):
        assert time.monotonic() < deadline_s, "not within 40 s"
        time.sleep(0.1)
    return found
