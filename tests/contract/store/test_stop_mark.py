"""The mark that a cluster was stopped, in a real Redis; and where there is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.unit.cluster.nodes import a_head, a_worker
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.stop_mark import KEY, NoMark, RedisMark, StopRecord, stop_mark
from zejzl_ray.settings import Settings
from zejzl_ray.testing.redis_server import RedisServer
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names


def _node(role: NodeRole, head_address: str = "127.0.0.1:6379") -> NodeStart:
    node = a_head if role is NodeRole.HEAD else a_worker
    return node(head_address=head_address, node_ip="127.0.0.1")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_what_the_head_sets_its_workers_see_until_the_next_start(tmp_path: Path, server: RedisServer) -> None:
    # with an option of the project's own, which is none of the client's
    settings = Settings(data_dir=tmp_path, store_url=f"redis://{server.address}?replicas=0")
    head, worker = stop_mark(settings, _node(NodeRole.HEAD)), stop_mark(settings, _node(NodeRole.WORKER))

    assert not worker.is_set()
    assert head.set()
    assert worker.is_set()
    assert head.clear()
    assert not worker.is_set()
    assert head.clear()


def test_the_mark_says_who_and_when(server: RedisServer) -> None:
    RedisMark(server.url, "mainpc", wall_s=lambda: 1_800_000_000.5).set()

    with redis.Redis.from_url(server.url) as client:
        text = client.get(KEY)
        assert isinstance(text, bytes)
        assert StopRecord.model_validate_json(text) == StopRecord(machine="mainpc", at_s=1_800_000_000.5)
        client.set(KEY, "{}")
    assert not RedisMark(server.url, "pc2").is_set()  # of another version


def test_a_redis_that_does_not_answer_says_nothing(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, store_url=f"redis://127.0.0.1:{free_ports(1)[0]}")
    mark = stop_mark(settings, _node(NodeRole.HEAD))

    assert (mark.is_set(), mark.set(), mark.clear()) == (False, False, False)


def test_machines_that_share_no_redis_have_no_mark(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for role in (NodeRole.HEAD, NodeRole.WORKER):
        mark = stop_mark(settings, _node(role))

        assert isinstance(mark, NoMark)
        assert (mark.is_set(), mark.set(), mark.clear()) == (False, False, False)


def test_a_place_that_cannot_be_used_is_none(tmp_path: Path) -> None:
    password = tmp_path / "redis_password"
    password.write_text("secret")
    password.chmod(0o644)
    settings = Settings(data_dir=tmp_path, store_url="redis://127.0.0.1:6380")

    assert isinstance(stop_mark(settings, _node(NodeRole.HEAD)), NoMark)


def test_a_worker_that_was_told_of_no_store_looks_beside_its_head(tmp_path: Path) -> None:
    TlsDirectory(tmp_path / "tls").init(certificate_names("pc2", (), ("127.0.0.1",)), 1_800_000_000.0)
    settings = Settings(data_dir=tmp_path)

    mark = stop_mark(settings, _node(NodeRole.WORKER, "10.0.0.1:6379"))

    assert isinstance(mark, RedisMark)
    kwargs = mark._client.connection_pool.connection_kwargs
    assert (kwargs["host"], kwargs["port"]) == ("10.0.0.1", 6380)
    assert kwargs["ssl_certfile"].endswith("pc2.pem")
