"""Runs all trials, one after the other, and removes what they made."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import ValidationError

from zejzl_ray.cluster.mail_directory import HOST_KEY
from zejzl_ray.contracts import agent_host, orchestrator, people, policy, secrets, security_gateway, tokens
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import BY_SERVICE, NODE_AGENT, SERVICE_NAMES
from zejzl_ray.errors import ZejzlError
from zejzl_ray.selftest import gateway_trials, hub_trials, registry_trials
from zejzl_ray.selftest.process_trials import HOST_TRIALS, NODE_TRIALS, every_service
from zejzl_ray.selftest.trial import Bench, Call, Lacks, Outcome, Row, Trial

Report = Callable[[str], None]
CALL_LIMIT_S: Final = 30.0
_PRESENT: Final = (
    orchestrator.AgentState.HEALTHY,
    orchestrator.AgentState.DEGRADED,
    orchestrator.AgentState.UNHEALTHY,
    orchestrator.AgentState.STARTING,
)
_LIST_AGENTS: Final = BY_SERVICE[orchestrator.SERVICE]["list_agents"]
_LIST_MACHINES: Final = BY_SERVICE[orchestrator.SERVICE]["list_machines"]
_EXPLAIN: Final = BY_SERVICE[security_gateway.SERVICE]["explain_access"]

# Before and after the others come the trials that make and remove the program and the person.
SERVICE_TRIALS: Final[tuple[Trial, ...]] = (
    *gateway_trials.FIRST,
    *gateway_trials.TRIALS,
    *registry_trials.TRIALS,
    *hub_trials.TRIALS,
    *(trial for service in SERVICE_NAMES for trial in every_service(service)),
)
ALL_TRIALS: Final = (*SERVICE_TRIALS, *NODE_TRIALS, *HOST_TRIALS, *gateway_trials.LAST)


async def run_trials(
    call: Call,
    now_s: float,
    *,
    is_auth_off: Callable[[], bool],
    is_over_handles: bool,
    report: Report = lambda _: None,
) -> list[Row]:
    """Try every operation once, those of node agents and hosts of agents at each of them.

    Args:
        call: the way to operations.
        now_s: wall time.
        is_auth_off: whether calls without a right are let through; those that would hurt are left out then.
        is_over_handles: whether operations without a route can be called from here; else they are left out.
        report: told of each service before it is tried.

    Returns:
        A row for each trial, in the order of trying.
    """
    bench = Bench(call, now_s)
    run = _Run(bench, is_auth_off, is_over_handles)
    try:
        await run.all_of(SERVICE_TRIALS, report)
        await run.at_each(NODE_AGENT, NODE_TRIALS, await _machines(bench), report)
        await run.at_each(agent_host.SERVICE, HOST_TRIALS, await _hosts(bench), report)
        await run.all_of(gateway_trials.LAST, lambda _: None)
    finally:
        await _clean_up(bench)
    return run.rows


class _Run:
    def __init__(self, bench: Bench, is_auth_off: Callable[[], bool], is_over_handles: bool) -> None:
        self._bench = bench
        self._is_auth_off = is_auth_off
        self._is_over_handles = is_over_handles
        self.rows: list[Row] = []

    async def all_of(self, trials: Sequence[Trial], report: Report) -> None:
        said = ""
        for trial in trials:
            operation = operation_of(trial)
            if operation.service != said:
                said = operation.service
                report(said)
            self.rows.append(await self._one(trial, operation))

    async def at_each(
        self, service: str, trials: Sequence[Trial], targets: Sequence[str], report: Report
    ) -> None:
        for target in targets:
            self._bench.target = target
            report(f"{service}:{target}")
            for trial in trials:
                operation = operation_of(trial)
                # Over HTTP the host stands in the path, over a handle it is the actor's name.
                at = operation if operation.path else operation.at(f"{service}:{target}")
                self.rows.append(await self._one(trial, at, shown=f"{service}:{target}"))
        if not targets:
            self.rows += [
                Row(service, operation_of(trial).name, Outcome.ABSENT, "none runs") for trial in trials
            ]

    async def _one(self, trial: Trial, operation: Operation, shown: str = "") -> Row:
        begun_s = time.monotonic()

        def row(outcome: Outcome, detail: str = "") -> Row:
            ms = (time.monotonic() - begun_s) * 1000
            return Row(shown or operation.service, operation.name, outcome, trial.how, ms, detail)

        try:
            if reason := await self._reason_to_leave_out(trial, operation):
                return row(Outcome.LEFT_OUT, reason)
            if trial.prepare is not None:
                await trial.prepare(self._bench)
            request, token = trial.request(self._bench), self._bench.token_of(trial.who)
            begun_s = time.monotonic()
            async with asyncio.timeout(CALL_LIMIT_S):
                reply = await self._bench.call(operation, request, token)
        except ZejzlError as error:
            is_expected = error.code in trial.refused and not isinstance(error, Lacks)
            return row(Outcome.REFUSED, error.code) if is_expected else row(Outcome.FAILED, _told(error))
        except (TimeoutError, ValidationError) as error:
            return row(Outcome.FAILED, f"{type(error).__name__}: no answer that can be read")
        if trial.refused:
            return row(Outcome.FAILED, f"let through, and not refused ({', '.join(trial.refused)})")
        if not isinstance(reply, operation.reply):
            return row(Outcome.FAILED, f"answered with {type(reply).__name__}")
        if trial.keep is not None:
            trial.keep(self._bench, reply)
        return row(Outcome.OK)

    async def _reason_to_leave_out(self, trial: Trial, operation: Operation) -> str:
        if not operation.path and not self._is_over_handles:
            return "over handles only: run this on a machine of the cluster"
        if not trial.is_without_right:
            return ""
        if self._is_auth_off():
            return "authentication is off: it would be let through"
        # The policy may give programs more than the shipped one does.
        question = policy.ExplainAccess(subject=self._bench.program, operation=trial.key)
        answer: Any = await self._bench.call(_EXPLAIN, question, None)
        return "the policy lets every program do it" if answer.is_allowed else ""


def operation_of(trial: Trial) -> Operation:
    """Return the operation that a trial tries."""
    service, _, name = trial.key.partition(".")
    return BY_SERVICE[service][name]


async def _machines(bench: Bench) -> list[str]:
    try:
        reply: Any = await bench.call(_LIST_MACHINES, orchestrator.ListMachines(), None)
    except ZejzlError:
        return []  # the registry's own row says why
    return [machine.name for machine in reply.machines if machine.is_alive]


async def _hosts(bench: Bench) -> list[str]:
    found: set[str] = set()
    cursor = ""
    try:
        while True:
            request = orchestrator.ListAgents(
                metadata_key=HOST_KEY, cursor=cursor, limit=orchestrator.MAX_PAGE
            )
            page: Any = await bench.call(_LIST_AGENTS, request, None)
            found |= {str(agent.metadata[HOST_KEY]) for agent in page.agents if agent.state in _PRESENT}
            if not (cursor := page.next_cursor):
                return sorted(found)
    except ZejzlError:
        return sorted(found)


async def _clean_up(bench: Bench) -> None:
    """Remove what is left; each is safe to repeat, and what is not there is no error."""
    gateway = BY_SERVICE[security_gateway.SERVICE]
    deregister = BY_SERVICE[orchestrator.SERVICE]["deregister_agent"]
    left: list[tuple[Operation, Contract]] = [
        (deregister, orchestrator.DeregisterAgent(name=bench.name, reason="self-test")),
        (deregister, orchestrator.DeregisterAgent(name=registry_trials.second(bench), reason="self-test")),
        (gateway["revoke_secret"], secrets.RevokeSecret(name=bench.secret)),
        (gateway["delete_user"], people.DeleteUser(user=bench.person)),
    ]
    if credential := bench.kept.get("credential"):
        left.append((gateway["revoke_credential"], tokens.RevokeCredential(credential_id=credential)))
    for operation, request in left:
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                await bench.call(operation, request, None)
        except (ZejzlError, TimeoutError):
            continue


def _told(error: ZejzlError) -> str:
    return f"{error.code}: {error.message}"
