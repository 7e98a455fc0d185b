"""The self-test and a back-up on a real cluster, while it works."""

import json
from pathlib import Path

import pytest

from tests.cluster.system import System
from zejzl_ray.contracts.services import BY_SERVICE

# Five commands, each a process of its own, on a machine that may just have started the system.
pytestmark = pytest.mark.timeout(300)


def test_every_operation_answers_as_it_should_and_nothing_stays_behind(running_system: System) -> None:
    done = running_system.zejzl("selftest", "--json")
    rows = json.loads(done.stdout)
    assert not [row for row in rows if not row["is_well"]]
    assert done.returncode == 0, done.stderr
    tried = {(row["service"].partition(":")[0], row["operation"]) for row in rows}
    assert tried == {(service, name) for service in BY_SERVICE for name in BY_SERVICE[service]}
    assert {row["service"] for row in rows} >= {"node_agent:mainpc", "node_agent:pc2"}
    for command in (("users", "list"), ("status",)):
        assert "selftest-" not in running_system.zejzl(*command, "--json").stdout
    (secret,) = [
        each
        for each in json.loads(running_system.zejzl("secrets", "list", "--json").stdout)["secrets"]
        if each["name"].startswith("selftest-")
    ]
    assert secret["is_revoked"]
    assert running_system.zejzl("status").returncode == 0


def test_a_backup_is_taken_of_a_working_system_and_not_restored_into_it(
    running_system: System, tmp_path: Path
) -> None:
    path = tmp_path / "b.tar.gz"
    made = running_system.zejzl("backup", "create", "--output", str(path), "--json")
    assert made.returncode == 0, made.stderr
    names = {each["name"] for each in json.loads(made.stdout)["namespaces"]}
    assert names >= {"core_orchestrator", "security_gateway", "error_bus.audit"}
    assert running_system.zejzl("backup", "verify", str(path)).returncode == 0
    refused = running_system.zejzl("backup", "restore", str(path), "--force")
    assert refused.returncode == 1
    assert "Run `zejzl down` first." in refused.stderr
    assert running_system.zejzl("status").returncode == 0
