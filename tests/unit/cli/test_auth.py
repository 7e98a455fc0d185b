"""``zejzl auth`` against the real gateway: who, why, keys, events, the policy, the master key."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from tests.unit.security.gateway_bench import MASTER_LINE
from zejzl_ray.cli import master_key
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.contracts.policy import Policy
from zejzl_ray.contracts.secrets import SetSecret
from zejzl_ray.contracts.security_gateway import OPERATIONS
from zejzl_ray.contracts.trust import Observation, ReportObservations
from zejzl_ray.errors import ClusterError, Conflict, InvalidInput, SettingsInvalid
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.policy_file import find_policy_file

Run = Callable[..., Result]
BY_NAME = {operation.name: operation for operation in OPERATIONS}
PASSWORD = "four words without sense"


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


# --- who may do what -----------------------------------------------------------------------------------------


def test_whoami_says_the_name_and_the_grants(gateway: Any, run: Run) -> None:
    assert run("auth", "whoami").stdout == "user:root\n  *:*:*\n"
    assert as_json(run("auth", "whoami", "--json"))["subject"] == "user:root"


def test_explain_says_yes_or_no_and_why(gateway: Any, run: Run) -> None:
    run("users", "add", "ada", typed=PASSWORD)
    yes = run("auth", "explain", "user:ada", "core_orchestrator.list_agents")
    assert (yes.exit_code, yes.stdout.startswith("yes  user:ada")) == (0, True)
    no = run("auth", "explain", "user:ada", "core_orchestrator.register_agent", "--target", "Scout")
    assert (no.exit_code, no.stdout.startswith("no  user:ada")) == (1, True)
    assert "  - " in no.stdout
    data = json.loads(run("auth", "explain", "user:ada", "core_orchestrator.register_agent", "--json").stdout)
    assert data["is_allowed"] is False
    assert isinstance(run("auth", "explain", "ada", "x").exception, InvalidInput)


def test_every_operation_is_listed_with_its_scope(run: Run) -> None:
    table = run("auth", "operations").stdout
    assert "security_gateway.set_policy" in table
    assert "security_gateway:policy:admin" in table
    assert "(public)" in table
    listed = {one["operation"]: one for one in as_json(run("auth", "operations", "--json"))}
    assert listed["security_gateway.get_user"]["own"] == "security_gateway:self:read"


# --- keys and events -----------------------------------------------------------------------------------------


def test_signing_keys_are_listed_and_rotated(gateway: Any, run: Run) -> None:
    before = as_json(run("auth", "keys", "--json"))["keys"]
    assert "signing" in run("auth", "keys").stdout
    assert gateway.requests("rotate_keys") == []
    run("auth", "keys", "--rotate", "--reason", "yearly")
    run("auth", "keys", "--immediate", "--json")
    planned, at_once = gateway.requests("rotate_keys")
    assert (planned.is_immediate, planned.reason, at_once.is_immediate) == (False, "yearly", True)
    after = as_json(run("auth", "keys", "--json"))["keys"]
    assert {key["kid"] for key in after}.isdisjoint({key["kid"] for key in before})


def test_security_events_are_listed(gateway: Any, run: Run) -> None:
    now_s = gateway.bench.clock.now_s()
    seen = Observation(kind="ip_blocked", address="192.0.2.9", count=50, at_s=now_s)
    gateway.do(BY_NAME["report_observations"], ReportObservations(observations=(seen,)))
    events = as_json(run("auth", "events", "--json"))["events"]
    assert [event["address"] for event in events] == ["192.0.2.9"]
    assert "192.0.2.9" in run("auth", "events", "-n", "5").stdout
    assert "192.0.2.9" not in run("auth", "events", "--level", "critical").stdout


# --- the policy ----------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = find_policy_file().read_text()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config" / "policy.yaml"
    path.parent.mkdir()
    path.write_text(text)
    return path


@pytest.fixture
def wrong(file: Path) -> Path:
    path = file.with_name("wrong.yaml")
    path.write_text(file.read_text().replace("schema:", "rolez: {}\nschema:"))
    return path


def test_the_policy_in_force_is_shown(gateway: Any, run: Run) -> None:
    result = run("auth", "policy", "show")
    assert "operator" in result.stdout
    assert "revision 0: as shipped" in result.stderr
    data = as_json(run("auth", "policy", "show", "--json"))
    assert Policy.model_validate(data["policy"]).schema_name == "zejzl.policy/1"


def test_a_good_file_has_no_errors(run: Run, file: Path) -> None:
    result = run("auth", "policy", "check")
    assert result.exit_code == 0
    assert "config/policy.yaml: 0 errors" in result.stdout
    data = as_json(run("auth", "policy", "check", str(file), "--json"))
    assert (data["valid"], data["errors"]) == (True, 0)


def test_findings_are_one_a_line_with_their_place_and_remedy(run: Run, wrong: Path) -> None:
    result = run("auth", "policy", "check", str(wrong))
    (line, *_) = [line for line in result.stdout.splitlines() if "rolez" in line]
    assert line.startswith(f"{wrong}:")
    assert ": error: " in line
    assert "Did you mean roles?" in line
    assert result.exit_code == 1
    as_data = run("auth", "policy", "check", str(wrong), "--json")
    data = json.loads(as_data.stdout)
    assert as_data.exit_code == 1
    assert data["valid"] is False
    (finding,) = [one for one in data["findings"] if "rolez" in one["message"]]
    assert (finding["severity"], finding["code"]) == ("error", "unknown-key")
    assert finding["line"] > 0


def test_warnings_do_not_fail(run: Run, file: Path) -> None:
    text = file.read_text() + "\n"
    roles = text.index("\nroles:") + len("\nroles:")
    text = text[:roles] + "\n  idle: {grants: ['error_buss:events:read']}" + text[roles:]
    file.write_text(text)
    result = run("auth", "policy", "check", str(file))
    assert ": warning: " in result.stdout
    assert result.exit_code == 0


@pytest.mark.parametrize("name", ["none.yaml", "config"])
def test_a_file_that_cannot_be_read_is_a_finding(run: Run, file: Path, name: str) -> None:
    result = run("auth", "policy", "check", name)
    assert result.exit_code == 1
    assert f"{name}: error: " in result.stdout


def test_a_good_policy_is_put_in_force_and_says_from_where(gateway: Any, run: Run, file: Path) -> None:
    file.write_text(file.read_text().replace("least_length: 12", "least_length: 14"))
    result = run("auth", "policy", "set", "config/policy.yaml")
    assert result.exit_code == 0, result.exception
    assert "in force: revision" in result.stderr
    assert f": {file}" in run("auth", "policy", "show").stderr
    assert "since 2023" in run("auth", "policy", "show").stderr
    data = as_json(run("auth", "policy", "show", "--json"))
    assert data["source"] == str(file)


def test_a_policy_with_errors_is_not_sent(gateway: Any, run: Run, wrong: Path) -> None:
    result = run("auth", "policy", "set", str(wrong))
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert ": error: " in result.stderr
    assert gateway.asked == []


# --- the master key ------------------------------------------------------------------------------------------


@pytest.fixture
def key_file(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = data_dir / "security_key"
    write_private_file(path, MASTER_LINE + "\n")
    return path


def restart(gateway: Any, key_file: Path) -> None:
    gateway.bench.master = MasterKeys.read(key_file)


def test_the_master_key_is_added_used_and_the_old_one_dropped(gateway: Any, run: Run, key_file: Path) -> None:
    secret = SetSecret.model_validate({"name": "API_KEY", "subjects": ("user:root",), "value": "geheim"})
    gateway.do(BY_NAME["set_secret"], secret)
    added = run("auth", "rotate-master-key", "--add")
    assert added.exit_code == 0
    assert "holds 2 keys" in added.stderr
    assert "other machines" in added.stderr
    assert key_file.stat().st_mode & 0o777 == 0o600
    for line in key_file.read_text().split():
        assert line not in added.output

    too_soon = run("auth", "rotate-master-key", "--drop-old")
    assert isinstance(too_soon.exception, Conflict)
    assert "restart the cluster" in str(too_soon.exception)
    assert len(key_file.read_text().split()) == 2

    restart(gateway, key_file)
    done = run("auth", "rotate-master-key")
    assert "records encrypted anew" in done.stderr
    assert "--drop-old" in done.stderr
    assert not done.stderr.startswith("0 records")
    assert as_json(run("auth", "rotate-master-key", "--json")) == {
        "records": 0,
        "key_file": str(key_file),
        "keys": 2,
    }
    dropped = run("auth", "rotate-master-key", "--drop-old")
    assert "gone from this file" in dropped.stderr
    assert len(key_file.read_text().split()) == 1
    restart(gateway, key_file)
    assert run("secrets", "get", "API_KEY").stdout == "geheim\n"
    assert "--drop-old" not in run("auth", "rotate-master-key").stderr


def test_adding_a_key_as_json_shows_no_key(gateway: Any, run: Run, key_file: Path) -> None:
    data = as_json(run("auth", "rotate-master-key", "--add", "--json"))
    assert data == {"key_file": str(key_file), "keys": 2}


@pytest.mark.parametrize("kind", ["one machine", "several machines"])
def test_no_key_is_added_while_the_cluster_is_up(
    gateway: Any, run: Run, key_file: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "one machine":
        monkeypatch.setattr(master_key, "running_cluster", lambda data_dir: object())
    else:
        alive = SimpleNamespace(is_alive=True)
        monkeypatch.setattr(master_key, "read_supervisor_record", lambda data_dir: alive)
    result = run("auth", "rotate-master-key", "--add")
    assert isinstance(result.exception, Conflict)
    assert "zejzl down" in str(result.exception)
    assert key_file.read_text() == MASTER_LINE + "\n"


def test_two_steps_at_once_are_wrong_usage(gateway: Any, run: Run) -> None:
    assert run("auth", "rotate-master-key", "--add", "--drop-old").exit_code == 2


def test_without_a_key_file_nothing_is_made(gateway: Any, run: Run, data_dir: Path) -> None:
    assert isinstance(run("auth", "rotate-master-key").exception, SettingsInvalid)
    assert isinstance(run("auth", "rotate-master-key", "--add").exception, ClusterError)
    assert gateway.asked == []
    assert not (data_dir / "security_key").exists()
