"""A witness: three real Sentinels over TLS promote the replica, and the watch of its machine makes that the head."""

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.contract.store.redis_over_tls import has_tls, tls_settings
from tests.contract.store.redis_pair import Pair, pair
from zejzl_ray.cluster.ports import is_port_free
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import RedisPeer
from zejzl_ray.cluster.role_watch import RoleWatch
from zejzl_ray.cluster.roles import succession
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.store.redis_witness import connect_witness
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
def ports() -> list[int]:
    # below those that connections take, of which the first Sentinel opens many before the second one listens
    some = random.SystemRandom().sample(range(21_000, 32_000), 50)
    return [port for port in some if is_port_free("127.0.0.1", port)][:3]


@pytest.fixture
def sentinels(pair: Pair, ports: list[int]) -> Iterator[list[RedisServer]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(RedisServer(is_sentinel=True, settings=_lines(pair, port))) for port in ports
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


def test_a_replica_that_was_off_meanwhile_is_not_promoted(
    pair: Pair, sentinels: list[RedisServer], tmp_path: Path
) -> None:
    watch = RoleWatch(
        "pc2", (pair.second, pair.first), tmp_path, lambda address: RedisPeer(pair.settings, address)
    )
    watch.look()
    watch.close()
    assert pair.standing(pair.second).is_promotable
    _until(lambda: all(_known(sentinel)[1:] == (1, 2) for sentinel in sentinels))
    pair.servers[pair.second].kill()
    pair.servers[pair.first].kill()  # after an evening alone

    pair.servers[pair.second].start()
    _until(lambda: any("-failover-abort-no-good-slave" in _log(sentinel) for sentinel in sentinels))
    assert pair.standing(pair.second).primary == pair.first

    pair.servers[pair.first].start()
    pair.wait_linked(pair.second)


async def test_a_store_asks_them_over_tls_with_the_certificate_of_its_machine(
    pair: Pair, sentinels: list[RedisServer], ports: list[int]
) -> None:
    _until(lambda: all(_known(sentinel)[1:] == (1, 2) for sentinel in sentinels))
    url = service_store_url(pair.settings).get_secret_value()
    witness = connect_witness(url, [("127.0.0.1", port) for port in ports])
    assert await witness.objection() == ""
    for sentinel in sentinels[1:]:
        sentinel.kill()
    assert "1 of 3 Sentinels name this primary" in await witness.objection()
    await witness.close()


def _log(sentinel: RedisServer) -> str:
    return sentinel.log_tail()


def _until(is_so: Any) -> Any:
    deadline_s = time.monotonic() + 40
    while not (found := is_so()):
        assert time.monotonic() < deadline_s, "not within 40 s"
        time.sleep(0.1)
    return found
