"""The supervisor of a node: with a program in place of Ray that behaves as told."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from zejzl_ray.cluster.launched_node import start_supervised, stop_supervised
from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.node_intent import NodeIntent, read_intent
from zejzl_ray.cluster.node_lock import take_node_lock
from zejzl_ray.cluster.node_processes import find_node_processes
from zejzl_ray.cluster.node_start import NodePorts, NodeRole, NodeStart
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor_record import (
    FILE_NAME,
    SupervisorRecord,
    read_supervisor_record,
    remove_supervisor_record,
)
from zejzl_ray.cluster.worker_stop import stop_worker
from zejzl_ray.errors import ClusterError, PortInUse

# Stands in for `ray start`: leaves two processes behind, named as Ray's are, and ends.
_RAY = """#!{python} -S
import os, sys
directory = {directory!r}
for name in ("gcs_server", "raylet"):
    program = os.path.join(directory, name)
    os.posix_spawn(program, [program, "60"], os.environ)  # returns when the program runs under its own name
"""

_SUPERVISOR = """
import sys
from pathlib import Path
from zejzl_ray.cluster.node_intent import read_intent
from zejzl_ray.cluster.node_lock import inherit_node_lock
from zejzl_ray.cluster.ray_node import RayNode
from zejzl_ray.cluster.supervisor import Supervisor
data_dir = Path(sys.argv[1])
with inherit_node_lock(data_dir):
    plan = read_intent(data_dir).plan
    ending = Supervisor(plan, data_dir, RayNode(plan, data_dir)).run()
    print(ending, flush=True)
"""


class Bench:
    """A data directory, a stand-in for Ray, and the supervisor over it."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.log = self.data_dir / "node.log"
        self.programs = folder / "programs"
        self.programs.mkdir()
        for name in ("gcs_server", "raylet"):
            (self.programs / name).symlink_to("/bin/sleep")
        self.ray = self.programs / "ray"
        self.write_ray(_RAY.format(python=sys.executable, directory=str(self.programs)))
        self.cluster_id = f"test-{uuid.uuid4().hex}"
        self.gcs, dashboard, client = free_ports(3)
        self.ports = NodePorts(dashboard=dashboard, ray_client=client)

    def write_ray(self, program: str) -> None:
        self.ray.write_text(program)
        self.ray.chmod(0o755)

    def plan(self, **changes: Any) -> SupervisedPlan:
        node = NodeStart(
            cluster_id=self.cluster_id,
            machine="mainpc",
            role=NodeRole.HEAD,
            head_address=f"127.0.0.1:{self.gcs}",
            node_ip="127.0.0.1",
            temp_dir=Path("/tmp/zejzl-test/r"),
            ports=self.ports,
            token_path=self.data_dir / "ray_token",
            cpus=1,
            ray_executable=str(self.ray),
        )
        return SupervisedPlan.model_validate({"node": node, **changes})

    def start(self, plan: SupervisedPlan | None = None) -> str:
        plan = plan or self.plan()
        command = (sys.executable, "-c", _SUPERVISOR, str(self.data_dir))
        return start_supervised(plan, self.data_dir, command)

    def record(self) -> SupervisorRecord:
        record = read_supervisor_record(self.data_dir)
        assert record is not None
        return record

    def process(self, name: str) -> psutil.Process:
        (found,) = [p for p in find_node_processes(self.cluster_id) if p.name() == name]
        return found

    def wait_for_state(self, state: str) -> SupervisorRecord:
        return self.wait_for(lambda record: record.state == state)

    def wait_for(self, is_so: Callable[[SupervisorRecord], bool]) -> SupervisorRecord:
        deadline_s = time.monotonic() + 20
        while not is_so(record := self.record()) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert is_so(record), (record, self.log.read_text())
        return record

    @property
    def is_wanted(self) -> bool:
        intent = read_intent(self.data_dir)
        return intent is not None and intent.is_wanted


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    monkeypatch.setattr("zejzl_ray.cluster.launched_node.cluster_id", lambda data_dir: bench.cluster_id)
    yield bench
    stop_supervised(bench.data_dir)
    assert find_node_processes(bench.cluster_id) == []


def test_directories_outside_the_nodes_own_are_removed_when_it_has_ended(
    bench: Bench, tmp_path: Path
) -> None:
    left = tmp_path / "proxy"
    left.mkdir()
    (left / "admin.sock").touch()
    bench.start(bench.plan(leftovers=[left, tmp_path / "never_made"]))
    assert left.exists()

    bench.process("raylet").terminate()
    bench.wait_for_state("stopped")

    assert not left.exists()


def test_a_started_node_is_up_and_written_down(bench: Bench) -> None:
    assert bench.start() == "started"

    record = bench.record()
    assert record.state == "up"
    assert record.is_alive
    assert {p.name() for p in find_node_processes(bench.cluster_id)} == {"raylet", "gcs_server"}
    assert (bench.data_dir / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_second_start_of_the_same_plan_changes_nothing(bench: Bench) -> None:
    bench.start()
    before = bench.process("raylet")

    assert bench.start() == "already up"
    assert bench.process("raylet") == before


def test_a_start_of_another_plan_replaces_the_node(bench: Bench) -> None:
    bench.start()
    before = bench.process("raylet")
    plan = bench.plan()

    changed = plan.model_copy(update={"node": plan.node.model_copy(update={"vram_mib": 1000})})

    assert bench.start(changed) == "started"
    assert bench.process("raylet") != before


def test_a_stop_ends_everything_and_may_be_repeated(bench: Bench) -> None:
    bench.start()

    stopped = stop_supervised(bench.data_dir)

    assert stopped is not None
    assert stopped.node.machine == "mainpc"
    assert find_node_processes(bench.cluster_id) == []
    assert stop_supervised(bench.data_dir) is None


def test_a_raylet_that_ends_in_order_first_means_that_somebody_asked(bench: Bench, tmp_path: Path) -> None:
    told = tmp_path / "told"
    ssh = bench.programs / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    ssh.chmod(0o755)
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{bench.programs}:{path}"
    try:
        bench.start(bench.plan(launcher=LauncherConfig(head_ip="h", worker_ips=("w",), ssh_user="me")))
    finally:
        os.environ["PATH"] = path

    bench.process("raylet").terminate()

    bench.wait_for_state("stopped")
    assert find_node_processes(bench.cluster_id) == []
    assert "me@w" in told.read_text()
    assert told.read_text().strip().endswith("node stop")
    assert not bench.is_wanted


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_node_that_loses_a_process_is_started_again_and_the_record_says_why(
    bench: Bench, name: str
) -> None:
    bench.start()
    before = {process.pid for process in find_node_processes(bench.cluster_id)}

    bench.process(name).kill()

    record = bench.wait_for(lambda record: record.state == "up" and record.restarts == 1)
    assert record.note == f"{name} ended with -9"
    after = find_node_processes(bench.cluster_id)
    assert sorted(process.name() for process in after) == ["gcs_server", "raylet"]
    assert before.isdisjoint(process.pid for process in after)
    assert bench.is_wanted


def test_an_agent_that_outlives_its_raylet_is_ended_before_the_next_node_starts(bench: Bench) -> None:
    # as Ray's own: nothing in it says whose it is, and it has become a child of the supervisor
    agent = bench.programs / "ray::Agent"
    agent.symlink_to("/bin/sleep")
    bench.write_ray(
        _RAY.format(python=sys.executable, directory=str(bench.programs))
        + f"if os.fork() == 0:\n    os.execve({str(agent)!r}, ['ray::Agent', '60'], {{}})\n"
    )
    bench.start()
    supervisor = psutil.Process(bench.record().pid)
    (before,) = [child for child in supervisor.children() if child.name() == "ray::Agent"]

    bench.process("raylet").kill()
    bench.wait_for(lambda record: record.restarts == 1 and record.state == "up")

    (after,) = [child for child in supervisor.children() if child.name() == "ray::Agent"]
    assert after.pid != before.pid
    after.kill()


def test_a_port_that_is_taken_is_told_and_nothing_was_started(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", bench.gcs)):
        with pytest.raises(PortInUse, match=rf"port {bench.gcs} .ZEJZL_RAY_PORT. of mainpc"):
            bench.start()

    assert not bench.is_wanted
    assert not bench.log.exists()


def test_a_plan_whose_ports_are_taken_does_not_end_the_node_that_runs(bench: Bench) -> None:
    bench.start()
    node = bench.plan().node
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = bench.ports.model_copy(update={"node_manager": taken.getsockname()[1]})
        with pytest.raises(PortInUse, match="ZEJZL_RAY_NODE_MANAGER_PORT"):
            bench.start(SupervisedPlan(node=node.model_copy(update={"ports": ports})))

    assert bench.start() == "already up"


def test_a_control_store_whose_state_is_kept_is_started_again_beside_the_living_raylet(bench: Bench) -> None:
    plan = bench.plan()
    kept = {"redis_address": "rediss://127.0.0.1:1", "redis_namespace": "one"}
    bench.start(plan.model_copy(update={"node": plan.node.model_copy(update=kept)}))
    raylet, control_store = bench.process("raylet"), bench.process("gcs_server")
    command_line = control_store.cmdline()

    control_store.kill()

    bench.wait_for(lambda record: record.restarts == 1)
    assert bench.process("raylet") == raylet
    assert bench.process("gcs_server") != control_store
    assert bench.process("gcs_server").cmdline() == command_line


def test_a_signal_to_the_supervisor_ends_the_node_until_the_next_boot(bench: Bench) -> None:
    bench.start()

    psutil.Process(bench.record().pid).terminate()

    bench.wait_for_state("stopped")
    assert find_node_processes(bench.cluster_id) == []
    assert bench.is_wanted


def test_the_state_of_the_control_store_is_taken_up_after_a_crash_and_not_after_a_stop(bench: Bench) -> None:
    plan = bench.plan()
    plan = plan.model_copy(
        update={"node": plan.node.model_copy(update={"redis_address": "rediss://127.0.0.1:1"})}
    )
    bench.start(plan)
    first = bench.record()
    psutil.Process(first.pid).kill()  # as a power cut: nobody could write anything down
    bench.start(plan)
    after_crash = bench.record().node.redis_namespace
    stop_supervised(bench.data_dir)
    bench.start(plan)

    assert after_crash == first.node.redis_namespace
    assert bench.record().node.redis_namespace not in (None, after_crash)


def test_the_services_are_started_once_the_node_is_up(bench: Bench, tmp_path: Path) -> None:
    seen = tmp_path / "seen"

    bench.start(bench.plan(services=("sh", "-c", f"echo started > {seen}; sleep 60")))

    deadline_s = time.monotonic() + 10
    while not seen.exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert seen.exists()
    stop_supervised(bench.data_dir)
    assert find_node_processes(bench.cluster_id) == []


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("#!/bin/sh\necho 'no such head'\nexit 1\n", "did not start on mainpc: no such head"),
        ("#!/bin/sh\nexit 0\n", "raylet ended on mainpc right after"),
        ("#!/bin/sh\nexit 2\n", "no output"),
    ],
)
def test_a_node_that_does_not_start_is_an_error_with_the_reason(
    bench: Bench, program: str, message: str
) -> None:
    bench.write_ray(program)

    with pytest.raises(ClusterError, match=message):
        bench.start()


def test_a_missing_ray_program_is_named(bench: Bench) -> None:
    bench.ray.unlink()

    with pytest.raises(ClusterError, match=r"Cannot run .*ray: No such file"):
        bench.start()


def test_a_supervisor_that_dies_at_once_is_an_error_with_its_last_words(bench: Bench) -> None:
    with pytest.raises(ClusterError, match="last words"):
        start_supervised(bench.plan(), bench.data_dir, ("sh", "-c", "echo last words"))


def _start_twice(bench: Bench) -> list[str]:
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(bench.start())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return answers


def test_two_starts_at_once_make_one_node(bench: Bench) -> None:
    bench.start()

    assert _start_twice(bench) == ["already up", "already up"]


def test_two_starts_at_once_where_nothing_runs_make_one_node_too(bench: Bench) -> None:
    assert sorted(_start_twice(bench)) == ["already up", "started"]
    assert sorted(p.name() for p in find_node_processes(bench.cluster_id)) == ["gcs_server", "raylet"]


def test_a_second_supervisor_says_so_and_touches_nothing(bench: Bench) -> None:
    bench.start()
    before = [process.pid for process in find_node_processes(bench.cluster_id)]
    record = bench.record()

    second = subprocess.run(
        (sys.executable, "-c", _SUPERVISOR, str(bench.data_dir)), capture_output=True, timeout=30, check=False
    )

    assert second.returncode != 0
    assert b"Another supervisor sees to the node" in second.stderr
    assert [process.pid for process in find_node_processes(bench.cluster_id)] == before
    assert bench.record() == record
    assert bench.is_wanted


def test_a_start_waits_for_a_supervisor_that_has_not_said_yet_that_it_is_there(bench: Bench) -> None:
    bench.start()
    raylet, record = bench.process("raylet"), bench.record()
    remove_supervisor_record(bench.data_dir)  # as between its lock and its first record
    later = threading.Timer(1.0, record.write, (bench.data_dir,))
    later.start()

    assert bench.start() == "already up"
    later.join()
    assert bench.process("raylet") == raylet


def test_a_supervisor_of_a_release_without_the_lock_is_replaced_too(bench: Bench) -> None:
    bench.data_dir.mkdir()
    with subprocess.Popen(("sleep", "60")) as former:
        created_s = psutil.Process(former.pid).create_time()
        node = bench.plan().node.model_copy(update={"cpus": 2})
        record = SupervisorRecord(node=node, pid=former.pid, started_at_s=created_s, state="up")
        record.write(bench.data_dir)

        assert bench.start() == "started"
        assert not record.is_alive


def test_a_start_right_after_a_stop_begins_once_that_is_over(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    ssh = bench.programs / "ssh"
    ssh.write_text(f"#!/bin/sh\nsleep 2\necho told > {told}\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bench.programs}:{os.environ['PATH']}")
    plan = bench.plan(launcher=LauncherConfig(head_ip="h", worker_ips=("w",)))
    bench.start(plan)
    first = bench.record().pid

    bench.process("raylet").terminate()
    bench.wait_for_state("stopping")

    assert bench.start(plan) == "started"
    assert told.exists()
    assert bench.record().pid != first
    assert bench.process("raylet").is_running()
    assert bench.is_wanted
    stop_supervised(bench.data_dir)


def test_a_start_that_was_run_before_is_waited_for_and_left_to_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.cluster.launched_node._START_LIMIT_S", 0.5)
    bench.data_dir.mkdir()
    NodeIntent(plan=bench.plan(), is_wanted=True).write(bench.data_dir)
    with subprocess.Popen(("sleep", "60")) as patient:
        created_s = psutil.Process(patient.pid).create_time()
        SupervisorRecord(
            node=bench.plan().node, pid=patient.pid, started_at_s=created_s, state="waiting", note="no head"
        ).write(bench.data_dir)

        with pytest.raises(ClusterError, match=r"is waiting \(no head\) and goes on trying"):
            bench.start()

        assert patient.poll() is None
        assert bench.is_wanted
        patient.kill()


def test_a_start_that_others_keep_waiting_ends_with_a_word(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.cluster.launched_node._START_LIMIT_S", 0.5)
    monkeypatch.setattr("zejzl_ray.cluster.launched_node._STOP_LIMIT_S", 0.5)
    bench.data_dir.mkdir()
    with take_node_lock(bench.data_dir) or pytest.fail("nobody had it"):
        with pytest.raises(ClusterError, match="does not come to an end"):
            bench.start()
        with pytest.raises(ClusterError, match="does not come to an end"):
            stop_supervised(bench.data_dir)

    assert not bench.log.exists()


def test_a_worker_that_is_out_of_reach_is_asked_again() -> None:
    attempts: list[object] = []
    pauses_s: list[float] = []

    def run(argv: object, **options: object) -> None:
        attempts.append(argv)
        if len(attempts) < 7:
            raise subprocess.CalledProcessError(255, "ssh")

    stop_worker(("ssh", "w", "stop"), run, pauses_s.append)

    assert attempts == [("ssh", "w", "stop")] * 7
    assert pauses_s == [1, 2, 4, 8, 10, 10]


def test_what_no_repetition_mends_is_tried_once() -> None:
    attempts: list[object] = []

    def run(argv: object, **options: object) -> None:
        attempts.append(argv)
        raise ValueError("embedded null byte")

    with pytest.raises(ValueError, match="null byte"):
        stop_worker(("ssh",), run, lambda _: None)

    assert len(attempts) == 1


def test_a_record_of_a_process_id_given_away_again_is_not_alive(bench: Bench) -> None:
    now = psutil.Process()
    own = SupervisorRecord(node=bench.plan().node, pid=now.pid, started_at_s=now.create_time())

    assert own.is_alive
    assert not own.model_copy(update={"started_at_s": 1.0}).is_alive
    assert not own.model_copy(update={"pid": 2**22 - 1}).is_alive


def test_what_a_newer_release_has_added_to_a_record_is_ignored_and_it_is_still_found(bench: Bench) -> None:
    bench.start()
    record = bench.record()
    added: dict[str, Any] = json.loads(record.model_dump_json())
    added["new"] = added["node"]["new"] = added["node"]["ports"]["new"] = 1
    added["state"] = "a state that only the newer one knows"
    (bench.data_dir / FILE_NAME).write_text(json.dumps(added))

    found = bench.record()
    assert (found.node, found.pid, found.is_alive) == (record.node, record.pid, True)
    stop_supervised(bench.data_dir)
    assert not record.is_alive


def test_a_record_that_is_not_understood_is_an_error_and_not_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{}")

    with pytest.raises(ClusterError, match=rf"Cannot understand .*{FILE_NAME} \(node: Field required\)"):
        read_supervisor_record(tmp_path)
    remove_supervisor_record(tmp_path)
    remove_supervisor_record(tmp_path)


def test_a_directory_that_cannot_be_used_is_named(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    record = SupervisorRecord(node=bench.plan().node, pid=1, started_at_s=1.0)

    with pytest.raises(ClusterError, match="Cannot write"):
        record.write(file)
    with pytest.raises(ClusterError, match="Cannot read"):
        read_supervisor_record(file)
