"""Judging the machines themselves: who is missing and why, who is the head, what its records say."""

import json
from typing import Any

import pytest

from tests.unit.cluster_check.healthy import (
    ADDRESSES,
    after_takeover,
    healthy,
    link,
    missing,
    own_facts,
    with_link,
    with_machine,
    with_own,
    with_secret,
)
from tests.unit.cluster_check.verdicts import found, the_one
from zejzl_ray.cluster.node_start import NodePorts, NodeStart
from zejzl_ray.cluster.supervisor_record import SupervisorRecord
from zejzl_ray.cluster_check.facts import (
    NodeFacts,
    OwnFacts,
    Phase,
    RayAnswer,
    RayNode,
    RayProcess,
    RedisAnswer,
    ServicesAnswer,
    SshFault,
)
from zejzl_ray.cluster_check.judge import judge
from zejzl_ray.cluster_check.needed_ports import store_url


def _record(state: str, note: str = "", **node: Any) -> dict[str, Any]:
    plan = {"cluster_id": "zejzl-1", "head_address": "192.168.1.10:6379", "tls": {"fingerprint": "f"}, **node}
    return {"state": state, "note": note, "node": plan}


_TOKEN_LOG = (
    "x\nray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is missing\n"
)


_WAITING_LOG = "W rpc_client.h:153: Failed to connect to GCS at address 192.168.1.10:6379 within 5 seconds.\n"


_DEAD_LOG = (
    "node_manager.cc:971: [Timeout] Exiting because this node manager has mistakenly been marked as dead"
)


MISSING: dict[str, tuple[dict[str, Any], str]] = {
    "never started": ({"record": None}, "it was never started"),
    "stopped": ({"record": _record("stopped")}, "it was stopped, by `ray down`"),
    "killed": (
        {"record": _record("failed", "raylet ended with -9")},
        "its raylet was killed (signal 9), 5 min ago",
    ),
    "ended": (
        {"record": _record("failed", "raylet ended with 1")},
        "its raylet ended with status 1, 5 min ago",
    ),
    "refused before, mended since": (
        {"record": _record("failed", "did not start"), "logs": {"ray_start.log": _TOKEN_LOG}},
        "by now it has the head's",
    ),
    "version": (
        {
            "record": _record("failed", "x"),
            "logs": {"ray_start.log": "RuntimeError: Version mismatch: The cluster was"},
        },
        "another version of Ray or Python than the head (ray_start.log says: Version mismatch",
    ),
    "certificates": (
        {
            "record": _record("failed", "x"),
            "logs": {"ray_start.log": "CERTIFICATE_VERIFY_FAILED: self signed"},
        },
        "do not accept each other's certificates",
    ),
    "full": ({"record": _record("failed", "OSError: No space left on device")}, "its disk is full"),
    "port": (
        {"record": _record("failed", "x"), "logs": {"raylet.err": "bind: Address already in use"}},
        "port that it needs",
    ),
    "silent": (
        {"record": _record("failed", "raylet ended with 1"), "logs": {"raylet.out": _DEAD_LOG}},
        "silent for too long",
    ),
    "without TLS": (
        {
            "record": _record("starting", tls=None),
            "logs": {"ray_start.log": _WAITING_LOG},
            "is_supervised": True,
        },
        "it was started with TLS off, the head with TLS on",
    ),
    "no way to the head": (
        {
            "record": _record("failed", "Ray did not start on pc2 within 90 s."),
            "logs": {"ray_start.log": _WAITING_LOG},
        },
        "no way to the head's control store",
    ),
    "still starting": ({"record": _record("starting"), "is_supervised": True}, "still starting"),
    "cut off": (
        {"processes": (RayProcess(name="raylet", pid=5, state="S"),), "is_supervised": True},
        "the head does not count it in",
    ),
    "of another cluster": (
        {
            "record": _record("up", head_address="10.0.0.9:6379"),
            "processes": (RayProcess(name="raylet", pid=5, state="S"),),
        },
        "another cluster, whose head is 10.0.0.9",
    ),
    "failed for some reason": (
        {"record": _record("failed", "nobody knows")},
        "its start failed, 5 min ago: nobody knows",
    ),
    "gone": ({"record": _record("up")}, "gone without a word"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_machine_is_named_with_the_reason(name: str) -> None:
    node, what = MISSING[name]

    finding = the_one(missing(healthy(), "pc2", **node))

    assert (finding.machine, finding.check) == ("pc2", "member")
    assert finding.what.startswith("it is missing from the Ray cluster: ")
    assert what in finding.what
    assert finding.remedy


def test_a_refused_token_is_the_cause_while_the_files_differ() -> None:
    facts = missing(healthy(), "pc2", record=_record("failed", "x"), logs={"ray_start.log": _TOKEN_LOG})
    facts = with_secret(facts, "pc2", "ray_token", digest="other")

    said = [what for _, check, what in found(facts) if check == "member"]
    assert len(said) == 1
    assert (
        "the head refuses its Ray token: the token differs (ray_start.log says: AuthenticationError"
        in said[0]
    )
    assert [check for _, check, _ in found(facts)] == ["secret", "member"]


def test_a_machine_that_was_restarted_is_told() -> None:
    facts = with_own(missing(healthy(), "pc2", record=_record("up")), "pc2", boot_age_s=120.0)

    assert "restarted 2 min ago" in the_one(facts).what


def test_a_frozen_raylet_is_told_before_the_head_gives_it_up_and_after() -> None:
    frozen = (RayProcess(name="raylet", pid=5, state="T"),)
    node = own_facts("pc2").node.model_copy(update={"processes": frozen})

    for facts in (with_own(healthy(), "pc2", node=node), missing(healthy(), "pc2", processes=frozen)):
        assert "its raylet is frozen (process 5 is stopped)" in the_one(facts).what


def test_a_missing_machine_that_does_not_answer_is_told_so() -> None:
    fault = SshFault(cause="no-answer", what="nothing answers", remedy="look")
    facts = with_machine(missing(healthy(), "pc2"), "pc2", own=None, ssh_fault=fault)

    assert found(facts) == [
        ("pc2", "ssh", "nothing answers"),
        ("pc2", "member", "it is missing from the Ray cluster: it cannot be asked why: nothing answers"),
    ]
    unasked = with_machine(missing(healthy(), "pc2"), "pc2", own=None)
    assert "could not be asked" in the_one(unasked).what


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (None, "the head was never started"),
        (_record("stopped"), "the head was stopped"),
        (
            _record("failed", "gcs_server ended with -9"),
            "control store does not run here: its gcs_server was killed",
        ),
        (_record("failed", "No space left on device"), "control store does not run here: its disk is full"),
    ],
)
def test_a_head_that_does_not_run_is_one_finding(record: dict[str, Any] | None, what: str) -> None:
    node = own_facts("mainpc").node.model_copy(update={"record": record, "processes": ()})
    facts = with_own(healthy(), "mainpc", node=node).model_copy(update={"ray": None, "services": None})
    facts = with_link(facts, "pc2", 6379, state="refused")

    finding = the_one(facts)
    assert (finding.machine, finding.check) == ("mainpc", "member")
    assert what in finding.what


def test_a_head_that_cannot_be_asked_is_one_finding() -> None:
    fault = SshFault(cause="no-answer", what="nothing answers", remedy="look")
    facts = with_machine(healthy(), "mainpc", own=None, ssh_fault=fault)

    assert [check for _, check, _ in found(facts.model_copy(update={"ray": None, "services": None}))] == [
        "ssh"
    ]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (RayAnswer(error="Connection refused"), "does not say which machines are there: Connection refused"),
        (RayAnswer(error="HTTP 401", is_token_refused=True), "refuses the Ray token"),
        (None, "no answer"),
    ],
)
def test_a_dashboard_that_does_not_say_is_a_finding(answer: RayAnswer | None, what: str) -> None:
    assert what in the_one(healthy().model_copy(update={"ray": answer})).what


def test_a_service_that_is_not_ready_is_named_with_its_reason() -> None:
    checks = [
        {"name": "store", "status": "failed", "reason": "away."},
        {"name": "other", "status": "ok", "reason": ""},
    ]
    rows = [
        {"service": "error_bus", "is_ready": False, "machine": "pc2", "checks": checks},
        {"service": "observability_hub", "is_ready": False, "machine": ""},
    ]
    facts = healthy().model_copy(update={"services": ServicesAnswer(status={"services": rows})})

    assert found(facts) == [
        ("mainpc", "service", "observability_hub is not ready: it gives no reason"),
        ("pc2", "service", "error_bus is not ready: store: away"),
    ]


def test_services_that_do_not_answer_are_one_finding() -> None:
    facts = healthy().model_copy(update={"services": ServicesAnswer(error="error: no cluster\n is up.")})

    assert the_one(facts).what == "the services do not answer: error: no cluster is up"
    assert judge(healthy().model_copy(update={"services": None})).is_well


def test_two_ports_of_one_kind_are_one_finding() -> None:
    closed = link("mainpc", "pc2", 40_001, "Ray's own ports", state="timeout")
    facts = with_link(healthy(), "mainpc", 40_000, state="timeout")

    assert len(found(facts.model_copy(update={"links": (*facts.links, closed)}))) == 1


def test_a_head_by_takeover_is_no_fault_and_its_redis_is_the_store() -> None:
    facts = after_takeover()

    assert judge(facts).findings == ()
    assert facts.head.machine.name == "pc2"
    assert store_url(facts) == "rediss://192.168.1.11:6380"


def test_two_heads_are_a_fault_of_the_second() -> None:
    node = own_facts("mainpc").node
    facts = with_own(healthy(), "pc2", node=node)

    (finding,) = (found for found in judge(facts).findings if "head too" in found.what)
    assert finding.machine == "pc2"


def test_a_replica_is_no_fault_before_a_start_that_makes_it_the_primary() -> None:
    answer = RedisAnswer(state="well", role="slave", primary=ADDRESSES["pc2"])
    before = with_machine(healthy(Phase.BEFORE), "mainpc", redis=answer)
    stranger = with_machine(before, "mainpc", redis=answer.model_copy(update={"primary": "10.9.9.9"}))
    after = with_machine(healthy(), "mainpc", redis=answer)

    assert judge(before).findings == ()
    for facts in (stranger, after):
        assert any("is a replica" in finding.what for finding in judge(facts).findings)


def test_what_nobody_could_look_at_is_not_judged() -> None:
    nothing = OwnFacts(
        python="3.11.9", failed=dict.fromkeys(("programs", "gpus", "disks", "secrets", "tls"), "no")
    )
    facts = with_machine(healthy(), "pc2", own=nothing.model_copy(update={"node": own_facts("pc2").node}))
    facts = facts.model_copy(update={"fleet_gpus": {"pc2": ("RTX 3060",)}})

    assert judge(facts).findings == ()


def test_a_node_that_nobody_could_look_at_is_not_judged() -> None:
    facts = missing(healthy(), "pc2", record=None)
    assert "never started" in the_one(facts).what

    assert judge(with_own(facts, "pc2", failed={"node": "no"}, node=NodeFacts())).findings == ()


@pytest.mark.parametrize(
    "record",
    [{"node": None}, {"node": [1]}, {"state": "up"}, {"node": {"ports": [1]}}, {"node": {"tls": "x"}},
     {"node": {"ports": {"gcs": "x"}}}, {"node": {}, "state": 5}],
)  # fmt: skip
def test_a_record_of_another_shape_is_damaged(record: dict[str, Any]) -> None:
    node = NodeFacts.model_validate({**own_facts("pc2").node.model_dump(), "record": record})

    assert node.record is None
    finding = the_one(with_own(healthy(), "pc2", node=node))
    assert (finding.machine, finding.check) == ("pc2", "member")
    assert "node.json is damaged" in finding.what
    assert "never started" not in finding.what
    gone = the_one(missing(healthy(), "pc2", record=None, record_fault=node.record_fault))
    assert "node.json is damaged" in gone.what


def test_a_node_without_its_record_is_named_and_so_is_a_lost_one() -> None:
    node = own_facts("mainpc").node.model_copy(update={"record": None})
    assert "its node runs, but node.json is missing" in the_one(with_own(healthy(), "mainpc", node=node)).what

    lost = missing(healthy(), "pc2", record=None, is_wanted=True)
    assert "node.json is gone" in the_one(lost).what
    stopped = missing(healthy(), "pc2", record=None, is_wanted=False)
    assert "it was stopped" in the_one(stopped).what


@pytest.mark.parametrize(("is_supervised", "count"), [(False, 1), (None, 0), (True, 0)])
def test_a_node_whose_supervisor_was_killed_is_named(is_supervised: bool | None, count: int) -> None:
    node = own_facts("pc2").node.model_copy(update={"is_supervised": is_supervised})

    findings = judge(with_own(healthy(), "pc2", node=node)).findings

    assert len(findings) == count
    assert all("supervisor of its node does not run" in finding.what for finding in findings)


def test_a_frozen_control_store_is_the_one_cause() -> None:
    node = own_facts("mainpc").node
    processes = tuple(
        process.model_copy(update={"state": "T"}) if process.name == "gcs_server" else process
        for process in node.processes
    )
    facts = with_own(healthy(), "mainpc", node=node.model_copy(update={"processes": processes}))
    facts = facts.model_copy(update={"ray": None, "services": ServicesAnswer(error="no answer in time")})

    assert "control store is frozen" in the_one(facts).what


@pytest.mark.parametrize(
    ("node", "what"),
    [
        ({"labels": {"zejzl.io/machine": "pc3"}}, "pc3, a node at 10.0.0.9, is in the Ray cluster"),
        ({"labels": None}, "a node without a name, at 10.0.0.9"),
        ({"labels": {"zejzl.io/machine": "pc2"}}, "says that it is pc2, which is at 192.168.1.11"),
    ],
)
def test_a_node_that_the_file_does_not_know_is_named(node: dict[str, Any], what: str) -> None:
    record = own_facts("pc2").node.record or {}
    placed = {**record, "node": {**record["node"], "node_ip": "192.168.1.11"}}
    facts = with_own(healthy(), "pc2", node=own_facts("pc2").node.model_copy(update={"record": placed}))
    assert facts.ray is not None
    assert facts.ray.nodes is not None
    stranger = RayNode(node_id="9", node_ip="10.0.0.9", state="ALIVE", **node)
    dead = stranger.model_copy(update={"state": "DEAD"})
    known = facts.ray.nodes

    assert judge(facts.model_copy(update={"ray": RayAnswer(nodes=(*known, dead))})).is_well
    assert what in the_one(facts.model_copy(update={"ray": RayAnswer(nodes=(*known, stranger))})).what


def test_a_frozen_supervisor_is_named() -> None:
    node = own_facts("pc2").node.model_copy(update={"frozen_supervisor": 7})

    finding = the_one(with_own(healthy(), "pc2", node=node))

    assert "supervisor of its node is frozen (process 7" in finding.what
    assert "kill -CONT 7" in finding.remedy


def test_the_record_that_a_supervisor_writes_is_understood() -> None:
    tls = {"certificate": "/c", "key": "/k", "authority": "/a", "fingerprint": "f"}
    node = NodeStart.model_validate(
        {
            "cluster_id": "c", "machine": "pc2", "role": "worker", "head_address": "192.168.1.10:6379",
            "node_ip": "192.168.1.11", "temp_dir": "/tmp/r", "token_path": "/t", "cpus": 1, "tls": tls,
            "ports": NodePorts(worker_ports=(20100, 20999), metrics=None),
        }
    )  # fmt: skip
    record = json.loads(SupervisorRecord(node=node, pid=1, started_at_s=0.0, state="up").model_dump_json())

    found = NodeFacts.model_validate({"record": record})

    assert found.record == record
    assert found.record_fault is None
