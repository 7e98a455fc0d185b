"""What a machine runs under which record: plans, as data."""

from pathlib import Path

import pytest

from tests.unit.cluster.nodes import a_head, a_worker
from zejzl_ray.cluster.head_record import HeadRecord, newest
from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.node_intent import NodeIntent, change_role, read_intent
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.redis_address import RedisAddress, parse_redis_address, with_address
from zejzl_ray.cluster.roles import (
    acknowledging_alone,
    declared_replicas,
    first_record,
    next_plan,
    stores_of,
    succession,
    worker_plan,
)
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.errors import InvalidInput

MAINPC, PC2 = RedisAddress(host="10.0.0.1"), RedisAddress(host="10.0.0.2")
URL = "rediss://10.0.0.1:6380?replicas=1"


HEAD = SupervisedPlan(
    node=a_head(
        redis_address="rediss://10.0.0.1:6380",
        redis_namespace="c1-old",
        autoscaling_config=Path("/home/me/ray_bootstrap_config.yaml"),
    ),
    launcher=LauncherConfig(
        head_ip="10.0.0.1", worker_ips=("10.0.0.2",), ssh_user="me", ssh_private_key="~/key.pem"
    ),
    services=("zejzl", "node", "services"),
    settings={"ZEJZL_STORE_URL": URL},
)
WORKER = SupervisedPlan(node=a_worker())
FIRST = first_record(HEAD, URL, None)
SECOND = succession(FIRST, "pc2", "10.0.0.2", PC2)


def test_the_first_head_says_where_everybody_finds_what() -> None:
    assert (FIRST.term, FIRST.machine, FIRST.head_address) == (1, "mainpc", "10.0.0.1:6379")
    assert (FIRST.store, FIRST.stores, FIRST.home) == (MAINPC, (MAINPC, PC2), None)


def test_a_head_that_starts_again_keeps_its_term_also_when_it_has_changed() -> None:
    changed = first_record(HEAD, URL.replace("?replicas=1", ""), FIRST)

    assert first_record(HEAD, URL, FIRST) == FIRST
    assert changed.rank == FIRST.rank
    assert (FIRST.revision, changed.revision) == (0, 1)
    assert newest((FIRST, changed)) == newest((changed, FIRST)) == changed
    assert first_record(HEAD, URL.replace("?replicas=1", ""), changed) == changed
    assert changed.store_url == "rediss://10.0.0.1:6380"


def test_the_next_head_has_its_own_redis_and_reaches_the_former_one() -> None:
    assert SECOND.term == 2
    assert (SECOND.head_address, SECOND.store) == ("10.0.0.2:6379", PC2)
    assert SECOND.store_url == "rediss://10.0.0.2:6380?replicas=1&when_away=acknowledge"
    assert SECOND.launcher == LauncherConfig(head_ip="10.0.0.2", worker_ips=("10.0.0.1",), ssh_user="me")
    assert SECOND.home is not None
    assert SECOND.home.machine == "mainpc"


def test_a_handback_is_a_term_more_and_everything_else_as_it_was() -> None:
    third = succession(SECOND, "mainpc", "10.0.0.1", MAINPC)

    assert third.model_copy(update={"term": 1}) == FIRST


@pytest.mark.parametrize(
    ("said", "alone", "replicas"),
    [
        ("rediss://a:1", "rediss://a:1", 0),
        ("rediss://a:1?replicas=1&when_away=refuse", "rediss://a:1?replicas=1&when_away=acknowledge", 1),
        (
            "rediss://a:1?timeout_s=2&replicas=2",
            "rediss://a:1?timeout_s=2&replicas=2&when_away=acknowledge",
            2,
        ),
        ("rediss://a:1?replicas=x", "rediss://a:1?replicas=x", 0),
        (
            "rediss://h:6380?replicas=1&when_away=witness&sentinels=a,b,c",
            "rediss://h:6380?replicas=1&when_away=witness&sentinels=a,b,c",
            1,
        ),
    ],
)
def test_who_stands_in_acknowledges_with_one_copy_whatever_was_said_of_two_machines(
    said: str, alone: str, replicas: int
) -> None:
    assert acknowledging_alone(said) == alone
    assert declared_replicas(said) == replicas


def test_the_higher_term_counts() -> None:
    assert newest((FIRST, None, SECOND)) == SECOND
    assert newest((None,)) is None


def test_no_start_with_other_settings_outbids_a_takeover() -> None:
    record = FIRST
    for user in ("a", "b", "c"):
        assert HEAD.launcher is not None
        changed = HEAD.model_copy(update={"launcher": HEAD.launcher.model_copy(update={"ssh_user": user})})
        record = first_record(changed, URL, record)

    assert record.revision == 3
    assert newest((record, SECOND)) == SECOND


def test_a_head_at_home_whose_own_plan_is_lost_is_not_its_own_stand_in() -> None:
    third = succession(SECOND, "mainpc", "10.0.0.1", MAINPC)
    plan = next_plan(third, NodeIntent(plan=worker_plan(SECOND, HEAD), is_wanted=True), None)

    assert plan is not None
    assert plan.overrides == {}
    assert plan.settings["ZEJZL_STORE_URL"] == URL
    assert plan.launcher == HEAD.launcher
    assert plan.node.redis_address == "rediss://10.0.0.1:6380"


def test_nobody_changes_who_is_what_the_record_says() -> None:
    assert next_plan(FIRST, NodeIntent(plan=HEAD, is_wanted=True), None) is None
    assert next_plan(FIRST, NodeIntent(plan=WORKER, is_wanted=True), None) is None


def test_the_machine_that_the_record_names_becomes_the_head_without_waiting_for_the_other() -> None:
    plan = next_plan(SECOND, NodeIntent(plan=WORKER, is_wanted=True), None)

    assert plan is not None
    assert (plan.node.role, plan.node.head_address) == (NodeRole.HEAD, "10.0.0.2:6379")
    assert plan.node.redis_address == "rediss://10.0.0.2:6380"
    assert plan.launcher == SECOND.launcher
    assert plan.services is not None
    assert plan.overrides["ZEJZL_STORE_URL"] == SECOND.store_url
    assert plan.overrides["ZEJZL_HOME_WAIT_S"] == "0"


@pytest.mark.parametrize(
    ("said", "override"), [("10.0.0.1", "10.0.0.2"), ("10.0.0.2", None), ("127.0.0.1", None), (None, None)]
)
def test_the_ingress_does_not_listen_on_the_address_of_the_old_head(
    said: str | None, override: str | None
) -> None:
    plan = WORKER.model_copy(update={"settings": {} if said is None else {"ZEJZL_BIND_HOST": said}})
    taken = next_plan(SECOND, NodeIntent(plan=plan, is_wanted=True), None)

    assert taken is not None
    assert taken.overrides.get("ZEJZL_BIND_HOST") == override


def test_the_old_head_becomes_a_worker_and_later_what_it_was(tmp_path: Path) -> None:
    NodeIntent(plan=HEAD, is_wanted=True).write(tmp_path)
    plan = next_plan(SECOND, NodeIntent(plan=HEAD, is_wanted=True), None)
    assert plan is not None
    assert (plan.node.role, plan.node.head_address) == (NodeRole.WORKER, "10.0.0.2:6379")
    assert (plan.node.redis_address, plan.services, plan.launcher) == (None, None, None)

    change_role(tmp_path, plan)
    intent = read_intent(tmp_path)
    assert intent is not None
    again = next_plan(succession(SECOND, "mainpc", "10.0.0.1", MAINPC), intent, None)
    assert again is not None
    assert again.node.fingerprint == HEAD.node.fingerprint
    change_role(tmp_path, again)
    intent = read_intent(tmp_path)
    assert intent is not None
    assert intent.head_plan is None
    assert intent.plan.node.redis_namespace not in (None, "c1-old")


def test_a_head_by_takeover_leaves_no_plan_behind(tmp_path: Path) -> None:
    plan = next_plan(SECOND, NodeIntent(plan=WORKER, is_wanted=True), None)
    assert plan is not None
    change_role(tmp_path, plan)
    change_role(tmp_path, WORKER)

    assert read_intent(tmp_path) == NodeIntent(plan=WORKER, is_wanted=True)


def test_a_third_machine_goes_with_the_head() -> None:
    third = SupervisedPlan(node=a_worker(machine="pc3", node_ip="10.0.0.3"))
    plan = next_plan(SECOND, NodeIntent(plan=third, is_wanted=True), None)

    assert plan is not None
    assert plan.node.head_address == "10.0.0.2:6379"


@pytest.mark.parametrize("name", ["localhost", "no-such-host.invalid"])
def test_nobody_moves_for_another_name_of_the_same_head(name: str) -> None:
    record = FIRST.model_copy(update={"head_address": "127.0.0.1:6379"})
    plan = WORKER.model_copy(update={"node": WORKER.node.model_copy(update={"head_address": f"{name}:6379"})})

    assert next_plan(record, NodeIntent(plan=plan, is_wanted=True), None) is None


def test_redis_is_looked_for_here_first() -> None:
    assert stores_of(HEAD, URL) == (MAINPC, PC2)
    assert stores_of(WORKER, "sqlite:///data") == (PC2, MAINPC)
    assert stores_of(HEAD, "redis://10.0.0.1:6380") == ()
    assert stores_of(HEAD, "rediss://") == ()


def test_an_address_is_read_from_whatever_names_it() -> None:
    assert parse_redis_address("10.0.0.1") == MAINPC
    assert parse_redis_address("rediss://10.0.0.1") == RedisAddress(
        host="10.0.0.1", port=6379
    )  # as its clients do
    assert parse_redis_address("rediss://:secret@10.0.0.1:7/0") == RedisAddress(host="10.0.0.1", port=7)
    assert str(RedisAddress(host="fd00::1")) == "[fd00::1]:6380"
    assert with_address("rediss://user:secret@a:1/0?replicas=1", PC2) == "rediss://10.0.0.2:6380/0?replicas=1"
    for wrong in ("", "a:b", "[", "a b"):
        with pytest.raises(InvalidInput):
            parse_redis_address(wrong)


def test_a_record_survives_its_text() -> None:
    assert HeadRecord.model_validate_json(SECOND.model_dump_json()) == SECOND
