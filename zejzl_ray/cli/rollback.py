"""``zejzl rollback``: the release before, on all machines of a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson
from zejzl_ray.cluster_check.reach import Reach
from zejzl_ray.cluster_file.read import read_cluster_file
from zejzl_ray.cluster_release.rollback import Rollback
from zejzl_ray.settings import setting_names


def rollback(
    file: Annotated[Path, typer.Argument(help="The cluster file.", show_default=True)] = Path("cluster.yaml"),
    to: Annotated[
        str, typer.Option(help="A release that is installed on all machines; unset: the one before.")
    ] = "",
    state_restored: Annotated[
        bool,
        typer.Option("--state-restored", help="The state is of that release's time: a back-up was restored."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go back to the release before on all machines: its code, its config, the settings that it was started with.

    The state stays: nothing that was acknowledged is lost. Where the release before could not read it, nothing is
    changed, and the way is named. Nodes that run are started again; repeated, it does what is left to do.
    """
    cluster = read_cluster_file(file).require()
    plan = Rollback(cluster, Reach(cluster), setting_names(), lambda line: say(line, "dim")).run(
        to=to, is_state_restored=state_restored
    )
    if as_json:
        print_json({"release": plan.target, "left": plan.leaving, "is_started": plan.is_up})
        return
    typer.echo(f"{plan.target} is the release of {', '.join(machine.name for machine in cluster.machines)}")
    say(
        "services start in the background: `zejzl status`"
        if plan.is_up
        else "the cluster is down: `ray up` starts it"
    )
