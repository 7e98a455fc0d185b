"""A head writes down that it is it, and never over the record of another machine."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.cluster.redis_world import MAINPC, PC2, ModelPeer, Redis, World, records
from zejzl_ray.cluster import following
from zejzl_ray.cluster.head_record import HeadRecord
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.settings import Settings

FIRST, SECOND = records((MAINPC, PC2), 2)
SETTINGS = Settings(store_url=f"rediss://{MAINPC}")
PLAN = SupervisedPlan(
    node=NodeStart(
        cluster_id="c1",
        machine="mainpc",
        role=NodeRole.HEAD,
        head_address="10.0.0.1:7777",
        node_ip=MAINPC.host,
        temp_dir=Path("/tmp/c1"),
        token_path=Path("/home/me/ray_token"),
        cpus=1,
    )
)


class FakeWatch:
    """Has seen the one record, and sees what is in Redis from now on."""

    def __init__(self, world: World, record: HeadRecord | None) -> None:
        self._world = world
        self.record = record

    def look(self) -> HeadRecord | None:
        self.record = self._world.redis[MAINPC].record
        return self.record


def _claim(
    monkeypatch: pytest.MonkeyPatch, seen: HeadRecord | None, there: HeadRecord | None
) -> HeadRecord | None:
    world = World({MAINPC: Redis(None, there)})
    monkeypatch.setattr(following, "RedisPeer", lambda settings, address: ModelPeer(world, address))
    monkeypatch.setattr(following, "_POLL_S", 0.0)
    watch: Any = FakeWatch(world, seen)
    following._claim(SETTINGS, PLAN, watch)
    return world.redis[MAINPC].record


def test_a_head_that_moved_says_so_under_its_term(monkeypatch: pytest.MonkeyPatch) -> None:
    record = _claim(monkeypatch, FIRST, FIRST)

    assert record is not None
    assert (record.term, record.revision, record.head_address) == (1, 1, "10.0.0.1:7777")


@pytest.mark.parametrize("seen", [None, FIRST])
def test_the_record_of_another_machine_that_comes_meanwhile_stays(
    monkeypatch: pytest.MonkeyPatch, seen: HeadRecord | None
) -> None:
    assert _claim(monkeypatch, seen, SECOND) == SECOND


def test_its_own_that_has_changed_meanwhile_is_what_it_builds_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    record = _claim(monkeypatch, FIRST, FIRST.model_copy(update={"revision": 6}))

    assert record is not None
    assert record.revision == 7


def test_it_gives_up_where_redis_has_never_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(FakeWatch, "look", lambda watch: watch.record)

    assert _claim(monkeypatch, FIRST, None) is None
