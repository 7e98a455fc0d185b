"""``zejzl node state``: whether the node of this machine is up, for health checks."""

from typing import Annotated

import typer

from zejzl_ray.cli.console import output, print_json
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.settings import load_settings


def state(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say whether the Ray node of this machine is up, as its supervisor has it; calls nobody.

    Exit code 0 when it is up, 1 when it is not: starting, waiting for its head, restarting, stopping, stopped, failed.
    """
    record = read_supervisor_record(load_settings().data_path)
    is_alive = record is not None and record.is_alive
    is_up = record is not None and is_alive and record.state == "up"
    machine = "" if record is None else record.node.machine
    word = "none was started" if record is None else record.state if is_alive else "its supervisor is gone"
    note = "" if record is None or (is_up and not record.is_unasked) else record.note
    if as_json:
        print_json({"machine": machine, "is_up": is_up, "state": word, "note": note})
    else:
        output.print(
            f"node {machine}: {word}{f' ({note})' if note else ''}".replace(" :", ":"), highlight=False
        )
    raise typer.Exit(0 if is_up else 1)
