"""``zejzl auth rotate-master-key``: another key for everything that the gateway keeps encrypted.

Three steps, since the gateway reads the key file when it starts, and each machine on which it may run has a copy:
add a key while the cluster is down, encrypt everything with it, drop the old keys.
"""

from typing import Annotated

import typer

from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson, ask
from zejzl_ray.cluster.credential_file import append_master_key, drop_old_master_keys
from zejzl_ray.cluster.local_nodes import running_cluster
from zejzl_ray.cluster.local_plan import MASTER_KEY_FILE
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.contracts.secrets import RotateMasterKey
from zejzl_ray.errors import Conflict
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.settings import Settings, load_settings


def rotate_master_key(
    add: Annotated[
        bool, typer.Option("--add", help="First step, while the cluster is down: add a key to the file.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Last step: remove the old keys from the file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Encrypt everything at rest with the newest key of the key file.

    First `zejzl down`, this command with --add, a copy of the file to each other machine, `zejzl up`.

    Then this command. Then this command with --drop-old, and a copy of the file again; a last restart may wait.

    Nothing is dropped that the gateway still needs.
    """
    if add and drop_old:
        raise typer.BadParameter("give --add or --drop-old: between the two everything is encrypted anew")
    settings = load_settings()
    if add:
        _add(settings, as_json)
        return
    path = settings.data_path / MASTER_KEY_FILE
    keys = MasterKeys.read(path)
    done = ask(lambda gateway: gateway.rotate_master_key(RotateMasterKey()))
    if done.key != keys.fingerprint:
        raise Conflict(
            f"The gateway does not work with the newest key of {path}.",
            "Copy the file to the gateway's machine, and restart the cluster: `zejzl down`, `zejzl up`.",
        )
    if drop_old:
        keys = MasterKeys.parse(drop_old_master_keys(path).get_secret_value())
    if as_json:
        print_json({"records": done.records, "key_file": str(path), "keys": len(keys)})
        return
    say(f"{done.records} records encrypted anew; all are under the newest key of {path}")
    if drop_old:
        say("The old keys are gone from this file. Copy it to the other machines, mode 0600; then restart.")
    elif len(keys) > 1:
        say("The old keys are not needed any more: run it with --drop-old.")


def _add(settings: Settings, as_json: bool) -> None:
    path = settings.data_path / MASTER_KEY_FILE
    supervisor = read_supervisor_record(settings.data_path)
    if running_cluster(settings.data_path) is not None or (supervisor is not None and supervisor.is_alive):
        raise Conflict(
            "The cluster is up, and its gateway would not know the new key.",
            "Stop the cluster first: `zejzl down`, or `ray down` for several machines.",
        )
    keys = MasterKeys.parse(append_master_key(path).get_secret_value())
    if as_json:
        print_json({"key_file": str(path), "keys": len(keys)})
        return
    say(f"{path} holds {len(keys)} keys now, the newest first.")
    say("Copy it to the other machines, mode 0600; start the cluster; then run this command without --add.")
