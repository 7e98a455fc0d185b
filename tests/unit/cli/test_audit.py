"""``zejzl audit``: what is shown, what is checked, and the exit codes."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.auth.audit_anchors import anchor_details
from zejzl_ray.auth.audit_chain import digest_of, encode_entry, head_after, seal_all, verify_chain
from zejzl_ray.auth.audit_fact import Fact, make_fact
from zejzl_ray.cli import audit, audit_reading
from zejzl_ray.cli.main import app
from zejzl_ray.contracts.audit import GENESIS, AuditEntry, AuditPage, ChainHead, Chains, ReadAudit
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import SERVICE_NAMES
from zejzl_ray.errors import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    RateLimited,
    ServiceUnavailable,
    StoreError,
    Unauthenticated,
    ZejzlError,
)

CORE, GATEWAY = "core_orchestrator", "security_gateway"


def denied(at_s: float, name: str, subject: str = "user:ada") -> Fact:
    return make_fact(at_s, "denied", subject, "a.get", name, "forbidden", "No [/scope].", "::1")


class FakeClient:
    """Services with chains in memory."""

    def __init__(self) -> None:
        self.chains: dict[str, dict[str, list[AuditEntry]]] = {service: {} for service in SERVICE_NAMES}
        self.oldest: dict[str, int] = {}
        self.heads: dict[str, ChainHead] = {}
        self.away: dict[str, ZejzlError] = {}
        self.away_chains: dict[str, ZejzlError] = {}
        self.calls: list[str] = []
        self.limited = 0
        self.answer: Contract | None = None

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append("closed")

    def add(self, service: str, chain: str, *facts: Fact) -> list[AuditEntry]:
        entries = self.chains[service].setdefault(chain, [])
        entries += seal_all(head_after(entries) if entries else None, chain, facts)
        return entries

    def anchor(self, service: str, chain: str, index: int = 0) -> None:
        entries = self.chains[service][chain]
        entry = entries[index - 1]
        head = ChainHead(chain=chain, index=entry.index, hash=entry.hash)
        self.add(GATEWAY, GATEWAY, make_fact(9.0, "anchor", target=chain, details=anchor_details(head)))

    def head(self, chain: str, entries: list[AuditEntry]) -> ChainHead:
        known = self.heads.get(chain)
        return known or (head_after(entries) if entries else ChainHead(chain=chain, index=0, hash=GENESIS))

    def call(self, operation: Operation, request: Contract, *, timeout_s: float) -> Contract:
        self.calls.append(operation.key)
        if operation.service in self.away:
            raise self.away[operation.service]
        if self.limited:
            self.limited -= 1
            raise RateLimited("too many", "", 0.5)
        if self.answer is not None:
            return self.answer
        chains = self.chains[operation.service]
        if operation.name == "list_audit_chains":
            return Chains(heads=tuple(self.head(name, entries) for name, entries in chains.items()))
        assert isinstance(request, ReadAudit)
        if request.chain in self.away_chains:
            raise self.away_chains[request.chain]
        entries = chains[request.chain]
        oldest = self.oldest.get(request.chain, 1)
        kept = [entry for entry in entries if entry.index >= oldest]
        found = (
            kept[-request.limit :]
            if request.is_newest
            else [entry for entry in kept if entry.index > request.after][: request.limit]
        )
        return AuditPage(entries=tuple(found), head=self.head(request.chain, entries), oldest=oldest)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(audit, "connect", lambda: fake)
    monkeypatch.setattr(audit_reading, "pause", lambda seconds: fake.calls.append(f"pause {seconds}"))
    fake.add(CORE, CORE, denied(10.0, "one"), denied(30.0, "three"))
    fake.add(
        GATEWAY, GATEWAY, denied(20.0, "two", "user:bob"), make_fact(40.0, "issued", target="four", count=7)
    )
    fake.add(GATEWAY, "ingress.a1", denied(35.0, "x\x1b[31mred"))
    return fake


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments])


# --- tail ------------------------------------------------------------------------------------------------------


def test_tail_merges_all_chains_by_time(client: FakeClient) -> None:
    result = run("tail")
    assert result.exit_code == 0
    places = [result.stdout.index(name) for name in ("one", "two", "three", "x?[31mred", "four")]
    assert places == sorted(places)
    for expected in ("No [/scope].", "ok x7", "1970-01-01 00:00:10Z", "ingress.a1"):
        assert expected in result.stdout
    assert "\x1b" not in result.stdout
    assert client.calls[-1] == "closed"


@pytest.mark.parametrize(
    ("arguments", "targets"),
    [
        (["-n", "2"], ["x\x1b[31mred", "four"]),
        (["--subject", "user:bob"], ["two"]),
        (["--kind", "denied", "-n", "2"], ["three", "x\x1b[31mred"]),
        (["--kind", "denied", "--subject", "user:ada"], ["one", "three", "x\x1b[31mred"]),
        (["--chain", CORE], ["one", "three"]),
        (["--kind", "trust"], []),
        (["--chain", "unknown"], []),
    ],
)
def test_tail_shows_what_is_asked_for(client: FakeClient, arguments: list[str], targets: list[str]) -> None:
    result = run("tail", "--json", *arguments)
    data = json.loads(result.stdout)
    assert [entry["target"] for entry in data["entries"]] == targets
    assert data["unread"] == {}


def test_tail_looks_back_for_what_is_rare(client: FakeClient) -> None:
    facts = [denied(100.0 + n, f"n{n}", "user:eve" if n in {3, 700} else "user:ada") for n in range(2500)]
    client.add(CORE, CORE, *facts)
    data = json.loads(run("tail", "--json", "--subject", "user:eve").stdout)
    assert [entry["target"] for entry in data["entries"]] == ["n3", "n700"]


def test_tail_does_not_look_back_for_ever(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_SEARCHED", 1500)
    facts = [denied(100.0 + n, f"n{n}", "user:eve" if n == 3 else "user:ada") for n in range(3500)]
    client.add(CORE, CORE, *facts)
    assert json.loads(run("tail", "--json", "--subject", "user:eve").stdout)["entries"] == []


def test_tail_stops_looking_back_at_the_oldest_entry(client: FakeClient) -> None:
    client.add(CORE, CORE, *(denied(100.0 + n, f"n{n}") for n in range(2500)))
    client.oldest[CORE] = 1200
    data = json.loads(run("tail", "--json", "--subject", "user:ada", "-n", "1000", "--chain", CORE).stdout)
    assert len(data["entries"]) == 1000
    assert json.loads(run("tail", "--json", "--subject", "user:eve").stdout)["entries"] == []


@pytest.mark.parametrize(
    "error", [ServiceUnavailable("away [/x]"), DeadlineExceeded("late"), Forbidden("not you")]
)
def test_a_service_that_cannot_be_read_is_named_and_the_rest_is_shown(
    client: FakeClient, error: ZejzlError
) -> None:
    client.away = {"error_bus": error}
    client.away_chains = {"ingress.a1": StoreError("damaged")}
    result = run("tail")
    assert result.exit_code == 0
    assert "four" in result.stdout
    assert f"not read: error_bus: {error.message}" in result.stderr
    assert "not read: ingress.a1: damaged" in result.stderr


def test_when_nobody_can_be_read_one_error_says_so(client: FakeClient) -> None:
    error = ServiceUnavailable("nothing answers")
    client.away = dict.fromkeys(SERVICE_NAMES, error)
    for command in (["tail"], ["verify"], ["export", "-o", "never"]):
        assert run(*command).exception is error
    assert not Path("never").exists()


def test_a_token_that_does_not_count_is_an_error(client: FakeClient) -> None:
    client.away = {"error_bus": Unauthenticated("who are you?")}
    assert run("tail").exception is client.away["error_bus"]


def test_a_kind_that_does_not_exist_is_wrong_usage(client: FakeClient) -> None:
    result = run("tail", "--kind", "refused")
    assert result.exit_code == 2
    assert "denied" in result.stderr


def test_a_service_that_limits_the_rate_is_asked_again(client: FakeClient) -> None:
    client.limited = 2
    assert json.loads(run("verify", "--json").stdout)["unread"] == {}
    assert client.calls.count("pause 0.5") == 2
    client.limited = 10**6
    assert isinstance(run("verify").exception, RateLimited)


def test_an_answer_of_another_kind_is_an_error(client: FakeClient) -> None:
    client.answer = ReadAudit()
    assert isinstance(run("tail").exception, StoreError)


def test_with_very_many_chains_tail_shows_some_and_says_so(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_TAILED_CHAINS", 2)
    result = run("tail")
    assert "3 chains; only 2 are shown" in result.stderr


def follow(
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
    *steps: Callable[[], object],
    arguments: tuple[str, ...] = (),
) -> Result:
    left = list(steps)

    def pause(_: float) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    monkeypatch.setattr(audit_reading, "pause", pause)
    return run("tail", "--follow", *arguments)


def test_follow_goes_on_with_what_is_written(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def new_chain() -> None:
        client.add(CORE, f"{CORE}.guard", denied(60.0, "six"))
        monkeypatch.setattr(audit, "_LIST_EVERY", 1)

    result = follow(
        client,
        monkeypatch,
        lambda: client.add(CORE, CORE, denied(50.0, "five"), denied(51.0, "not bob's", "user:eve")),
        new_chain,
        arguments=("--kind", "denied"),
    )
    assert result.exit_code == 130
    lines = result.stdout.splitlines()
    assert [line.split()[7] for line in lines if "a.get" in line][-3:] == ["five", "not", "six"]
    assert lines[-1].startswith(f"1970-01-01 00:01:00Z {CORE}.guard 1 denied user:ada a.get six forbidden")
    assert len(lines) == 4 + 3


def test_follow_as_json_is_one_entry_a_line(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    result = follow(
        client,
        monkeypatch,
        lambda: client.add(CORE, CORE, denied(50.0, "five")),
        arguments=("--json", "-n", "1"),
    )
    entries = [AuditEntry.model_validate_json(line) for line in result.stdout.splitlines()]
    assert [entry.target for entry in entries] == ["four", "five"]


def test_follow_names_what_is_away_once_and_goes_on(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_LIST_EVERY", 2)
    everybody = dict.fromkeys(SERVICE_NAMES, ServiceUnavailable("away"))
    result = follow(
        client,
        monkeypatch,
        lambda: client.away.update({CORE: ServiceUnavailable("restarting")}),
        lambda: client.away.update(everybody),
        client.away.clear,
        lambda: client.add(CORE, CORE, denied(50.0, "five")),
    )
    assert result.stderr.count(f"not read: {CORE}: restarting") == 1
    assert "five" in result.stdout


# --- verify ----------------------------------------------------------------------------------------------------


def verdict() -> tuple[int, dict[str, Any]]:
    result = run("verify", "--json")
    return result.exit_code, json.loads(result.stdout)


def states(data: dict[str, Any]) -> dict[str, tuple[str, int | None]]:
    return {state["chain"]: (state["fault"], state["broken_at"]) for state in data["chains"]}


def test_chains_that_are_whole_are_0(client: FakeClient) -> None:
    client.anchor(CORE, CORE)
    client.anchor(GATEWAY, "ingress.a1")
    code, data = verdict()
    assert (code, data["unread"]) == (0, {})
    assert [state["chain"] for state in data["chains"]] == [GATEWAY, CORE, "ingress.a1"]
    assert states(data) == dict.fromkeys((GATEWAY, CORE, "ingress.a1"), ("", None))
    assert [state["anchored"] for state in data["chains"]] == [0, 2, 1]
    result = run("verify")
    assert result.exit_code == 0
    assert result.stdout.count("whole") == 3
    assert "1 to 2" in result.stdout


def test_a_broken_entry_is_named_and_1(client: FakeClient) -> None:
    entries = client.chains[CORE][CORE]
    entries[0] = entries[0].model_copy(update={"subject": "user:eve"})
    result = run("verify")
    assert result.exit_code == 1
    assert f"{CORE}: broken at entry 1: changed." in result.stdout
    code, data = verdict()
    assert (code, states(data)[CORE]) == (1, ("changed", 1))


def test_a_chain_of_many_pages_is_checked_whole(client: FakeClient) -> None:
    entries = client.add(CORE, CORE, *(denied(100.0 + n, f"n{n}") for n in range(3500)))
    client.anchor(CORE, CORE, 2999)
    assert verdict()[0] == 0
    changed = entries[2500].model_copy(update={"reason": "none"})
    entries[2500] = changed
    assert states(verdict()[1])[CORE] == ("changed", 2501)
    # made anew from there to the end: only the anchor knows
    facts = [denied(100.0 + n, f"m{n}") for n in range(2500, 3502)]
    entries[2500:] = seal_all(head_after(entries[:2500]), CORE, facts)
    assert verify_chain(entries) is None
    assert states(verdict()[1])[CORE] == ("written anew", 2999)


def test_a_chain_that_was_cut_off_is_found(client: FakeClient) -> None:
    entries = client.chains[CORE][CORE]
    client.anchor(CORE, CORE)
    client.heads[CORE] = head_after(entries)
    last = entries.pop()
    assert states(verdict()[1])[CORE] == ("cut off at the end", 2)
    client.heads.clear()
    assert states(verdict()[1])[CORE] == ("cut off at the end", 2)
    entries[:] = [last]
    assert states(verdict()[1])[CORE] == ("cut off at the front", 1)
    entries.clear()
    assert states(verdict()[1])[CORE] == ("cut off at the end", 1)


def test_old_entries_that_were_given_up_are_no_fault(client: FakeClient) -> None:
    client.add(CORE, CORE, *(denied(100.0 + n, f"n{n}") for n in range(9)))
    client.anchor(CORE, CORE, 2)
    client.anchor(CORE, CORE, 8)
    client.oldest[CORE] = 5
    code, data = verdict()
    assert (code, states(data)[CORE]) == (0, ("", None))
    assert [(s["oldest"], s["last"]) for s in data["chains"] if s["chain"] == CORE] == [(5, 11)]


def test_an_anchored_chain_that_nobody_has_is_gone(client: FakeClient) -> None:
    client.add(CORE, "resource_manager", denied(1.0, "x"))
    client.add(CORE, "node_agent.pc2", denied(1.0, "x"))
    client.anchor(CORE, "resource_manager")
    client.anchor(CORE, "node_agent.pc2")
    del client.chains[CORE]["resource_manager"], client.chains[CORE]["node_agent.pc2"]
    code, data = verdict()
    assert code == 1
    assert states(data)["resource_manager"] == states(data)["node_agent.pc2"] == ("gone", 1)
    # while its service does not answer nobody can tell
    client.away = {"resource_manager": ServiceUnavailable("away")}
    client.add(GATEWAY, GATEWAY, make_fact(9.0, "dropped", target="node_agent.pc2"))
    code, data = verdict()
    assert (code, data["unread"]) == (2, {"resource_manager": "away"})
    assert set(states(data)) == {GATEWAY, CORE, "ingress.a1"}


def test_a_chain_that_cannot_be_read_is_2_unless_another_is_broken(client: FakeClient) -> None:
    client.away_chains = {"ingress.a1": ServiceUnavailable("away")}
    result = run("verify")
    assert result.exit_code == 2
    assert "not read: ingress.a1: away" in result.stderr
    entries = client.chains[CORE][CORE]
    entries[1] = entries[1].model_copy(update={"hash": digest_of(entries[0])})
    assert run("verify").exit_code == 1


def test_without_the_gateway_chains_are_checked_for_themselves(client: FakeClient) -> None:
    client.away = {GATEWAY: ServiceUnavailable("away")}
    code, data = verdict()
    assert (code, states(data)) == (2, {CORE: ("", None)})


def test_a_chain_without_entries_is_whole(client: FakeClient) -> None:
    client.chains["error_bus"]["error_bus"] = []
    result = run("verify")
    assert result.exit_code == 0
    assert "none" in result.stdout


# --- export ----------------------------------------------------------------------------------------------------


def test_export_writes_lines_that_can_be_checked_again(client: FakeClient, tmp_path: Path) -> None:
    client.add(CORE, CORE, *(denied(100.0 + n, f"n{n}") for n in range(1500)))
    file = tmp_path / "audit.jsonl"
    result = run("export", "--output", str(file))
    assert result.exit_code == 0
    assert "1505 entries of 3 chains" in result.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = file.read_bytes().splitlines()
    entries = [AuditEntry.model_validate_json(line) for line in lines]
    assert [encode_entry(entry) for entry in entries] == lines
    for chain in (CORE, GATEWAY, "ingress.a1"):
        assert verify_chain([entry for entry in entries if entry.chain == chain]) is None
    assert len(entries) == 1505


def test_export_of_one_chain_as_json(client: FakeClient, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    data = json.loads(run("export", "-o", str(file), "--chain", CORE, "--json").stdout)
    assert data == {"file": str(file), "chains": {CORE: 2}, "unread": {}}


def test_export_does_not_overwrite_unless_told(client: FakeClient, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text("mine")
    assert isinstance(run("export", "-o", str(file)).exception, Conflict)
    assert file.read_text() == "mine"
    assert run("export", "-o", str(file), "--force").exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text().splitlines()) == 5


def test_export_says_what_is_missing_with_2(client: FakeClient, tmp_path: Path) -> None:
    client.away_chains = {"ingress.a1": ServiceUnavailable("away")}
    result = run("export", "-o", str(tmp_path / "audit.jsonl"))
    assert result.exit_code == 2
    assert "not read: ingress.a1: away" in result.stderr


def test_export_to_a_place_that_cannot_be_written(client: FakeClient, tmp_path: Path) -> None:
    assert isinstance(run("export", "-o", str(tmp_path / "no" / "file")).exception, InvalidInput)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_time_is_shown_as_it_is(client: FakeClient) -> None:
    client.add(CORE, CORE, denied(1e300, "far"))
    assert "1e+300" in run("tail").stdout
