"""``zejzl cluster takeover`` and ``handback``: which machine is the head, changed while the state goes along."""

import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import errors, output, print_json
from zejzl_ray.cluster.following import own_store
from zejzl_ray.cluster.gcs_store import require_gcs_user
from zejzl_ray.cluster.head_record import HeadRecord
from zejzl_ray.cluster.head_switch import LOST_MEANS, HeadSwitch, Survey
from zejzl_ray.cluster.launched_node import start_supervised
from zejzl_ray.cluster.node_intent import NodeIntent, read_intent
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.roles import STORE_URL, head_plan
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings, load_settings
from zejzl_ray.tls.credentials import load_credentials, tls_directory

_UP_LIMIT_S: Final = 120.0
_POLL_S: Final = 0.2
_CONNECT_LIMIT_S: Final = 1.0
_SUPERVISOR: Final = (sys.executable, "-m", "zejzl_ray.cli.main", "node", "run", "--once")

IsSure = Annotated[
    bool, typer.Option("--yes", help="Ask nothing, also where the present head does not answer.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def takeover(is_sure: IsSure = False, as_json: AsJson = False) -> None:
    """Make this machine the head, with its own Redis as the store: run it on PC2 before MainPC is switched off.

    While both are up nothing that was acknowledged is lost. Where the present head does not answer you are asked first:
    nobody can tell from here a machine that is off from a cable that is cut.
    """
    settings = load_settings()
    intent = _intent(settings)
    node = intent.plan.node
    own = own_store(_as_planned(settings, intent), intent.plan)
    if own is None:
        raise ClusterError(
            "The cluster's store is no Redis with TLS, so no other machine has its state.",
            'docs/operations.md, "MainPC off", says how to set one up.',
        )
    record = _switch(
        settings, node.machine, node.node_ip, own, settings.data_path, is_sure=is_sure, is_taker=True
    )
    _see_to_supervisor(settings, intent, record)
    _wait_and_tell(record, as_json=as_json)


def handback(is_sure: IsSure = False, as_json: AsJson = False) -> None:
    """Return the head to the machine that was started as it; run it on either one, both up.

    Nothing that was acknowledged is lost.
    """
    settings = load_settings()
    intent = _intent(settings)
    own = own_store(_as_planned(settings, intent), intent.plan)
    if own is None:
        raise ClusterError("There is nothing to hand back: the cluster's store is no Redis with TLS.")
    node = intent.plan.node
    with closing(HeadSwitch(settings, node.machine, node.node_ip, own)) as switch:
        record = switch.look().record
    if record.home is None:
        raise ClusterError(
            f"There is nothing to hand back: {record.machine} is the head, and was started as it."
        )
    home = record.home
    node_ip = home.head_address.rpartition(":")[0]
    role_dir = settings.data_path if home.store == own else None
    done = _switch(settings, home.machine, node_ip, home.store, role_dir, is_sure=is_sure, is_taker=False)
    _wait_and_tell(done, as_json=as_json)


def _intent(settings: Settings) -> NodeIntent:
    intent = read_intent(settings.data_path)
    if intent is None:
        raise ClusterError(
            "No node was ever started on this machine, so it is not known how.",
            "Run `ray up` on the head first.",
        )
    return intent


def _as_planned(settings: Settings, intent: NodeIntent) -> Settings:
    """Return the settings with the store that the node of this machine was started with."""
    url = intent.plan.variables().get(STORE_URL)
    return settings if url is None else settings.model_copy(update={"store_url": url})


def _switch(
    settings: Settings,
    machine: str,
    node_ip: str,
    target: RedisAddress,
    role_dir: Path | None,
    *,
    is_sure: bool,
    is_taker: bool,
) -> HeadRecord:
    with closing(HeadSwitch(settings, machine, node_ip, target, role_dir)) as switch:
        survey = switch.survey()
        if survey.is_done:
            return survey.record
        _require_ready(settings, survey, machine, is_sure=is_sure, is_taker=is_taker)
        errors.print(_said(survey, machine), style="dim", highlight=False, soft_wrap=True)
        return switch.do(survey)


def _said(survey: Survey, machine: str) -> str:
    if survey.is_named:
        return f"{machine} is the head already; its Redis becomes the primary again"
    if survey.is_planned:
        return f"{survey.record.machine} hands over to {machine}"
    return f"{machine} takes over from {survey.record.machine}, which does not answer"


def _require_ready(
    settings: Settings, survey: Survey, machine: str, *, is_sure: bool, is_taker: bool
) -> None:
    """Refuse while nothing has changed what would fail afterwards, and ask where something may be lost.

    Raises:
        ClusterError: Ray could not keep its state there, or nobody has said yes.
    """
    require_gcs_user(settings.model_copy(update={"store_url": f"rediss://{survey.target}"}))
    if survey.is_planned:
        return
    former = survey.record.machine
    meaning = LOST_MEANS.format(machine=former)
    if not is_taker:
        raise ClusterError(
            f"{former} at {survey.record.store} does not answer, so it cannot hand back.",
            f"Run `zejzl cluster takeover` on {machine}.",
        )
    errors.print(
        f"{former} at {survey.record.store} does not answer. {meaning} {survey.copy_age}",
        soft_wrap=True,
        highlight=False,
    )
    if is_sure or (sys.stdin.isatty() and typer.confirm(f"Is {former} off?", err=True)):
        return
    raise ClusterError(f"Nothing was changed: nobody has said that {former} is off.", "Give --yes if it is.")


def _see_to_supervisor(settings: Settings, intent: NodeIntent, record: HeadRecord) -> None:
    """Start a supervisor where none runs; one that runs reads the record by itself."""
    running = read_supervisor_record(settings.data_path)
    if running is not None and running.is_alive and intent.is_wanted:
        return
    node = intent.plan.node
    tls = load_credentials(tls_directory(settings.data_path), node.machine, time.time()).files
    plan = head_plan(record, intent, tls)
    start_supervised(plan, settings.data_path, _SUPERVISOR)


def _wait_and_tell(record: HeadRecord, *, as_json: bool) -> None:
    """Wait until the control store of the new head answers.

    Raises:
        ClusterError: not within two minutes.
    """
    began_s = time.monotonic()
    _wait_until(
        lambda: _is_listening(record.head_address) and _is_head_here(record), began_s + _UP_LIMIT_S, record
    )
    took_s = round(time.monotonic() - began_s, 1)
    if as_json:
        print_json(
            {"head": record.machine, "term": record.term, "address": record.head_address, "took_s": took_s}
        )
        return
    output.print(
        f"{record.machine} is the head (term {record.term}) at {record.head_address}, after {took_s:g} s",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    output.print(f"services start in the background: `zejzl status` on {record.machine}", soft_wrap=True)


def _is_head_here(record: HeadRecord) -> bool:
    """On the machine of the new head its own supervisor says so; elsewhere its open port has to do."""
    own = read_supervisor_record(load_settings().data_path)
    if own is None or own.node.machine != record.machine:
        return True
    return own.node.role is NodeRole.HEAD and own.state == "up"


def _is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_LIMIT_S):
            return True
    except OSError:
        return False


def _wait_until(is_so: Callable[[], bool], deadline_s: float, record: HeadRecord) -> None:
    while not is_so():
        if time.monotonic() >= deadline_s:
            raise ClusterError(
                f"{record.machine} is the head now (term {record.term}), but its node is not up within "
                f"{_UP_LIMIT_S:g} s.",
                f"Look at node.log in the data directory of {record.machine}; `zejzl node run` starts its node.",
            )
        time.sleep(_POLL_S)
