"""``zejzl node`` up to the point where it would start something."""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from tests.unit.cluster.nodes import a_head, a_worker
from zejzl_ray.cli import node, node_purge
from zejzl_ray.cluster.node_intent import NodeIntent, give_up_intent
from zejzl_ray.cluster.node_lock import take_node_lock
from zejzl_ray.cluster.node_restarts import ROLE, Ending
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor import StopAsked
from zejzl_ray.cluster.supervisor_record import SupervisorRecord, read_supervisor_record
from zejzl_ray.errors import ClusterError, InvalidInput, MachineNotFound, Unauthenticated
from zejzl_ray.settings import Settings
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ZEJZL_GPU_CARDS", "none")
    return tmp_path / "data"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[NodeStart]:
    nodes: list[NodeStart] = []

    def start(wanted: SupervisedPlan, *_: Any, **__: Any) -> str:
        nodes.append(wanted.node)
        return "started"

    monkeypatch.setattr(node, "start_supervised", start)
    return nodes


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(node.app, arguments)


def _launched(tmp_path: Path, **changed: object) -> Path:
    """Write what `ray up` puts on the head: all of it on one line, with what Ray adds."""
    file = tmp_path / "bootstrap.yaml"
    whole = {
        "cluster_name": "zejzl",
        "provider": {
            "type": "local",
            "head_ip": "10.0.0.1",
            "worker_ips": ["10.0.0.2"],
            "_config_cache_path": "/x",
        },
        "auth": {"ssh_user": "me"},
        "docker": {},
        "head_start_ray_commands": ["zejzl node start --head --machine mainpc"],
        "worker_start_ray_commands": ["zejzl node start --address $RAY_HEAD_IP --worker pc2=10.0.0.2"],
        "max_workers": 1,
        "available_node_types": {"local.cluster.node": {"min_workers": 1, "max_workers": 1}},
        "head_node_type": "local.cluster.node",
        "no_restart": False,
    }
    file.write_text(json.dumps({**whole, **changed}))
    return file


@pytest.mark.parametrize("name", ["ray_token", "redis_password", "security_key", "token"])
def test_the_secrets_are_made_once_and_only_their_paths_are_printed(data_dir: Path, name: str) -> None:
    first = _run("token")
    secret = (data_dir / name).read_text()
    second = _run("token")

    assert first.exit_code == second.exit_code == 0
    assert (data_dir / name).read_text() == secret
    assert (data_dir / name).stat().st_mode & 0o777 == 0o600
    assert str(data_dir / name) in first.output
    assert secret not in first.output + second.output


@pytest.mark.parametrize("arguments", [(), ("--head", "--address", "h")])
def test_a_node_is_either_the_head_or_has_one(data_dir: Path, arguments: tuple[str, ...]) -> None:
    done = _run("start", *arguments)

    assert done.exit_code == 2
    assert "--head or --address" in done.output


def test_a_machine_without_the_token_is_told_so(data_dir: Path) -> None:
    done = _run("start", "--head", "--machine", "mainpc", "--node-ip", "127.0.0.1")

    assert isinstance(done.exception, Unauthenticated)
    assert "ray_token" in str(done.exception)


def test_a_head_whose_store_the_workers_cannot_reach_is_refused_before_anything_starts(
    data_dir: Path, tmp_path: Path, started: list[NodeStart]
) -> None:
    file = _launched(tmp_path)
    _run("token")
    command = (
        "start",
        "--head",
        "--machine",
        "mainpc",
        "--node-ip",
        "127.0.0.1",
        "--cluster-file",
        str(file),
    )

    refused = _run(*command)
    without_services = _run(*command, "--no-services")

    assert isinstance(refused.exception, ClusterError)
    assert "ZEJZL_STORE_URL" in str(refused.exception)
    assert without_services.exit_code == 0, without_services.exception
    assert len(started) == 1


def test_the_head_takes_its_address_from_the_file_that_ray_up_left(
    data_dir: Path, tmp_path: Path, started: list[NodeStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_STORE_URL", "redis://10.0.0.1:6380")
    file = _launched(tmp_path)
    _run("token")

    monkeypatch.setattr(node, "require_own_address", lambda address: None)
    monkeypatch.setenv("ZEJZL_RAY_TLS", "off")
    done = _run("start", "--head", "--machine", "mainpc", "--cluster-file", str(file), "--cpus", "2")

    assert done.exit_code == 0, done.exception
    (head,) = started
    assert (head.role, head.head_address, head.cpus) == (NodeRole.HEAD, "10.0.0.1:6379", 2)
    assert head.autoscaling_config == file


def test_a_worker_finds_its_own_address_and_the_default_port(
    data_dir: Path, started: list[NodeStart]
) -> None:
    _run("token")

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2")

    assert done.exit_code == 0, done.exception
    assert started[0].model_dump(include={"role", "head_address", "node_ip"}) == {
        "role": NodeRole.WORKER,
        "head_address": "127.0.0.1:6379",
        "node_ip": "127.0.0.1",
    }


def test_a_head_address_that_cannot_be_one_is_refused(data_dir: Path, started: list[NodeStart]) -> None:
    _run("token")

    done = _run("start", "--address", "a b:1", "--node-ip", "127.0.0.1", "--machine", "pc2")

    assert isinstance(done.exception, InvalidInput)
    assert started == []


def test_a_stop_where_nothing_runs_says_so(data_dir: Path) -> None:
    done = _run("stop")

    assert (done.exit_code, done.output) == (0, "node: was not running\n")


def test_a_stop_removes_what_the_proxy_left_outside_the_data_directory(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "proxy"
    left.mkdir()
    (left / "admin.sock").touch()
    monkeypatch.setattr("actors.launched_system.haproxy_directory", lambda data_dir: left)

    assert _run("stop").exit_code == 0
    assert not left.exists()
    assert _run("stop").exit_code == 0


def test_a_supervisor_whose_role_has_changed_runs_what_was_written_down_meanwhile(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, bool]] = []

    class Changing:
        def __init__(
            self,
            plan: SupervisedPlan,
            *_: Any,
            is_patient: bool,
            next_plan: Callable[[], SupervisedPlan | None],
            mark: object,
            doubt: Callable[[], str],
            doubt_limit_s: float,
        ) -> None:
            assert next_plan() is None
            assert doubt() == ""
            assert is_patient or doubt_limit_s == 0
            seen.append((plan.node.machine, os.environ.get("ZEJZL_HOME_WAIT_S", ""), is_patient))

        def run(self) -> Ending:
            if len(seen) == 3:
                raise StopAsked
            overrides = {"ZEJZL_HOME_WAIT_S": "0"} if len(seen) == 1 else {}
            NodeIntent(plan=wanted.model_copy(update={"overrides": overrides}), is_wanted=True).write(
                data_dir
            )
            return Ending(is_asked=False, process=ROLE, status=0)

    monkeypatch.setattr(node, "Supervisor", Changing)
    monkeypatch.setattr(node, "RayNode", lambda plan, data_dir: None)
    monkeypatch.setattr(os, "environ", dict(os.environ) | {"ZEJZL_HOME_WAIT_S": "30"})
    monkeypatch.setattr("actors.launched_system.ingress_environment", lambda settings: {})
    wanted = _wanted(tmp_path)
    data_dir.mkdir()
    NodeIntent(plan=wanted, is_wanted=True).write(data_dir)

    assert _run("run", "--once").exit_code == 0
    assert seen == [("mainpc", "30", False), ("mainpc", "0", True), ("mainpc", "30", True)]


def _wanted(tmp_path: Path) -> SupervisedPlan:
    return SupervisedPlan(
        node=a_head(token_path=tmp_path / "ray_token"),
        settings={"ZEJZL_HTTP_PORT": "7010"},
    )


@pytest.mark.parametrize("option", [[], ["--once"]])
def test_the_supervisor_makes_the_environment_and_knows_what_to_remove(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    plans: list[SupervisedPlan] = []

    class Watching:
        def __init__(self, plan: SupervisedPlan, *_: Any, is_patient: bool, **__: Any) -> None:
            assert is_patient is (option == [])
            plans.append(plan)

        def run(self) -> Ending:
            return Ending(is_asked=True, process="", status=0)

    monkeypatch.setattr(node, "Supervisor", Watching)
    monkeypatch.setattr(node, "RayNode", lambda plan, data_dir: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("actors.launched_system.ingress_environment", lambda settings: {"A": "1"})
    monkeypatch.setattr("actors.launched_system.haproxy_directory", lambda data_dir: tmp_path / "proxy")
    wanted = _wanted(tmp_path)
    data_dir.mkdir()
    NodeIntent(plan=wanted, is_wanted=True).write(data_dir)

    done = _run("run", *option)

    assert done.exit_code == 0, done.exception
    (plan,) = plans
    assert plan.node == wanted.node
    assert (plan.environment, plan.leftovers) == ({"A": "1"}, (tmp_path / "proxy",))
    assert os.environ["ZEJZL_HTTP_PORT"] == "7010"


def test_where_nothing_was_started_the_supervisor_has_nothing_to_run(data_dir: Path) -> None:
    done = _run("run", "--once")

    assert isinstance(done.exception, ClusterError)
    assert "zejzl node start" in str(done.exception)


def test_a_second_supervisor_of_a_data_directory_starts_nothing(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.cluster.node_lock._PATIENCE_S", 0.1)
    monkeypatch.setattr(node, "_supervise", lambda *_, **__: pytest.fail("it must not come to this"))
    data_dir.mkdir()
    NodeIntent(plan=_wanted(tmp_path), is_wanted=True).write(data_dir)

    with take_node_lock(data_dir) or pytest.fail("nobody had it"):
        done = _run("run", "--once")

    assert isinstance(done.exception, ClusterError)
    assert "Another supervisor" in str(done.exception)
    assert not (data_dir / "node.json").exists()


def test_a_supervisor_says_that_it_is_there_before_it_does_anything_and_goes_when_it_was_stopped_meanwhile(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def supervise(*_: Any, **__: Any) -> Ending:
        record = read_supervisor_record(data_dir)
        assert record is not None
        seen.append((record.state, record.pid))
        give_up_intent(data_dir)
        return Ending(is_asked=False, process=ROLE, status=0)

    monkeypatch.setattr(node, "_supervise", supervise)
    data_dir.mkdir()
    NodeIntent(plan=_wanted(tmp_path), is_wanted=True).write(data_dir)

    assert _run("run").exit_code == 0
    assert seen == [("starting", os.getpid())]
    assert _run("run", "--once").exit_code == 0  # not wanted any more, so nothing is run
    assert len(seen) == 1


def test_a_redis_that_still_loads_is_no_reason_not_to_start_the_head(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    class Running:
        def __init__(self, plan: SupervisedPlan, *_: Any, **__: Any) -> None:
            ran.append(plan.node.machine)

        def run(self) -> Ending:
            return Ending(is_asked=True, process="", status=0)

    def loading(*_: object) -> int:
        raise ClusterError("Redis did not let go of old state (BusyLoadingError).")

    monkeypatch.setattr(node, "remove_old_state", loading)
    monkeypatch.setattr(node, "Supervisor", Running)
    monkeypatch.setattr(node, "RayNode", lambda plan, data_dir: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("actors.launched_system.ingress_environment", lambda settings: {})
    wanted = _wanted(tmp_path)
    head = wanted.node.model_copy(update={"redis_namespace": "zejzl-1-abc"})
    data_dir.mkdir()
    NodeIntent(plan=wanted.model_copy(update={"node": head}), is_wanted=True).write(data_dir)

    done = _run("run")

    assert done.exit_code == 0, done.exception
    assert ran == ["mainpc"]


def test_services_are_started_at_the_head_only(data_dir: Path) -> None:
    done = _run("services")

    assert isinstance(done.exception, ClusterError)
    assert "not the head" in str(done.exception)


def test_a_worker_without_a_certificate_does_not_start_and_says_why(
    data_dir: Path, started: list[NodeStart]
) -> None:
    _run("token")

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2", "--node-ip", "10.0.0.2")

    assert isinstance(done.exception, ClusterError)
    assert "There is no certificate of pc2" in str(done.exception)
    assert "zejzl tls issue pc2 --address 10.0.0.2" in str(done.exception)
    assert started == []


def test_a_worker_with_its_certificate_speaks_tls(data_dir: Path, started: list[NodeStart]) -> None:
    _run("token")
    TlsDirectory(data_dir / "tls").init(certificate_names("pc2", (), ("10.0.0.2",)), time.time())

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2", "--node-ip", "10.0.0.2")

    assert done.exit_code == 0, done.exception
    assert "WARNING" not in done.stderr
    assert started[0].tls is not None
    assert started[0].tls.certificate == data_dir / "tls" / "pc2.pem"


def test_without_tls_between_machines_the_start_says_so_loudly(
    data_dir: Path, started: list[NodeStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_RAY_TLS", "off")
    _run("token")

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2", "--node-ip", "10.0.0.2")

    assert done.exit_code == 0, done.exception
    assert "WARNING: ZEJZL_RAY_TLS=off" in done.stderr
    assert started[0].tls is None


def test_a_certificate_that_ends_soon_is_told_at_the_start(data_dir: Path, started: list[NodeStart]) -> None:
    _run("token")
    made_at_s = time.time() - 355 * 86_400
    TlsDirectory(data_dir / "tls").init(certificate_names("pc2", (), ("10.0.0.2",)), made_at_s)

    done = _run("start", "--address", "127.0.0.1", "--machine", "pc2", "--node-ip", "10.0.0.2")

    assert done.exit_code == 0, done.exception
    assert "expires in 10 days: `zejzl tls renew`" in done.stderr


def test_a_head_whose_ingress_would_be_open_does_not_start(
    data_dir: Path, started: list[NodeStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_BIND_HOST", "0.0.0.0")
    _run("token")

    done = _run("start", "--head", "--machine", "mainpc", "--node-ip", "127.0.0.1")

    assert isinstance(done.exception, ClusterError)
    assert "ZEJZL_BIND_HOST=0.0.0.0" in str(done.exception)
    assert started == []


def test_a_worker_finds_its_name_by_its_address(
    data_dir: Path, started: list[NodeStart], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_RAY_TLS", "off")
    _run("token")
    others = ("--worker", "pc3=192.0.2.7")

    done = _run("start", "--address", "127.0.0.1", *others, "--worker", "pc2=localhost")
    missing = _run("start", "--address", "127.0.0.1", *others)
    wrong = _run("start", "--address", "127.0.0.1", "--worker", "pc2")

    assert done.exit_code == 0, done.output
    assert [node.machine for node in started] == ["pc2"]
    assert isinstance(missing.exception, ClusterError)
    assert "none of the workers: pc3=192.0.2.7" in str(missing.exception)
    assert isinstance(wrong.exception, InvalidInput)


def test_the_ports_for_a_firewall_are_listed_as_a_table_and_for_programs(data_dir: Path) -> None:
    shown, data = _run("ports"), _run("ports", "--json")

    assert shown.exit_code == data.exit_code == 0
    assert "20100-20999" in shown.output
    ports = {row["setting"]: row for row in json.loads(data.output)["ports"]}
    assert ports["ZEJZL_RAY_WORKER_PORTS"]["last"] == 20999
    assert ports["ZEJZL_RAY_PORT"]["at"] == "the head"


def test_what_ray_would_be_told_is_shown_and_nothing_is_started(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, started: list[NodeStart]
) -> None:
    monkeypatch.setenv("ZEJZL_SIMULATED_GPUS", "pc2=RTX 3060:12288")

    shown = _run("resources", "--machine", "pc2", "--cpus", "2")
    data = json.loads(_run("resources", "--machine", "pc2", "--cpus", "2", "--json").output)

    assert shown.exit_code == 0, shown.exception
    assert "GPU-sim-pc2-0" in shown.output
    assert data["labels"]["zejzl.io/gpu-model"] == "RTX-3060"
    assert data["resources"] == {"vram_mib": 12288, "vram_mib:GPU-sim-pc2-0": 12288}
    assert (data["cpus"], data["object_store_mib"], data["vram_source"]) == (2, 256, "simulated")
    assert started == []


def test_a_machine_goes_by_the_name_of_its_certificate_or_its_place_in_the_fleet_file(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = _run("resources", "--json")
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(f"schema: zejzl.fleet/1\nmachines: {{big: {{address: {socket.gethostname()}}}}}\n")
    monkeypatch.setenv("ZEJZL_FLEET_FILE", str(fleet))
    declared = json.loads(_run("resources", "--json").output)
    TlsDirectory(data_dir / "tls").init(certificate_names("mainpc", (), ("10.0.0.1",)), time.time())
    by_certificate = json.loads(_run("resources", "--json").output)

    assert isinstance(nobody.exception, MachineNotFound)
    assert "--machine" in nobody.exception.remedy
    assert (declared["machine"], by_certificate["machine"]) == ("big", "mainpc")


def test_a_purge_asks_and_removes_nothing_without_a_yes(data_dir: Path) -> None:
    (data_dir / "store").mkdir(parents=True)

    refused = CliRunner().invoke(node.app, ["purge"], input="n\n")
    unasked = CliRunner().invoke(node.app, ["purge"], input="")
    for_programs = _run("purge", "--json")

    assert {type(done.exception) for done in (refused, unasked, for_programs)} == {InvalidInput}
    assert (data_dir / "store").exists()
    assert _run("purge", "--check").output == "nothing of the cluster runs here\n"
    assert (data_dir / "store").exists()


def test_a_purge_tells_what_it_has_removed(data_dir: Path) -> None:
    (data_dir / "store").mkdir(parents=True)

    asked = CliRunner().invoke(node.app, ["purge"], input="y\n")
    again = json.loads(_run("purge", "--yes", "--json").output)

    assert asked.exit_code == 0
    assert str(data_dir / "store") in asked.output
    assert again == {"paths": [], "redis_keys": None}
    assert "there was nothing" in _run("purge", "--yes").output


def _of_a_head(*, is_wanted: bool) -> NodeIntent:
    plan = SupervisedPlan(node=a_head(), settings={"ZEJZL_STORE_URL": "rediss://10.0.0.1:6380"})
    return NodeIntent(plan=plan, is_wanted=is_wanted)


def test_a_purge_of_the_head_finds_the_store_that_it_was_started_with(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def purge_redis(settings: Settings) -> int:
        asked.append(settings.store_url)
        return 3

    monkeypatch.setattr(node_purge, "purge_redis", purge_redis)
    intent = _of_a_head(is_wanted=False)
    data_dir.mkdir()
    intent.write(data_dir)

    done = _run("purge", "--yes")
    intent.write(data_dir)
    monkeypatch.setenv("ZEJZL_STORE_URL", "rediss://10.0.0.9:6380")
    _run("purge", "--yes")

    assert "Redis: 3 keys" in done.output
    assert asked == ["rediss://10.0.0.1:6380", "rediss://10.0.0.9:6380"]


def test_a_stop_of_a_head_whose_supervisor_is_gone_leaves_the_mark_itself(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls: list[str] = []

    class Mark:
        def set(self) -> bool:
            urls.append("set")
            return True

    def mark_of(settings: Settings, head: NodeStart) -> Mark:
        urls.append(settings.store_url)
        return Mark()

    monkeypatch.setattr("zejzl_ray.cluster.stop_mark.stop_mark", mark_of)
    data_dir.mkdir()
    _of_a_head(is_wanted=True).write(data_dir)

    assert _run("stop").exit_code == 0
    assert urls == ["rediss://10.0.0.1:6380", "set"]


WRONG: dict[str, dict[str, object]] = {
    "192.168.1.300 is no IP address": {
        "provider": {"type": "local", "head_ip": "192.168.1.300", "worker_ips": ["10.0.0.2"]}
    },
    "two machines are called mainpc": {
        "worker_start_ray_commands": ["zejzl node start --address $RAY_HEAD_IP --worker mainpc=10.0.0.2"]
    },
    "there is no private key": {"auth": {"ssh_user": "me", "ssh_private_key": "/nowhere/id"}},
    "min_workers is 5, but worker_ips has 1": {"available_node_types": {"local": {"min_workers": 5}}},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_cluster_file_is_refused_by_ray_up_itself_before_ray_starts(
    data_dir: Path, tmp_path: Path, started: list[NodeStart], message: str
) -> None:
    _run("token")

    done = _run("start", "--head", "--cluster-file", str(_launched(tmp_path, **WRONG[message])))

    assert isinstance(done.exception, InvalidInput)
    assert message in done.exception.message
    assert "zejzl cluster check" in done.exception.remedy
    assert started == []


@pytest.mark.parametrize("text", [None, "[1", "[]", "\x00"])
def test_a_file_that_ray_up_has_not_written_is_refused(
    data_dir: Path, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "bootstrap.yaml"
    if text is not None:
        file.write_text(text)

    done = _run("start", "--head", "--cluster-file", str(file))

    assert isinstance(done.exception, InvalidInput)
    assert "puts it on the head" in done.exception.remedy


def test_the_address_of_another_machine_is_refused(data_dir: Path, started: list[NodeStart]) -> None:
    _run("token")

    done = _run("start", "--head", "--machine", "mainpc", "--node-ip", "192.0.2.1")

    assert isinstance(done.exception, ClusterError)
    assert "192.0.2.1 is none of this machine's" in done.exception.message
    assert started == []


def test_the_state_of_the_node_is_an_exit_code(data_dir: Path) -> None:
    data_dir.mkdir()
    none = _run("state")
    record = SupervisorRecord(
        node=a_worker(),
        pid=os.getpid(),
        started_at_s=psutil.Process().create_time(),
        state="waiting",
        note="no head",
    )
    record.write(data_dir)
    waiting, data = _run("state"), json.loads(_run("state", "--json").output)
    record.model_copy(update={"state": "up"}).write(data_dir)
    up = _run("state")
    record.model_copy(update={"state": "up", "started_at_s": 1.0}).write(data_dir)
    orphan = _run("state")

    assert (none.exit_code, none.output) == (1, "node: none was started\n")
    assert (waiting.exit_code, waiting.output) == (1, "node pc2: waiting (no head)\n")
    assert data == {"machine": "pc2", "is_up": False, "state": "waiting", "note": "no head"}
    assert (up.exit_code, up.output) == (0, "node pc2: up\n")
    assert (orphan.exit_code, orphan.output.startswith("node pc2: its supervisor is gone")) == (1, True)
