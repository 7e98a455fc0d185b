"""``zejzl cluster init``: asks for the few values that a user must set, and writes the cluster file."""

import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import output, print_json
from zejzl_ray.cluster_file.fill_in import Values, fill_in, fill_in_redis, issue_words
from zejzl_ray.cluster_file.model import DeclaredMachine
from zejzl_ray.cluster_file.read import parse_cluster_file
from zejzl_ray.cluster_file.release import without_release
from zejzl_ray.cluster_file.start_command import parse_worker
from zejzl_ray.cluster_file.template import CLUSTER_TEMPLATE, REDIS_TEMPLATE, read_template
from zejzl_ray.cluster_file.values_file import ClusterValues, read_values
from zejzl_ray.errors import InvalidInput
from zejzl_ray.fleet.new_files import write_files

_KEY: Final = "~/.ssh/id_ed25519"
_MAX_QUESTIONS: Final = 64

HeadAddress = Annotated[
    str, typer.Option(help="Address of the head, as the others reach it.", show_default=False)
]
HeadName = Annotated[str, typer.Option(help="Name of the head.", show_default="mainpc")]
ValuesFile = Annotated[
    Path | None,
    typer.Option(
        "--values", help="File with these values, as config/cluster_values.yaml; flags go before it."
    ),
]
Workers = Annotated[
    list[str] | None, typer.Option("--worker", help="NAME=ADDRESS of a worker; may be repeated.")
]
User = Annotated[str, typer.Option(help="User that ssh logs in as on all machines.", show_default="you")]
Key = Annotated[str, typer.Option(help="Private key of ssh, without passphrase.", show_default=_KEY)]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
RedisConf = Annotated[
    Path | None,
    typer.Option(help="Write Redis' configuration for the head here too, and beside it one for each worker."),
]
DataDir = Annotated[
    str,
    typer.Option(help="Data directory on the head, for Redis' configuration.", show_default="of the user"),
]
Release = Annotated[
    bool,
    typer.Option(
        "--release/--no-release",
        help="Let `ray up` install the project; without, each machine has zejzl on PATH, under one path.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are already there.")]
NoInput = Annotated[bool, typer.Option("--yes", "--no-input", help="Ask nothing; take what is given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; asks nothing.")]


def init(
    head_address: HeadAddress = "",
    worker: Workers = None,
    head_name: HeadName = "",
    values_file: ValuesFile = None,
    user: User = "",
    key: Key = "",
    output_file: Output = Path(CLUSTER_TEMPLATE),
    redis_conf: RedisConf = None,
    data_dir: DataDir = "",
    release: Release = True,
    force: Force = False,
    no_input: NoInput = False,
    as_json: AsJson = False,
) -> None:
    """Write a cluster file with your addresses, user and key; what is not given is asked for.

    Nothing is written when a value is wrong. Each machine more is one --worker more, or one line more in the file.
    """
    ask = _ask if is_asking() and not no_input and not as_json else _nobody
    given = ClusterValues() if values_file is None else read_values(values_file)
    head_name = head_name or given.head_name or "mainpc"
    head_address = head_address or given.head_address or ask("Address of the head", "--head-address", None)
    pairs = [parse_worker(text) for text in worker] if worker else list(given.workers)
    if values_file is None and not worker:
        pairs = _asked_workers(ask)
    if not pairs:
        raise typer.BadParameter("Worker as NAME=ADDRESS is missing: give --worker, or workers in the file")
    if data_dir and not Path(data_dir).is_absolute():
        raise typer.BadParameter(f"--data-dir {data_dir} is no absolute path, and Redis needs one")
    user = user or given.ssh_user or ask("User for ssh", "--user", getpass.getuser())
    key = key or given.ssh_private_key or ask("Private key for ssh", "--key", _KEY)
    values = Values(
        head=DeclaredMachine(name=head_name, address=head_address),
        workers=tuple(DeclaredMachine(name=name, address=address) for name, address in pairs),
        ssh_user=user,
        ssh_private_key=key,
    )
    template = read_template(CLUSTER_TEMPLATE)
    text = fill_in(template if release else without_release(template), values)
    read = parse_cluster_file(text, str(output_file))
    if read.cluster is None:
        found = "\n".join(f"{finding.message}. {finding.remedy}" for finding in read.findings)
        raise InvalidInput(f"Nothing is written: {found}")
    files = {output_file: text}
    if redis_conf is not None:
        home = data_dir or (f"/home/{user}" if user != "root" else "/root") + "/.local/share/zejzl"
        template = read_template(REDIS_TEMPLATE)
        files[redis_conf] = fill_in_redis(template, values.head, home)
        for machine in values.workers:
            beside = redis_conf.with_name(f"{redis_conf.stem}-{machine.name}{redis_conf.suffix}")
            files[beside] = fill_in_redis(template, machine, home)
    write_files(files, is_overwriting=force)
    if as_json:
        print_json(
            {
                "files": [str(path) for path in files],
                "machines": [m.model_dump() for m in read.cluster.machines],
            }
        )
        return
    for path in files:
        output.print(f"wrote {path}", highlight=False, soft_wrap=True)
    for line in _next_steps(values, output_file, has_release=release):
        output.print(line, highlight=False, markup=False, soft_wrap=True)


def is_asking() -> bool:
    """Return whether there is a terminal, and so somebody to ask."""
    return sys.stdin.isatty()


def _ask(question: str, flag: str, default: str | None) -> str:
    return str(typer.prompt(question, default=default)).strip()


def _nobody(question: str, flag: str, default: str | None) -> str:
    if default is None:
        raise typer.BadParameter(f"{question} is missing: give {flag}")
    return default


def _asked_workers(ask: Callable[[str, str, str | None], str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while len(found) < _MAX_QUESTIONS:
        default = None if not found else ""
        text = ask(
            "Worker as NAME=ADDRESS" if not found else "Another worker (empty: no more)", "--worker", default
        )
        if not text:
            break
        found.append(parse_worker(text))
    return found


def _next_steps(values: Values, file: Path, *, has_release: bool) -> list[str]:
    lines = ["next, on the head:"]
    lines += ["  zejzl release build", f"  zejzl release send {file}"] if has_release else []
    lines += ["  zejzl node token", f"  zejzl tls init --machine {values.head.name}"]
    lines += [
        f"  zejzl tls {issue_words(worker)} --ssh {values.ssh_user}@{worker.address}"
        for worker in values.workers
    ]
    return [*lines, f"  zejzl cluster check {file}", f"  ray up -y {file}"]
