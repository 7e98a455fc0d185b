"""``zejzl deadlocks``: circles of agents that waited for one another, and how agents that wait are doing."""

import sys
from typing import Annotated, Final

import orjson
import typer

from zejzl_ray.cli.console import print_json, printable, say
from zejzl_ray.cli.gateway import AsJson, show_table, when
from zejzl_ray.contracts.observability_hub import MAX_PAGE, DeadlockEvent, DeadlockStatus, WaitCondition
from zejzl_ray.sdk.client import Client
from zejzl_ray.sdk.connect import connect

_TROUBLE: Final = (WaitCondition.DEADLOCKED, WaitCondition.STALLED)


def deadlocks(
    agent: Annotated[str, typer.Option(help="Only deadlocks with this agent.")] = "",
    limit: Annotated[int, typer.Option("-n", min=1, max=MAX_PAGE, help="How many, newest first.")] = 20,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on with those that are found from now on, until Ctrl-C."),
    ] = False,
    stacks: Annotated[bool, typer.Option("--stacks", help="Where each party waits.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show deadlocks that were found, newest first, and the agents that stand still now.

    With --json one object; with --follow one line a deadlock, oldest first.
    """
    with connect() as client:
        status = client.deadlock_status()
        found = client.deadlocks(agent or None, limit=limit)
        if follow:
            # What is found between the two questions is in the second answer, or comes with the watch.
            since = max([status.detected, *(event.revision for event in found)])
            _follow(client, found, since, agent, stacks=stacks, as_json=as_json)
            return
    if as_json:
        print_json(
            {
                "deadlocks": [each.model_dump(mode="json") for each in found],
                "status": status.model_dump(mode="json"),
            }
        )
        return
    _show(found, stacks=stacks)
    _show_status(status)


def _follow(
    client: Client, found: list[DeadlockEvent], since: int, agent: str, *, stacks: bool, as_json: bool
) -> None:
    for event in reversed(found):
        _tell(event, stacks=stacks, as_json=as_json)
    for event in client.watch_deadlocks(since):
        if not agent or agent in event.deadlock.agents:
            _tell(event, stacks=stacks, as_json=as_json)


def _tell(event: DeadlockEvent, *, stacks: bool, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(event.model_dump(mode="json")).decode() + "\n")
    else:
        typer.echo(
            f"{when(event.deadlock.found_at_s)} {printable(_circle(event))}: {printable(_ended(event))}"
        )
        if stacks:
            _show_stacks(event)
    sys.stdout.flush()


def _show(found: list[DeadlockEvent], *, stacks: bool) -> None:
    if not found:
        say("no deadlock is kept")
        return
    rows = [
        (
            str(event.revision),
            when(event.deadlock.found_at_s),
            _circle(event),
            ", ".join(event.deadlock.hosts),
            f"{max((party.waits_s for party in event.deadlock.parties), default=0.0):.1f} s",
            _ended(event),
        )
        for event in found
    ]
    show_table("deadlocks", ("no.", "found", "who waits for whom", "hosts", "waited", "end"), rows)
    if stacks:
        for event in found:
            typer.echo(f"no. {event.revision}")
            _show_stacks(event)


def _show_stacks(event: DeadlockEvent) -> None:
    for party in event.deadlock.parties:
        typer.echo(f"  {printable(party.agent)} waits for {printable(party.of)} ({printable(party.awaits)})")
        for line in party.stack.splitlines():
            typer.echo(f"    {printable(line)}")


def _show_status(status: DeadlockStatus) -> None:
    rows = [
        (each.agent, each.host, each.condition, f"{each.longest_s:.1f} s", str(each.queued_requests))
        for each in status.agents
        if each.condition in _TROUBLE
    ]
    if rows:
        show_table("standing still now", ("agent", "host", "condition", "for", "requests waiting"), rows)
    say(
        f"{status.detected} found, {status.broken} ended by failing a request; "
        f"{status.agents_monitored} agents of {status.hosts} hosts wait for replies now"
    )


def _circle(event: DeadlockEvent) -> str:
    agents = event.deadlock.agents
    return " -> ".join((*agents, *agents[:1]))


def _ended(event: DeadlockEvent) -> str:
    broken = event.deadlock.broken
    return f"request {broken} failed" if broken else "left alone"
