"""``zejzl token`` against the real gateway: credentials, tokens, and new machines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from zejzl_ray.auth.credential_text import code_of, digest_of
from zejzl_ray.cli import enrolment
from zejzl_ray.contracts.security_gateway import OPERATIONS
from zejzl_ray.contracts.tokens import DecideEnrolment
from zejzl_ray.errors import (
    ClusterError,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    LoginRefused,
    NotFound,
    ServiceUnavailable,
)

Run = Callable[..., Result]
DECIDE = next(operation for operation in OPERATIONS if operation.name == "decide_enrolment")


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


# --- credentials ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["machine", "agent", "program"])
def test_a_credential_is_printed_once_alone_on_standard_output(gateway: Any, run: Run, kind: str) -> None:
    role = ("--role", "viewer") if kind == "program" else ()
    result = run("token", kind, "Scout", "--label", "for tests", "--days", "2", *role)
    assert result.exit_code == 0, result.exception
    assert digest_of(result.stdout.strip())
    assert result.stdout.strip() not in result.stderr
    assert f"{kind}:Scout: credential " in result.stderr
    assert "not shown again, until 2023-11-16" in result.stderr
    (found,) = as_json(run("token", "list", "--json"))
    assert (found["subject"], found["label"]) == (f"{kind}:Scout", "for tests")
    assert "secret" not in found


def test_a_credential_is_written_to_a_file_and_not_shown(gateway: Any, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "scout"
    result = run("token", "agent", "Scout", "--output", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert digest_of(file.read_text().strip())
    assert file.read_text().strip() not in result.output


def test_as_json_the_secret_is_there_only_without_a_file(gateway: Any, run: Run, tmp_path: Path) -> None:
    data = as_json(run("token", "program", "ci", "--role", "viewer", "--json"))
    assert digest_of(data["secret"])
    assert data["credential"]["roles"] == ["viewer"]
    file = tmp_path / "ci"
    data = as_json(run("token", "program", "ci", "--role", "viewer", "--output", str(file), "--json"))
    assert data["file"] == str(file)
    assert "secret" not in data


def test_a_program_has_its_limits_and_a_signing_secret(gateway: Any, run: Run) -> None:
    arguments = ("--scope", "core_orchestrator:agents:read", "--signing", "--calls-per-minute", "30")
    data = as_json(run("token", "program", "hook", *arguments, "--json"))
    assert (data["credential"]["is_signing"], data["credential"]["calls_per_minute"]) == (True, 30)
    assert len(data["secret"]) == 64


@pytest.mark.parametrize("place", ["there", "no/such/folder"])
def test_a_file_that_cannot_be_made_is_refused_before_anything_is(
    gateway: Any, run: Run, tmp_path: Path, place: str
) -> None:
    (tmp_path / "there").touch()
    result = run("token", "agent", "Scout", "--output", str(tmp_path / place))
    assert isinstance(result.exception, InvalidInput)
    assert gateway.asked == []


def test_a_credential_that_could_not_be_written_can_be_revoked_by_what_is_said(
    gateway: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise ClusterError(f"Cannot write the file {path}: No space left on device.")

    monkeypatch.setattr("zejzl_ray.cli.token.write_private_file", full)
    result = run("token", "agent", "Scout", "--output", str(tmp_path / "scout"))
    (made,) = as_json(run("token", "list", "--json"))
    assert isinstance(result.exception, ClusterError)
    assert f"--credential {made['credential_id']}" in str(result.exception)


def test_credentials_are_listed_with_their_state(gateway: Any, run: Run) -> None:
    run("token", "agent", "Scout")
    run("token", "agent", "Other")
    run("token", "enrol", "pc7")
    (scout,) = as_json(run("token", "list", "--subject", "agent:Scout", "--json"))
    assert run("token", "revoke", "--credential", scout["credential_id"], "--reason", "lost").exit_code == 0
    table = run("token", "list").stdout
    for expected in ("agent:Scout", "lost", "agent:Other", "active", "machine:pc7", "pending"):
        assert expected in table
    assert [one["subject"] for one in as_json(run("token", "list", "--active", "--json"))] == ["agent:Other"]
    assert [one["subject"] for one in as_json(run("token", "list", "--pending", "--json"))] == ["machine:pc7"]
    assert run("token", "list", "--pending", "--active").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("token", "agent", "a b"), "subject: a subject is user, agent"),
        (("token", "program", "x", "--scope", "everything"), "scopes.0: a scope is service:resource:action"),
        (("token", "list", "--subject", "Scout"), "subject: a subject is user, agent"),
        (("token", "revoke", "--token", "a b"), "token_id: an id has letters"),
        (("token", "revoke", "--credential", "a/b"), "credential_id: an id has letters"),
        (("token", "enrol", "a b"), "machine: a name begins with a letter"),
        (("token", "approve", "a b", "--code", "1"), "machine: a name begins with a letter"),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_sent(
    gateway: Any, run: Run, arguments: tuple[str, ...], place: str
) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, InvalidInput), result.exception
    assert place in str(result.exception)
    assert gateway.asked == []


# --- revoking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "field"),
    [("--token", "token_id"), ("--session", "session"), ("--subject", "subject")],
)
def test_a_revocation_names_one_thing(gateway: Any, run: Run, option: str, field: str) -> None:
    value = "agent:Scout" if option == "--subject" else "abc"
    result = run("token", "revoke", option, value, "--reason", "lost")
    assert "revoked; 0 sessions" in result.stderr
    (request,) = gateway.requests("revoke_tokens")
    sent = request.model_dump(exclude_none=True, exclude={"request_id"})
    assert sent == {field: value, "reason": "lost"}


def test_everything_is_revoked_up_to_now(gateway: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = gateway.bench.clock.now_s()
    monkeypatch.setattr("time.time", lambda: now_s)
    assert run("token", "revoke", "--everything").exit_code == 0
    (request,) = gateway.requests("revoke_tokens")
    assert request.everything_before_s == now_s


@pytest.mark.parametrize("arguments", [(), ("--token", "a", "--session", "b")])
def test_a_revocation_of_nothing_or_of_two_things_is_wrong_usage(
    gateway: Any, run: Run, arguments: tuple[str, ...]
) -> None:
    result = run("token", "revoke", *arguments)
    assert result.exit_code == 2
    assert "exactly one of" in result.stderr
    assert gateway.asked == []


# --- access tokens -------------------------------------------------------------------------------------------


def test_a_credential_is_exchanged_for_a_narrowed_token(gateway: Any, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "ci"
    run("token", "program", "ci", "--role", "operator", "--output", str(file))
    arguments = (
        "--scope", "core_orchestrator:agents:read", "--audience", "core_orchestrator", "--minutes", "5",
    )  # fmt: skip
    result = run("token", "issue", "--credential-file", str(file), *arguments)
    assert result.exit_code == 0, result.exception
    assert result.stdout.strip().count(".") == 2
    assert "program:ci, until 2023-11-14" in result.stderr
    data = as_json(run("token", "issue", "--credential-file", str(file), *arguments, "--json"))
    assert data["scopes"] == ["core_orchestrator:agents:read"]
    assert data["audience"] == "core_orchestrator"
    assert data["expires_at_s"] - data["issued_at_s"] == 300


def test_without_a_file_it_is_the_administrators_of_this_machine(
    gateway: Any, run: Run, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("token", "program", "ci", "--role", "viewer", "--output", str(data_dir / "token"))
    assert "program:ci" in run("token", "issue").stderr
    run("token", "program", "cd", "--role", "viewer", "--output", str(tmp_path / "other"))
    monkeypatch.setenv("ZEJZL_TOKEN_FILE", str(tmp_path / "other"))
    assert "program:cd" in run("token", "issue").stderr


def test_a_credential_that_does_not_count_is_refused_and_not_repeated(
    gateway: Any, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "wrong").write_text("zk_hunter2")
    result = run("token", "issue", "--credential-file", str(tmp_path / "wrong"))
    assert isinstance(result.exception, LoginRefused)
    assert "hunter2" not in str(result.exception)
    missing = run("token", "issue", "--credential-file", str(tmp_path / "none"))
    assert isinstance(missing.exception, InvalidInput)


# --- new machines --------------------------------------------------------------------------------------------


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of a machine that waits; time passes as it says."""
    pauses: list[float] = []
    monkeypatch.setattr(enrolment, "_pause", pauses.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(pauses))
    return pauses


def test_a_machine_asks_with_a_credential_that_it_keeps(gateway: Any, run: Run, data_dir: Path) -> None:
    result = run("token", "enrol", "pc7", "--note", "attic")
    path = data_dir / "machine_credential"
    text = path.read_text().strip()
    assert result.exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert result.stdout == code_of(digest_of(text)) + "\n"
    assert "zejzl token approve pc7 --code CODE" in result.stderr
    assert text not in result.output
    (request,) = gateway.requests("request_enrolment")
    assert (request.secret_digest, request.note) == (digest_of(text), "attic")
    assert text not in request.model_dump_json()
    again = run("token", "enrol", "pc7")
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert path.read_text().strip() == text


def test_an_approved_machine_can_get_tokens(gateway: Any, run: Run, data_dir: Path) -> None:
    code = run("token", "enrol", "pc7").stdout.strip()
    assert isinstance(run("token", "approve", "pc7", "--code", "0000-0000").exception, NotFound)
    assert "pc7: approved" in run("token", "approve", "pc7", "--code", code).stderr
    path = data_dir / "machine_credential"
    result = run("token", "enrol", "pc7")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"ZEJZL_TOKEN_FILE={path}" in result.stderr
    assert "machine:pc7" in run("token", "issue", "--credential-file", str(path)).stderr
    data = as_json(run("token", "enrol", "pc7", "--json"))
    assert (data["state"], data["code"], data["credential_file"]) == ("approved", code, str(path))


def test_a_refused_machine_is_told_and_may_ask_anew(gateway: Any, run: Run, data_dir: Path) -> None:
    code = run("token", "enrol", "pc7").stdout.strip()
    assert "pc7: refused" in run("token", "approve", "pc7", "--code", code, "--refuse").stderr
    result = run("token", "enrol", "pc7")
    assert result.exit_code == 1
    assert "--new" in result.stderr
    before = (data_dir / "machine_credential").read_text()
    anew = run("token", "enrol", "pc7", "--new")
    assert (anew.exit_code, anew.stdout.strip() != code) == (0, True)
    assert (data_dir / "machine_credential").read_text() != before
    assert (data_dir / "machine_credential").stat().st_mode & 0o777 == 0o600


def test_a_machine_that_waits_goes_on_when_it_is_decided(
    gateway: Any, run: Run, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    pauses: list[float] = []

    def decide_in_the_second_pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            code = code_of(digest_of((data_dir / "machine_credential").read_text().strip()))
            gateway.do(DECIDE, DecideEnrolment(machine="pc7", code=code, is_approved=True))

    monkeypatch.setattr(enrolment, "_pause", decide_in_the_second_pause)
    result = run("token", "enrol", "pc7", "--wait", "60")
    assert (result.exit_code, len(pauses)) == (0, 2)
    assert "pc7: approved" in result.stderr


def test_a_machine_that_nobody_approves_gives_up_in_time(gateway: Any, run: Run, waits: list[float]) -> None:
    result = run("token", "enrol", "pc7", "--wait", "5")
    assert result.exit_code == 1
    assert waits == [2.0, 2.0, 1.0]
    assert "not approved yet; it may be until 20" in result.stderr


def test_an_outage_while_waiting_is_waited_for(gateway: Any, run: Run, waits: list[float]) -> None:
    run("token", "enrol", "pc7")
    calls = 0

    def trouble() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            gateway.trouble = [ServiceUnavailable("away")]

    gateway.before = trouble
    result = run("token", "enrol", "pc7", "--wait", "5", "--json")
    assert "asking again: away" in result.stderr
    assert json.loads(result.stdout)["state"] == "pending"
    assert result.exit_code == 1


def test_a_pause_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    enrolment._pause(2.0)
    assert slept == [2.0]


def test_an_outage_that_lasts_is_the_error(gateway: Any, run: Run, waits: list[float]) -> None:
    run("token", "enrol", "pc7")

    def trouble() -> None:
        if waits:
            gateway.trouble = [DeadlineExceeded("late")]

    gateway.before = trouble
    assert isinstance(run("token", "enrol", "pc7", "--wait", "3").exception, DeadlineExceeded)
    assert waits == [2.0, 1.0]


def test_a_name_that_is_taken_is_refused(gateway: Any, run: Run) -> None:
    run("token", "enrol", "pc7")
    assert isinstance(run("token", "enrol", "pc7", "--new").exception, Conflict)
