"""Every operation has a trial, and trials do nothing that others would feel."""

from collections import Counter
from typing import Any

from pydantic import SecretStr

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import AGENT_HOST_OPERATIONS, BY_SERVICE
from zejzl_ray.errors import Forbidden, NotFound, ServiceUnavailable
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.selftest.run import ALL_TRIALS, operation_of, run_trials
from zejzl_ray.selftest.trial import PREFIX, Outcome, Row

EVERY = {operation.key for operations in BY_SERVICE.values() for operation in operations.values()}
# What concerns others than who asks: never tried with a right.
HURTS = {
    "accept_losses",
    "anchor_audit",
    "declare_fleet",
    "deliver_mail",
    "ensure_administrator",
    "open_mail",
    "record_audit",
    "report_machine",
    "report_performance",
    "report_waits",
    "rotate_keys",
    "rotate_master_key",
    "set_policy",
    "stop",
}


def test_every_operation_has_exactly_one_trial() -> None:
    counts = Counter(trial.key for trial in ALL_TRIALS)
    assert set(counts) == EVERY, "give a new operation a trial in zejzl_ray/selftest"
    assert not [key for key, count in counts.items() if count > 1]


def test_what_would_hurt_is_asked_for_without_the_right() -> None:
    for trial in ALL_TRIALS:
        name = trial.key.partition(".")[2]
        assert trial.is_without_right or name not in HURTS, trial.key
        assert trial.how


class FakeSystem:
    """Answers every call with the right kind of reply, and refuses what the program asks for without a right."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, str]] = []
        self.failing: dict[str, Exception] = {}
        self.allows: set[str] = set()
        self.machines = ("mainpc", "gone")
        self.hosts: tuple[str, ...] = ("h1",)

    async def __call__(self, operation: Operation, request: Contract, token: SecretStr | None) -> Contract:
        key = f"{operation.service.partition(':')[0]}.{operation.name}"
        who = "" if token is None else token.get_secret_value()
        self.asked.append((f"{operation.service}.{operation.name}", request, who))
        if key in self.failing:
            raise self.failing[key]
        if key == "security_gateway.explain_access":
            return self.answer(operation, is_allowed=getattr(request, "operation", "") in self.allows)
        if key in {"agent_host.start_agent", "agent_host.stop_agent", "agent_host.restart_agent"}:
            raise NotFound("no such agent")
        if who == "of program" and operation.name not in {"get_secret"} and key not in self.allows:
            raise Forbidden("no right")
        return self.answer(operation, **self.content(key, request))

    @staticmethod
    def answer(operation: Operation, **content: Any) -> Contract:
        model: Any = operation.reply
        reply: Contract = model.model_construct(**content)
        return reply

    def content(self, key: str, request: Any) -> dict[str, Any]:
        credential = type("Credential", (), {"credential_id": "c1"})()
        if key == "security_gateway.issue_token":
            kind = "program" if request.grant.kind == "credential" else "person"
            return self.token(kind)
        if key == "core_orchestrator.list_machines":
            return {
                "machines": tuple(
                    type("M", (), {"name": name, "is_alive": name != "gone"})() for name in self.machines
                )
            }
        if key == "core_orchestrator.list_agents":
            agents = tuple(
                type("A", (), {"metadata": {"agent_host": name}, "state": "healthy"})() for name in self.hosts
            )
            return {"agents": agents, "next_cursor": ""}
        return {
            "security_gateway.create_credential": {"credential": credential, "secret": SecretStr("zk_x")},
            "security_gateway.refresh_tokens": self.token("person"),
            "security_gateway.request_enrolment": {"code": "abc"},
            "security_gateway.get_policy": {"policy": default_policy()},
            "core_orchestrator.register_agent": {"revision": 7},
        }.get(key, {})

    @staticmethod
    def token(kind: str) -> dict[str, Any]:
        return {
            "access_token": SecretStr(f"of {kind}"),
            "session": "s1",
            "refresh_token": SecretStr("r1"),
        }


async def tried(system: FakeSystem, *, is_auth_off: bool = False, is_over_handles: bool = True) -> list[Row]:
    return await run_trials(system, 1000.0, is_auth_off=lambda: is_auth_off, is_over_handles=is_over_handles)


def of(rows: list[Row], key: str) -> Row:
    (row,) = [row for row in rows if f"{row.service}.{row.operation}" == key]
    return row


async def test_every_operation_is_called_and_its_answer_judged() -> None:
    system = FakeSystem()
    rows = await tried(system)
    assert not [row for row in rows if not row.is_well]
    assert len(rows) == len(EVERY)
    called = {key.replace(":mainpc", "").replace(":h1", "") for key, _, _ in system.asked}
    assert called == EVERY
    assert of(rows, "error_bus.stop").outcome is Outcome.REFUSED
    assert of(rows, "agent_host:h1.restart_agent").detail == "not_found"
    assert of(rows, "node_agent:mainpc.snapshot").outcome is Outcome.OK
    assert not [row for row in rows if "gone" in row.service]


async def test_nothing_is_asked_for_that_concerns_others() -> None:
    system = FakeSystem()
    await tried(system)
    for key, request, who in system.asked:
        name = key.rpartition(".")[2]
        assert who == "of program" or name not in HURTS, key
        for field in ("name", "user", "machine", "agent"):
            value = getattr(request, field, None)
            if value and isinstance(value, str) and name != "get_machine":
                assert value.startswith(PREFIX), (key, value)


async def test_what_was_made_goes_also_when_trials_fail() -> None:
    system = FakeSystem()
    for key in ("core_orchestrator.deregister_agent", "security_gateway.issue_token"):
        system.failing[key] = ServiceUnavailable("away")
    rows = await tried(system)
    assert of(rows, "core_orchestrator.deregister_agent").detail == "service_unavailable: away"
    # No token, so nothing is asked for in the program's name, and nothing in the caller's instead.
    assert of(rows, "error_bus.stop").outcome is Outcome.FAILED
    assert "lacks" in of(rows, "security_gateway.get_secret").detail
    assert not [key for key, _, _ in system.asked if key.endswith(".stop")]
    last = [key.rpartition(".")[2] for key, _, _ in system.asked[-5:]]
    assert last == [
        "deregister_agent",
        "deregister_agent",
        "revoke_secret",
        "delete_user",
        "revoke_credential",
    ]


async def test_without_authentication_what_would_hurt_is_left_out() -> None:
    system = FakeSystem()
    rows = await tried(system, is_auth_off=True)
    left_out = {row.operation for row in rows if row.outcome is Outcome.LEFT_OUT}
    assert left_out >= HURTS
    assert not [key for key, _, _ in system.asked if key.rpartition(".")[2] in HURTS]


async def test_what_the_policy_allows_every_program_is_not_tried() -> None:
    system = FakeSystem()
    system.allows = {"core_orchestrator.declare_fleet"}
    rows = await tried(system)
    row = of(rows, "core_orchestrator.declare_fleet")
    assert (row.outcome, row.detail) == (Outcome.LEFT_OUT, "the policy lets every program do it")
    assert not [key for key, _, _ in system.asked if key.endswith("declare_fleet")]


async def test_a_right_that_is_not_asked_for_is_a_failure() -> None:
    class Open(FakeSystem):
        async def __call__(
            self, operation: Operation, request: Contract, token: SecretStr | None
        ) -> Contract:
            if operation.name in {"report_waits", "health"}:
                return operation.request.model_construct()
            return await super().__call__(operation, request, token)

    rows = await tried(Open())
    assert of(rows, "observability_hub.report_waits").detail == "let through, and not refused (forbidden)"
    assert of(rows, "error_bus.health").detail == "answered with GetHealth"


async def test_from_another_machine_what_has_no_route_is_left_out() -> None:
    rows = await tried(FakeSystem(), is_over_handles=False)
    left_out = {row.operation for row in rows if row.outcome is Outcome.LEFT_OUT}
    assert left_out >= {"report_waits", "snapshot", *(each.name for each in AGENT_HOST_OPERATIONS)}
    assert not [row for row in rows if row.outcome is Outcome.FAILED]


async def test_where_no_host_of_agents_runs_it_is_said_and_well() -> None:
    system = FakeSystem()
    system.hosts = ()
    rows = await tried(system)
    absent = {row.operation for row in rows if row.outcome is Outcome.ABSENT}
    assert absent == set(BY_SERVICE["agent_host"])
    assert all(row.is_well for row in rows)


async def test_a_registry_that_is_away_costs_its_own_rows_only() -> None:
    system = FakeSystem()
    for name in BY_SERVICE["core_orchestrator"]:
        system.failing[f"core_orchestrator.{name}"] = ServiceUnavailable("away")
    rows = await tried(system)
    assert {row.service for row in rows if row.outcome is Outcome.FAILED} == {"core_orchestrator"}


def test_a_trial_names_an_operation_that_there_is() -> None:
    assert all(operation_of(trial).key == trial.key for trial in ALL_TRIALS)
