"""``zejzl node ports``: what a firewall has to let through between the machines."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import output, print_json
from zejzl_ray.cluster.firewall import firewall_ports
from zejzl_ray.settings import load_settings


def ports(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the TCP ports that machines of a cluster need of one another, for a firewall; starts and asks nothing.

    As the settings of this machine say, so ask with those of the cluster. What is not in the list stays on loopback:
    `zejzl doors`.
    """
    found = firewall_ports(load_settings())
    if as_json:
        print_json({"ports": [port.model_dump() for port in found]})
        return
    table = Table(title="ports between machines (TCP)", title_justify="left", header_style="bold")
    table.add_column("port", no_wrap=True)
    for column in ("at", "reached by", "what", "setting"):
        table.add_column(column)
    for port in found:
        table.add_row(port.shown, Text(port.at), Text(port.caller), Text(port.what), Text(port.setting))
    output.print(table)
