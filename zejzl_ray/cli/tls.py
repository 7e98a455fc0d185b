"""``zejzl tls``: the cluster's own certificate authority, and a certificate for each machine.

Exit codes: 0 done, 1 the command failed or a certificate expires within 30 days, 2 wrong usage.
"""

import datetime
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from zejzl_ray.cli.console import errors, output, print_json
from zejzl_ray.cluster.secret_file import make_private_directory
from zejzl_ray.cluster.this_machine import own_addresses
from zejzl_ray.errors import InvalidInput
from zejzl_ray.settings import load_settings
from zejzl_ray.tls.credentials import own_machine, tls_directory
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.listing import CertificateRow, certificate_rows
from zejzl_ray.tls.names import certificate_names, check_machine
from zejzl_ray.tls.remote import RemoteMachine, pem_blocks

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_MAX_INPUT_BYTES: Final = 64 * 1024

Machine = Annotated[str, typer.Argument(help="Name of the machine, as in `zejzl node start --machine`.")]
Addresses = Annotated[
    list[str] | None, typer.Option("--address", help="IP address at which others reach it; may be repeated.")
]
HostNames = Annotated[
    list[str] | None, typer.Option("--name", help="Further host name of it; may be repeated.")
]
Ssh = Annotated[str, typer.Option("--ssh", help="USER@HOST: make the key there, so that it never travels.")]
Identity = Annotated[Path | None, typer.Option("--identity", help="Private key file for ssh.")]
IsNewKey = Annotated[bool, typer.Option("--new-key", help="Make a new private key too.")]
IsForced = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def init(
    machine: Annotated[str, typer.Option(help="Name of this machine; unset: its host name.")] = "",
    address: Addresses = None,
    name: HostNames = None,
    force: IsForced = False,
) -> None:
    """Make the authority, and the certificate of this machine; what is there already is kept.

    With --force the authority is made anew: every other machine then needs `zejzl tls issue --force`, and the
    whole cluster a restart. Without --address the certificate names all addresses that this machine has.
    """
    directory = _directory()
    own = machine or own_machine(directory.path) or socket.gethostname().partition(".")[0]
    names = certificate_names(own, (socket.gethostname(), *(name or ())), address or own_addresses())
    is_new = directory.init(names, time.time(), is_forced=force)
    _say(f"{'made' if is_new else 'is there already'}: authority and certificate of {own}")
    _list(directory.path, own)
    if is_new:
        _say(
            "Keep a copy of ca.key where nobody else reads it: whoever has it can join the cluster's network."
        )


@app.command()
def issue(
    machine: Machine,
    address: Addresses = None,
    name: HostNames = None,
    ssh: Ssh = "",
    identity: Identity = None,
    force: IsForced = False,
) -> None:
    """Make the certificate of another machine, and with --ssh put it there."""
    if not address:
        raise typer.BadParameter("give at least one --address: the others check it")
    directory = _directory()
    names = certificate_names(machine, name or (), address)
    if not ssh:
        path = directory.issue(names, time.time(), is_forced=force)
        _list(directory.path, machine)
        _say(
            f"Copy ca.pem, {path.name} and {path.stem}.key to the same directory of {machine}, mode 0600, and "
            f"remove the key here. With --ssh the key would have been made there."
        )
        return
    directory.require_free(machine, is_forced=force)
    remote = RemoteMachine(ssh, identity)
    request = remote.request(machine, is_new_key=force)
    certificate, authority = directory.sign(names, request, time.time())
    remote.accept(machine, certificate, authority, is_forced=force)
    directory.keep(machine, certificate)
    _say(f"{machine} has its certificate")


@app.command()
def renew(
    machine: Annotated[str, typer.Argument(help="Name of the machine; unset: this one.")] = "",
    new_key: IsNewKey = False,
    ssh: Ssh = "",
    identity: Identity = None,
) -> None:
    """Replace a certificate by one that is valid for a year from now, with the same names.

    A running ingress takes it at once. Ray's processes read theirs when they start: restart the node.
    """
    directory = _directory()
    wanted = machine or own_machine(directory.path)
    if wanted is None:
        raise InvalidInput("This machine has no certificate.", "Make one with `zejzl tls init`.")
    if ssh:
        remote = RemoteMachine(ssh, identity)
        names = directory.names(wanted)
        request = remote.request(wanted, is_new_key=new_key)
        certificate, authority = directory.sign(names, request, time.time())
        remote.accept(wanted, certificate, authority, is_forced=False)
        directory.keep(wanted, certificate)
    else:
        directory.renew(wanted, time.time(), is_new_key=new_key)
        _renew_running_ingress(directory.path, wanted)
    _say(f"{wanted}: renewed; `zejzl down` and `up`, or `ray up` again, let Ray's processes take it too")


@app.command()
def show(as_json: AsJson = False) -> None:
    """List the certificates that lie here; exit code 1 when one expires within 30 days."""
    directory = _directory()
    rows = certificate_rows(directory.path, time.time())
    own = own_machine(directory.path)
    if as_json:
        print_json([_as_data(row, own) for row in rows])
    elif rows:
        output.print(_table(rows, own))
    else:
        _say(f"no certificates in {directory.path}; `zejzl tls init` makes them")
    ending = [row.name for row in rows if row.is_ending_soon]
    if ending:
        errors.print(f"expires within 30 days: {', '.join(ending)}", style="bold red", markup=False)
        raise typer.Exit(1)


@app.command(hidden=True)
def request(machine: Machine, new_key: IsNewKey = False) -> None:
    """Print the request for a certificate of this machine's key; `issue --ssh` runs this here."""
    sys.stdout.write(_directory().request(check_machine(machine), is_new_key=new_key).decode())


@app.command(hidden=True)
def accept(machine: Machine, force: IsForced = False) -> None:
    """Take certificate and authority from standard input; `issue --ssh` runs this here."""
    given = pem_blocks(sys.stdin.buffer.read(_MAX_INPUT_BYTES))
    if len(given) != 2:
        raise InvalidInput("Standard input does not hold a certificate and its authority.")
    directory = _directory()
    directory.accept(check_machine(machine), given[0], given[1], is_forced=force)
    _renew_running_ingress(directory.path, machine)


def _renew_running_ingress(directory: Path, machine: str) -> None:
    """Hand the certificate to a proxy that runs on this machine, if this is the machine's own."""
    from actors.ingress_certificate import renew_in_running_ingress

    if machine == own_machine(directory) and renew_in_running_ingress(load_settings()):
        _say("the running ingress shows the new certificate")


def _directory() -> TlsDirectory:
    data_dir = load_settings().data_path
    make_private_directory(data_dir)
    return TlsDirectory(tls_directory(data_dir))


def _list(directory: Path, machine: str) -> None:
    for name in ("ca.pem", "ca.key", f"{machine}.pem", f"{machine}.key"):
        if (directory / name).exists():
            output.print(str(directory / name), highlight=False, soft_wrap=True)


def _as_data(row: CertificateRow, own: str | None) -> dict[str, object]:
    return {
        "name": row.name,
        "role": row.role,
        "is_this_machine": row.role == "machine" and row.name == own,
        "names": list(row.names),
        "expires_at_s": row.expires_at_s,
        "days_left": round(row.days_left, 1),
        "is_ending_soon": row.is_ending_soon,
        "has_key": row.has_key,
        "is_trusted": row.is_trusted,
    }


def _table(rows: tuple[CertificateRow, ...], own: str | None) -> Table:
    table = Table("certificate", "expires", "days left", "key here", "made out to", box=None)
    for row in rows:
        day = datetime.datetime.fromtimestamp(row.expires_at_s, datetime.UTC)
        what = "authority" if row.role == "authority" else ", ".join(row.names)
        what += " (this machine)" if row.role == "machine" and row.name == own else ""
        what += "" if row.is_trusted else " (of another authority)"
        table.add_row(
            row.name, f"{day:%Y-%m-%d}", f"{row.days_left:.0f}", "yes" if row.has_key else "no", what
        )
    return table


def _say(text: str) -> None:
    output.print(text, markup=False, highlight=False, soft_wrap=True)
