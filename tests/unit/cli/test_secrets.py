"""``zejzl secrets`` and ``zejzl trust`` against the real gateway."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from zejzl_ray.cli import secrets
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.security_gateway import OPERATIONS
from zejzl_ray.contracts.trust import Evidence, GetTrust, ReportEvidence
from zejzl_ray.errors import ClusterError, InvalidInput, NotFound

Run = Callable[..., Result]
BY_NAME = {operation.name: operation for operation in OPERATIONS}
SCOUT = Principal(subject="agent:Scout", grants=("security_gateway:secrets:own",))


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.fixture
def api_key(gateway: Any, run: Run) -> str:
    result = run("secrets", "set", "API_KEY", "--for", "agent:Scout", "--rotate-days", "30", typed="geheim\n")
    assert result.exit_code == 0, result.exception
    assert (result.stdout, "version 1, for agent:Scout" in result.stderr) == ("", True)
    assert "geheim" not in result.output
    return "API_KEY"


def test_a_secret_is_listed_without_its_value(api_key: str, gateway: Any, run: Run) -> None:
    result = run("secrets", "list")
    assert "agent:Scout" in result.stdout
    assert "good" in result.stdout
    (found,) = as_json(run("secrets", "list", "--json"))["secrets"]
    assert found["name"] == "API_KEY"
    assert "geheim" not in result.output + json.dumps(found)
    assert as_json(run("secrets", "list", "--for", "agent:Other", "--json"))["secrets"] == []
    gateway.bench.clock.advance(31 * 86_400)
    assert "due" in run("secrets", "list").stdout


def test_its_owner_alone_reads_it(api_key: str, gateway: Any, run: Run) -> None:
    assert isinstance(run("secrets", "get", "API_KEY").exception, NotFound)
    gateway.principal = SCOUT
    result = run("secrets", "get", "API_KEY")
    assert (result.stdout, result.stderr) == ("geheim\n", "")
    assert as_json(run("secrets", "get", "API_KEY", "--json")) == {
        "name": "API_KEY",
        "version": 1,
        "value": "geheim",
    }


def test_a_value_goes_to_a_file_of_its_owner(gateway: Any, run: Run, tmp_path: Path) -> None:
    run("secrets", "set", "K", "--for", "agent:Scout", typed="schlüssel")
    gateway.principal = SCOUT
    result = run("secrets", "get", "K", "--output", str(tmp_path / "key"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "key").read_text() == "schlüssel"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert "schl" not in result.output
    bad = run("secrets", "get", "K", "--output", str(tmp_path / "no" / "key"))
    assert isinstance(bad.exception, ClusterError)


def test_on_a_terminal_it_warns(
    api_key: str, gateway: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    gateway.principal = SCOUT
    assert "stays on this screen" in run("secrets", "get", "API_KEY").stderr


def test_a_value_is_rotated_and_the_readers_stay(
    api_key: str, gateway: Any, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "value").write_text("neu\n")
    result = run("secrets", "rotate", "API_KEY", "--file", str(tmp_path / "value"))
    assert "API_KEY: version 2" in result.stderr
    gateway.principal = SCOUT
    assert run("secrets", "get", "API_KEY").stdout == "neu\n"


def test_a_revoked_secret_is_read_by_nobody(api_key: str, gateway: Any, run: Run) -> None:
    assert "API_KEY: revoked" in run("secrets", "revoke", "API_KEY").stderr
    gateway.principal = SCOUT
    assert isinstance(run("secrets", "get", "API_KEY").exception, NotFound)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("secrets", "set", "1x", "--for", "agent:Scout"), "name: a name begins with a letter"),
        (("secrets", "set", "K", "--for", "Scout"), "subjects.0: a subject is user, agent"),
        (("secrets", "rotate", "a b"), "name: "),
        (("secrets", "revoke", "a b"), "name: "),
        (("secrets", "get", "a b"), "name: "),
        (("trust", "show", "Scout"), "subject: a subject is user, agent"),
        (("trust", "reset", "agent:Scout", "--reason", ""), "reason: "),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_sent(
    gateway: Any, run: Run, arguments: tuple[str, ...], place: str
) -> None:
    result = run(*arguments, typed="geheim")
    assert isinstance(result.exception, InvalidInput), result.exception
    assert place in str(result.exception)
    assert "geheim" not in str(result.exception)
    assert gateway.asked == []


def test_a_secret_without_a_reader_is_wrong_usage(gateway: Any, run: Run) -> None:
    assert run("secrets", "set", "K", typed="v").exit_code == 2


# --- trust ---------------------------------------------------------------------------------------------------


@pytest.fixture
def failures(gateway: Any) -> str:
    evidence = tuple(
        Evidence(evidence_id=f"e{n}", subject="agent:Scout", is_success=False, reason="timed [out]")
        for n in range(40)
    )
    gateway.do(BY_NAME["report_evidence"], ReportEvidence(evidence=evidence))
    return "agent:Scout"


def test_scores_are_listed_lowest_first(failures: str, run: Run) -> None:
    assert "agent:Scout" in run("trust", "list").stdout
    (found,) = as_json(run("trust", "list", "-n", "5", "--json"))["trust"]
    assert found["subject"] == "agent:Scout"


def test_a_score_is_shown_with_its_reasons_and_the_way_back(failures: str, run: Run) -> None:
    shown = run("trust", "show", "agent:Scout").stdout
    assert shown.startswith("agent:Scout: 0.")
    assert "timed [out]" in shown
    assert len(shown.splitlines()) > 3
    data = as_json(run("trust", "show", "agent:Scout", "--json"))
    assert data["history"][0]["reason"] == "timed [out]"
    assert data["way_back"]


def test_an_unknown_subject_is_said_to_be_unknown(gateway: Any, run: Run) -> None:
    unknown = GetTrust(subject="agent:New")
    found = gateway.do(BY_NAME["get_trust"], unknown)
    assert not found.is_known
    shown = run("trust", "show", "agent:New").stdout
    assert "never seen: this is where everybody begins" in shown


def test_a_pardon_lets_a_subject_begin_anew(failures: str, gateway: Any, run: Run) -> None:
    low = as_json(run("trust", "show", "agent:Scout", "--json"))["score"]
    result = run("trust", "reset", "agent:Scout", "--reason", "new disk")
    assert result.exit_code == 0, result.exception
    assert "agent:Scout: 0.50" in result.stderr
    assert as_json(run("trust", "show", "agent:Scout", "--json"))["score"] > low
    assert gateway.requests("reset_trust")[0].reason == "new disk"
    assert run("trust", "reset", "agent:Scout").exit_code == 2
