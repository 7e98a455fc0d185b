"""``zejzl node purge``: remove what this machine keeps of its cluster."""

from typing import Annotated

import typer

from zejzl_ray.cli.console import errors, output, print_json
from zejzl_ray.cluster.node_intent import read_intent
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.purge import Purged, purge_files, purge_redis, require_stopped
from zejzl_ray.errors import InvalidInput
from zejzl_ray.settings import Settings, load_settings

IsYes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
IsEverything = Annotated[
    bool,
    typer.Option("--everything", help="Secrets, certificates and back-ups too; nobody can bring them back."),
]


def purge(
    yes: IsYes = False,
    everything: IsEverything = False,
    check: Annotated[bool, typer.Option("--check", help="Only say whether it could be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; needs --yes.")] = False,
) -> None:
    """Remove the cluster's state, logs and records from this machine, at the head those in Redis too; it asks first.

    Secrets, certificates and back-ups stay without --everything, so that the next start begins with an empty cluster.
    Refused while the cluster is up here.
    """
    settings = load_settings()
    require_stopped(settings.data_path)
    if check:
        output.print("nothing of the cluster runs here", highlight=False)
        return
    if not yes:
        confirm("Remove the state of the cluster from this machine", as_json=as_json)
    done = Purged(
        redis_keys=purge_redis(_with_store(settings)),
        paths=purge_files(settings.data_path, is_everything=everything),
    )
    if as_json:
        print_json(done.model_dump())
        return
    if done.redis_keys is not None:
        output.print(f"Redis: {done.redis_keys} keys", highlight=False)
    for path in done.paths:
        output.print(path, highlight=False, soft_wrap=True)
    output.print("removed" if done.paths or done.redis_keys else "there was nothing", highlight=False)


def confirm(question: str, *, as_json: bool) -> None:
    """Ask on standard error; end with exit code 1 unless the answer is yes.

    Raises:
        InvalidInput: there is nobody to ask.
    """
    try:
        if as_json or not typer.confirm(f"{question}?", err=True):
            raise InvalidInput("Nothing was removed.", "Say yes, or give --yes.")
    except typer.Abort:
        errors.print("")
        raise InvalidInput("Nothing was removed.", "Say yes, or give --yes.") from None


def _with_store(settings: Settings) -> Settings:
    """Return the settings with the store of the head that was started here, unless another one is named now."""
    intent = read_intent(settings.data_path)
    if settings.store_url != "sqlite" or intent is None or intent.plan.node.role is not NodeRole.HEAD:
        return settings
    url = intent.plan.variables().get("ZEJZL_STORE_URL", settings.store_url)
    return settings.model_copy(update={"store_url": url})
