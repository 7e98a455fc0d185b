"""``zejzl cluster``: a cluster of several machines as a whole; write its file, say what is wrong with it, stop it.

Exit codes: 0 all is well, 1 something is not or the command failed, 2 wrong usage.
"""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.cluster_down import down, purge
from zejzl_ray.cli.cluster_init import init
from zejzl_ray.cli.cluster_takeover import handback, takeover
from zejzl_ray.cli.console import errors, output, print_json
from zejzl_ray.cluster_check.facts import ClusterFacts, Phase
from zejzl_ray.cluster_check.finding import HERE
from zejzl_ray.cluster_check.gather import Gathering
from zejzl_ray.cluster_check.judge import Judgement, judge
from zejzl_ray.cluster_check.progress import Progress
from zejzl_ray.cluster_file.model import ClusterFile
from zejzl_ray.cluster_file.read import read_cluster_file
from zejzl_ray.errors import ZejzlError
from zejzl_ray.fleet.consolidation_report import finding_data
from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.sources import default_fleet_file
from zejzl_ray.settings import load_settings

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(init)
app.command()(takeover)
app.command()(handback)
app.command()(down)
app.command()(purge)

ClusterPath = Annotated[Path, typer.Argument(help="The cluster file.", show_default=True)]
DEFAULT_FILE: Final = Path("cluster.yaml")


@app.command()
def check(
    file: ClusterPath = DEFAULT_FILE,
    before: Annotated[bool, typer.Option("--before", help="As if nothing had been started yet.")] = False,
    after: Annotated[
        bool, typer.Option("--after", help="All machines should be in the cluster by now.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what keeps the machines of a cluster file from being one cluster; exit code 0 only when all is well.

    Run it where `ray up` is run. Every machine is asked over ssh, all at once; nothing is changed on them. Without
    --before and --after the machines themselves say whether the cluster has been started.
    """
    if before and after:
        raise typer.BadParameter("give --before or --after, not both")
    fleet = _fleet()
    names = {machine.address: name for name, machine in fleet.machines.items() if machine.address}
    read = read_cluster_file(file, names)
    if read.cluster is None:
        if as_json:
            found = [finding_data(finding) for finding in read.findings]
            print_json({"is_well": False, "file": str(file), "file_findings": found})
        else:
            for finding in read.findings:
                typer.echo(str(finding))
        raise typer.Exit(1)
    phase = Phase.BEFORE if before else Phase.AFTER if after else None
    facts = asyncio.run(_gather(read.cluster, phase, fleet))
    judgement = judge(facts)
    if as_json:
        print_json(_as_data(file, facts, judgement))
    else:
        _show(facts, judgement)
    raise typer.Exit(0 if judgement.is_well else 1)


async def _gather(cluster: ClusterFile, phase: Phase | None, fleet: Fleet) -> ClusterFacts:
    progress = Progress(
        lambda line: errors.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
    )
    cards = {name: tuple(card.name for card in machine.gpus) for name, machine in fleet.machines.items()}
    telling = asyncio.create_task(progress.tell())
    try:
        return await Gathering(cluster, say=progress.say, fleet_gpus=cards).facts(phase)
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


def _fleet() -> Fleet:
    """Return the fleet that would be loaded; an empty one where there is none, since this is not about the fleet."""
    try:
        path = load_settings().fleet_file or default_fleet_file()
        return load_fleet([path]).raise_if_invalid()
    except ZejzlError:
        return Fleet()


def _as_data(file: Path, facts: ClusterFacts, judgement: Judgement) -> dict[str, object]:
    return {
        "is_well": judgement.is_well,
        "file": str(file),
        "phase": judgement.phase.value,
        "machines": [
            {
                "name": machine.machine.name,
                "address": machine.machine.address,
                "role": "head" if machine.is_head else "worker",
                "is_answering": machine.own is not None,
            }
            for machine in facts.machines
        ],
        "checks": list(judgement.checks),
        "findings": [finding.as_dict() for finding in judgement.findings],
        "unknown": [
            {"machine": row.machine, "question": row.question, "why": row.why} for row in judgement.unknown
        ],
    }


def _count(judgement: Judgement) -> str:
    found, unknown = len(judgement.findings), len(judgement.unknown)
    text = f"{found} finding{'' if found == 1 else 's'}"
    return f"{text}, {unknown} not looked at" if unknown else text


def _show(facts: ClusterFacts, judgement: Judgement) -> None:
    machines = ", ".join(f"{found.machine.name} ({found.machine.address})" for found in facts.machines)
    if facts.head.machine != facts.cluster.head:
        machines += f", {facts.head.machine.name} is the head since its takeover"
    when = "before the start" if judgement.phase is Phase.BEFORE else "after the start"
    head = f"{len(judgement.checks)} checks {when} of {machines}"
    if judgement.is_well:
        output.print(f"{head}: all is well", highlight=False, soft_wrap=True)
        return
    output.print(f"{head}: {_count(judgement)}", highlight=False, soft_wrap=True)
    table = Table(header_style="bold", show_lines=True)
    table.add_column("machine", no_wrap=True)
    table.add_column("what", overflow="fold", ratio=3)
    table.add_column("remedy", overflow="fold", ratio=2)
    for finding in judgement.findings:
        name = "this computer" if finding.machine == HERE else finding.machine
        table.add_row(name, Text(finding.what), Text(finding.remedy))
    for row in judgement.unknown:
        table.add_row(row.machine, Text(f"not looked at ({row.question}): {row.why}"), Text("Try again."))
    output.print(table)
    sys.stdout.flush()
