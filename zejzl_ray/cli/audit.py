"""``zejzl audit``: read, check and export the audit trail of all services; ``code`` is about agents' source.

Results go to standard output; a service that does not answer is named on standard error. Exit codes of ``verify``:
0 all chains are whole, 1 one is broken, 2 none is broken but something could not be read.
"""

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from zejzl_ray.auth.audit_chain import encode_entry
from zejzl_ray.auth.audit_fact import KINDS
from zejzl_ray.cli import audit_code, audit_reading
from zejzl_ray.cli.audit_reading import ChainState, ServedChain, TrailReader, Verdict, Wanted, verify_all
from zejzl_ray.cli.console import errors, output, print_json
from zejzl_ray.contracts.audit import AuditEntry
from zejzl_ray.errors import Conflict, InvalidInput
from zejzl_ray.sdk.connect import connect

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.command("code")(audit_code.code)

_FOLLOW_PERIOD_S: Final = 1.0
_LIST_EVERY: Final = 10  # polls between looks for new chains
_TAILED_CHAINS: Final = 100
_SEARCHED: Final = 10_000

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ChainName = Annotated[str, typer.Option("--chain", help="This chain alone.")]


@app.command()
def tail(
    count: Annotated[int, typer.Option("-n", "--lines", min=1, max=1000, help="How many entries.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")
    ] = False,
    subject: Annotated[str, typer.Option("--subject", help="Of this subject, such as user:ada.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Of this kind, such as denied.")] = "",
    chain: ChainName = "",
    as_json: AsJson = False,
) -> None:
    """Show the last entries of all chains in the order of their time; with filters, of the last 10,000 a chain."""
    if kind and kind not in KINDS:
        raise typer.BadParameter(f"there is no kind {kind!r}; there are {', '.join(sorted(KINDS))}.")
    wanted = Wanted(subject, kind)
    with connect() as client:
        reader = TrailReader(client)
        chains = _tailed(reader, chain)
        entries = _last(reader, chains, count, wanted)
        _name_unread(reader.unread)
        if follow:
            _print_lines(entries, as_json)
            _follow(reader, chain, chains, wanted, as_json)
        elif as_json:
            print_json({"entries": [_data(entry) for entry in entries], "unread": reader.unread})
        else:
            output.print(entry_table(entries))


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Check every chain, and all of them against the anchors in the gateway's; names the first broken entry."""
    with connect() as client:
        verdict = verify_all(TrailReader(client))
    if as_json:
        print_json({"chains": [_state_data(state) for state in verdict.states], "unread": verdict.unread})
    else:
        output.print(state_table(verdict.states))
        for state in verdict.states:
            if state.broken is not None:
                found = state.broken
                line = f"{found.chain}: broken at entry {found.index}: {found.fault}. {found.explanation}"
                output.print(_shown(line), style="bold red", markup=False, highlight=False, soft_wrap=True)
        _name_unread(verdict.unread)
    raise typer.Exit(exit_code(verdict))


@app.command()
def export(
    file: Annotated[Path, typer.Option("--output", "-o", help="Where to write; made with mode 0600.")],
    chain: ChainName = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is already there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write all entries as JSON lines, chain after chain; exit code 2 when something could not be read."""
    if file.exists() and not force:
        raise Conflict(f"already there: {file}.", "Choose another place, or overwrite with --force.")
    with connect() as client:
        reader = TrailReader(client)
        chains = reader.chains(chain)
        counts = _write(file, reader, chains)
    if as_json:
        print_json({"file": str(file), "chains": counts, "unread": reader.unread})
    else:
        output.print(
            f"{file}: {sum(counts.values())} entries of {len(counts)} chains", markup=False, highlight=False
        )
        _name_unread(reader.unread)
    raise typer.Exit(2 if reader.unread else 0)


def exit_code(verdict: Verdict) -> int:
    """Return 1 for a broken chain, 2 when something could not be read, else 0."""
    if verdict.is_broken:
        return 1
    return 2 if verdict.unread else 0


def entry_table(entries: Sequence[AuditEntry]) -> Table:
    """Return entries, one a row."""
    table = Table(title="audit", title_justify="left", header_style="bold")
    for column in (
        "time",
        "chain",
        "entry",
        "kind",
        "subject",
        "operation",
        "target",
        "outcome",
        "reason",
        "address",
    ):
        table.add_column(column)
    for entry in entries:
        outcome = f"{entry.outcome} x{entry.count}" if entry.count != 1 else entry.outcome
        # Text, because brackets in foreign words would be read as markup.
        cells = (
            entry.kind,
            entry.subject,
            entry.operation,
            entry.target,
            outcome,
            entry.reason,
            entry.address,
        )
        table.add_row(_time(entry), entry.chain, str(entry.index), *(Text(_shown(cell)) for cell in cells))
    return table


def state_table(states: Sequence[ChainState]) -> Table:
    """Return chains with how they were found, one a row."""
    table = Table(title="audit chains", title_justify="left", header_style="bold")
    for column in ("service", "chain", "entries", "anchored", "state"):
        table.add_column(column)
    for state in states:
        mark = Text("whole", "green") if state.broken is None else Text(state.broken.fault, "red")
        entries = f"{state.oldest} to {state.last}" if state.last else "none"
        anchored = f"to {state.anchored}" if state.anchored else ""
        table.add_row(state.service, Text(_shown(state.chain)), entries, anchored, mark)
    return table


def _tailed(reader: TrailReader, only: str) -> list[ServedChain]:
    """Return the chains to look at; the gateway lists those that were written last first."""
    chains = reader.chains(only)
    if len(chains) > _TAILED_CHAINS:
        _say(f"{len(chains)} chains; only {_TAILED_CHAINS} are shown. Name one with --chain.")
    return chains[:_TAILED_CHAINS]


def _last(reader: TrailReader, chains: Sequence[ServedChain], count: int, wanted: Wanted) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for chain in chains:
        try:
            entries += reader.newest(chain, count, count if wanted.is_all else _SEARCHED, wanted)
        except audit_reading.UNREADABLE as error:
            reader.note(chain, error)
    entries.sort(key=_order)
    return entries[-count:]


def _follow(
    reader: TrailReader, only: str, chains: Sequence[ServedChain], wanted: Wanted, as_json: bool
) -> None:
    """Print what is written from now on, until interrupted."""
    places = {(chain.service, chain.name): chain.head.index for chain in chains}
    polls = 0
    known_unread = dict(reader.unread)
    while True:
        audit_reading.pause(_FOLLOW_PERIOD_S)
        polls += 1
        if polls % _LIST_EVERY == 0:
            with suppress(*audit_reading.UNREADABLE):  # all of them away: the next look may find them
                chains = _tailed(reader, only)
        entries: list[AuditEntry] = []
        for chain in chains:
            place = (chain.service, chain.name)
            try:
                page = reader.page(chain, places.setdefault(place, 0))
            except audit_reading.UNREADABLE as error:
                reader.note(chain, error)
                continue
            reader.unread.pop(chain.name, None)
            if page.entries:
                places[place] = page.entries[-1].index
            entries += [entry for entry in page.entries if wanted.fits(entry)]
        entries.sort(key=_order)
        _print_lines(entries, as_json)
        _name_unread({name: why for name, why in reader.unread.items() if name not in known_unread})
        known_unread = dict(reader.unread)


def _print_lines(entries: Sequence[AuditEntry], as_json: bool) -> None:
    for entry in entries:
        if as_json:
            sys.stdout.write(encode_entry(entry).decode() + "\n")
        else:
            words = (entry.subject, entry.operation, entry.target, entry.outcome, entry.reason, entry.address)
            line = " ".join(word for word in words if word)
            output.print(
                f"{_time(entry)} {entry.chain} {entry.index} {entry.kind} {_shown(line)}",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
    sys.stdout.flush()


def _write(file: Path, reader: TrailReader, chains: Sequence[ServedChain]) -> dict[str, int]:
    """Write the file whole, or leave what is there; return how many entries of each chain it holds."""
    counts: dict[str, int] = {}
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                for chain in chains:
                    counts[chain.name] = 0
                    try:
                        for entry in reader.rest(chain, reader.first_page(chain)):
                            stream.write(encode_entry(entry) + b"\n")
                            counts[chain.name] += 1
                    except audit_reading.UNREADABLE as error:
                        reader.note(chain, error)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise InvalidInput(
            f"cannot write {file}: {problem.strerror}.",
            "Check the folder, its permissions and the free space.",
        ) from None
    return counts


def _name_unread(unread: Mapping[str, str]) -> None:
    for name, why in unread.items():
        _say(f"not read: {name}: {why}")


def _say(text: str) -> None:
    errors.print(_shown(text), style="yellow", markup=False, highlight=False, soft_wrap=True)


def _order(entry: AuditEntry) -> tuple[float, str, int]:
    return entry.at_s, entry.chain, entry.index


def _time(entry: AuditEntry) -> str:
    try:
        return f"{datetime.fromtimestamp(entry.at_s, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):  # a damaged entry may hold anything
        return str(entry.at_s)


def _shown(text: str) -> str:
    """Return the text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _data(entry: AuditEntry) -> dict[str, Any]:
    return entry.model_dump(mode="json")


def _state_data(state: ChainState) -> dict[str, Any]:
    found = state.broken
    return {
        "service": state.service,
        "chain": state.chain,
        "oldest": state.oldest,
        "last": state.last,
        "anchored": state.anchored,
        "is_whole": found is None,
        "broken_at": found.index if found is not None else None,
        "fault": found.fault.value if found is not None else "",
        "explanation": found.explanation if found is not None else "",
    }
