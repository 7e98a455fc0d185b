"""``zejzl auth policy``: check the policy file, show and replace the policy in force."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson, ask, show_table, when
from zejzl_ray.contracts.policy import GetPolicy, SetPolicy
from zejzl_ray.security.policy_file import LoadedPolicy, find_policy_file, load_policy
from zejzl_ray.security.policy_problem import PolicyProblem

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_MAX_SOURCE: Final = 512


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show the policy in force."""
    found = ask(lambda gateway: gateway.get_policy(GetPolicy()))
    if as_json:
        print_json(found.model_dump(mode="json", by_alias=True))
        return
    since = f", since {when(found.since_s)}" if found.since_s > 0 else ""  # the shipped one has no beginning
    say(f"revision {found.revision}{since}: {found.source or 'as shipped'}")
    show_table(
        "roles",
        ("role", "grants", "includes", "what for"),
        [
            (name, ", ".join(role.grants), ", ".join(role.includes), role.description)
            for name, role in found.policy.roles.items()
        ],
    )


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="Policy file.", show_default="config/policy.yaml, or the shipped one"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a policy file; each finding is a line ``file:line:column: error: message``. Exit code 1 for errors."""
    loaded = load_policy(find_policy_file() if file is None else file)
    counts = {"errors": len(loaded.errors), "warnings": len(loaded.warnings)}
    if as_json:
        findings = [_data(problem) for problem in loaded.problems]
        print_json({"file": loaded.source, "valid": not loaded.errors, **counts, "findings": findings})
    else:
        for problem in loaded.problems:
            typer.echo(str(problem))
        typer.echo(f"{loaded.source}: {counts['errors']} errors, {counts['warnings']} warnings")
    raise typer.Exit(1 if loaded.policy is None else 0)


@app.command("set")
def set_(file: Annotated[Path, typer.Argument(help="Policy file.")]) -> None:
    """Check a policy file and put it in force; tokens end where rights shrink."""
    loaded = load_policy(file)
    _tell(loaded)
    policy = loaded.policy
    if policy is None:
        raise typer.Exit(1)
    source = str(file.absolute())[-_MAX_SOURCE:]
    done = ask(lambda gateway: gateway.set_policy(SetPolicy(policy=policy, source=source)))
    say(f"in force: revision {done.revision}")


def _tell(loaded: LoadedPolicy) -> None:
    for problem in loaded.problems:
        say(str(problem), "bold red" if problem.is_error else "yellow")


def _data(problem: PolicyProblem) -> dict[str, Any]:
    return {
        "code": problem.code,
        "severity": "error" if problem.is_error else "warning",
        "message": problem.message,
        "remedy": problem.remedy,
        "path": list(problem.path),
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
    }
