"""``zejzl fleet``: read, check, order, draw and convert startup configurations.

Results go to standard output; where no file is given, the one that is taken is named on standard error.
Exit codes: 0 fine, 1 the fleet has errors, differs or is stale, 2 wrong usage.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from zejzl_ray.cli.console import print_json
from zejzl_ray.cli.fleet_tables import print_table, short, show_all, show_one
from zejzl_ray.fleet.consolidate_files import consolidate_files
from zejzl_ray.fleet.consolidation_files import consolidation_files
from zejzl_ray.fleet.consolidation_report import finding_data, report_data
from zejzl_ray.fleet.diff import diff_fleets
from zejzl_ray.fleet.load import LoadedFleet, load_fleet
from zejzl_ray.fleet.migrate import migrate_files
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.new_files import write_files
from zejzl_ray.fleet.order import start_levels
from zejzl_ray.fleet.per_agent import DEFAULT_FLEET, FLEET_VARIABLE
from zejzl_ray.fleet.port_matrix import REMEDY, matrix_markdown, port_rows
from zejzl_ray.fleet.schema import json_schema
from zejzl_ray.fleet.sources import default_fleet_file

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_USUAL: Final = f"{DEFAULT_FLEET} here, else the shipped one"
_OVERLAY_HELP: Final = (
    "Overlay to lay over the files: a file, or the name of one in overlays/ beside the first file."
)

Paths = Annotated[list[Path] | None, typer.Argument(help="Fleet files, old or new.", show_default=_USUAL)]
Files = Annotated[list[Path] | None, typer.Option("--fleet", "-f", help="Fleet file; may be repeated.")]
Overlay = Annotated[str | None, typer.Option("--overlay", help=_OVERLAY_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are already there.")]


@app.command()
def validate(
    paths: Paths = None,
    overlay: Overlay = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a fleet; each finding is a line ``file:line:column: error: message``."""
    loaded = _load(paths, overlay)
    is_good = not loaded.errors and not (strict and loaded.warnings)
    fleet = loaded.fleet
    counts = {
        "agents": len(fleet.agents) if fleet else 0,
        "services": len(fleet.services) if fleet else 0,
        "machines": len(fleet.machines) if fleet else 0,
        **({"hosts": len(fleet.hosts)} if fleet and fleet.hosts else {}),
        "errors": len(loaded.errors),
        "warnings": len(loaded.warnings),
    }
    if as_json:
        print_json(
            {"valid": is_good, **counts, "findings": [finding_data(finding) for finding in loaded.findings]}
        )
    else:
        for finding in loaded.findings:
            typer.echo(str(finding))
        typer.echo(", ".join(f"{count} {what}" for what, count in counts.items()))
    raise typer.Exit(0 if is_good else 1)


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="Agent, service, host or alias; all when left out.")
    ] = None,
    files: Files = None,
    overlay: Overlay = None,
    as_json: AsJson = False,
) -> None:
    """Show the fleet, or everything that is declared about one member."""
    fleet = _load(files, overlay).raise_if_invalid()
    if name is not None:
        show_one(fleet, name, as_json)
    elif as_json:
        print_json(fleet.model_dump(mode="json"))
    else:
        show_all(fleet)


@app.command()
def order(paths: Paths = None, overlay: Overlay = None, as_json: AsJson = False) -> None:
    """Print the start order, one level a line; what stands in one level can start side by side."""
    levels = start_levels(_load(paths, overlay).raise_if_invalid())
    if as_json:
        print_json({"levels": [list(level) for level in levels]})
        return
    for number, level in enumerate(levels):
        typer.echo(f"{number}: {', '.join(level)}")


@app.command()
def ports(
    paths: Paths = None,
    overlay: Overlay = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Compare with this page; exit 1 when stale.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the port allocation matrix as Markdown."""
    fleet = _load(paths, overlay).raise_if_invalid()
    page = matrix_markdown(fleet)
    if check is not None:
        is_current = check.is_file() and check.read_text(encoding="utf-8") == page
        if as_json:
            print_json({"file": str(check), "is_current": is_current})
        else:
            fault = "stale" if check.is_file() else "there is no such file"
            typer.echo(f"{check}: up to date" if is_current else f"{check}: {fault}. Make it: {REMEDY}")
        raise typer.Exit(0 if is_current else 1)
    if as_json:
        print_json([row.as_dict() for row in port_rows(fleet)])
    else:
        typer.echo(page, nl=False)


@app.command()
def migrate(
    files: Annotated[list[Path], typer.Argument(help="Old startup files.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; standard output when left out.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Convert old startup files into one file of the new schema; nothing is lost, expressions stay."""
    migrated = migrate_files(files, environment=os.environ)
    if out is not None:
        write_files({out: migrated.text}, is_overwriting=force)
    if as_json:
        fleet = migrated.fleet
        print_json(
            {
                "file": str(out) if out else None,
                "agents": len(fleet.agents),
                "findings": [finding_data(finding) for finding in migrated.findings],
                **({} if out else {"text": migrated.text}),
            }
        )
    elif out is None:
        typer.echo(migrated.text, nl=False)
        for finding in migrated.findings:
            typer.echo(str(finding), err=True)
    else:
        typer.echo(f"{out}: {len(migrated.fleet.agents)} agents of {len(migrated.fleet.machines)} machines")
        for finding in migrated.findings:
            typer.echo(str(finding))


@app.command()
def consolidate(  # typer reads the parameters, nobody calls it by position
    mainpc: Annotated[Path, typer.Argument(help="MainPC's startup file.")],
    pc2: Annotated[Path, typer.Argument(help="PC2's startup file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the two files, the report and the pictures.")
    ],
    unified: Annotated[
        Path | None, typer.Option("--unified", help="Write the fleet in the new schema too.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Make the known corrections too.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Put the five services in place of the agents they replace, in your own two files.

    Everything that does not change keeps its text. Nothing is written unless everything could be made.
    """
    made = consolidate_files(mainpc, pc2, is_correcting=fix, environment=os.environ)
    files = consolidation_files(made, out, unified)
    write_files(files, is_overwriting=force)
    data = report_data(made)
    if as_json:
        print_json({**data, "files": [str(path) for path in files]})
        return
    typer.echo(
        f"{data['agents_before']} agents -> {data['agents_after']} agents and {len(data['services'])} services, "
        f"{len(data['aliases'])} aliases; {len(made.rewired)} rewired, {len(made.corrected)} corrections; "
        f"faults: {len(made.gone)} gone, {len(made.after.findings)} left"
    )
    for path in files:
        typer.echo(f"wrote {path}")


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="Fleet file, or several with commas between them.")],
    new: Annotated[str, typer.Argument(help="What to compare it with.")],
    as_json: AsJson = False,
) -> None:
    """Show the differences in meaning between two fleets; exit 0 when there are none, 1 when there are."""
    first, second = (_load(_several(text), None) for text in (old, new))
    changes = diff_fleets(_readable(first), _readable(second))
    if as_json:
        print_json([change.as_dict() for change in changes])
    elif changes:
        table = Table("Part", "Name", "Field", "Old", "New")
        for change in changes:
            is_whole = not change.field
            before = "" if is_whole else short(change.old)
            after = change.kind.value if is_whole else short(change.new)
            table.add_row(change.part, change.name, change.field, before, after)
        print_table(table)
    raise typer.Exit(1 if changes else 0)


@app.command()
def schema(as_json: AsJson = True) -> None:
    """Print the JSON Schema of a fleet file, for editors."""
    print_json(json_schema())


def _load(paths: Sequence[Path] | None, overlay: str | None) -> LoadedFleet:
    chosen = list(paths or [])
    if not chosen:
        chosen = [_usual_file()]
        typer.echo(f"fleet file: {chosen[0]}", err=True)
    return load_fleet(chosen, environment=os.environ, overlay=_overlay_path(overlay, chosen[0]))


def _usual_file() -> Path:
    """Return the file that ``zejzl up`` would take, named from here where it lies here."""
    named = os.environ.get(FLEET_VARIABLE)
    if named:
        return Path(named)
    found = default_fleet_file()
    here = Path.cwd()
    return found.relative_to(here) if found.is_relative_to(here) else found


def _overlay_path(overlay: str | None, first: Path) -> Path | None:
    if overlay is None:
        return None
    if Path(overlay).suffix in (".yaml", ".yml") or "/" in overlay:
        return Path(overlay)
    return first.parent / "overlays" / f"{overlay}.yaml"


def _several(text: str) -> list[Path]:
    parts = text.split(",")
    if not all(parts):
        raise typer.BadParameter(f"{text!r} lacks the name of a file.")
    return [Path(part) for part in parts]


def _readable(loaded: LoadedFleet) -> Fleet:
    """Two fleets can be compared although they have faults, as long as they can be read."""
    return loaded.fleet if loaded.fleet is not None else loaded.raise_if_invalid()
