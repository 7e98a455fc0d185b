"""How a supervisor, and a start, learn who is the head: by the watch over the Redis of all machines."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from zejzl_ray.cluster.dropped_state import keep_dropped_state
from zejzl_ray.cluster.head_record import HeadRecord
from zejzl_ray.cluster.head_switch import HeadSwitch
from zejzl_ray.cluster.node_intent import is_stand_in, read_intent
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import RedisPeer
from zejzl_ray.cluster.role_watch import RoleWatch
from zejzl_ray.cluster.roles import declared_replicas, first_record, next_plan, stores_of, succession
from zejzl_ray.cluster.stop_mark import stop_mark
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.supervisor_record import UNASKED
from zejzl_ray.errors import ClusterError, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.settings import Settings
from zejzl_ray.tls.credentials import TlsFiles, load_credentials, own_machine, tls_directory

_PATIENCE_S: Final = 4.0
_POLL_S: Final = 0.2

log = get_logger("zejzl.roles")


@dataclass(frozen=True, slots=True)
class Following:
    """What a supervisor learns; neither waits for anybody.

    Attributes:
        next_plan: what the machine is to run instead; None while that is the same.
        doubt: whom a head could not ask yet whether another machine has taken over; empty when it has no doubt.
    """

    next_plan: Callable[[], SupervisedPlan | None] = lambda: None
    doubt: Callable[[], str] = lambda: ""


@contextmanager
def following_head(settings: Settings, plan: SupervisedPlan) -> Iterator[Following]:
    """Follow who is the head for as long as the context lasts; a head that nobody has replaced says that it is it.

    Without Redis over TLS there is nothing to follow, and the machine stays what it was started as.

    Args:
        settings: of this machine, as its node has them.
        plan: what it runs.
    """
    watch = _watch(settings, plan)
    if watch is None:
        yield Following()
        return
    tls = _redis_tls(settings)
    try:
        record = watch.look()
        if plan.node.role is NodeRole.HEAD and (record is None or record.machine == plan.node.machine):
            _claim(settings, plan, watch)
        watch.start()

        def look() -> SupervisedPlan | None:
            intent = read_intent(settings.data_path)
            if watch.record is None or intent is None or not intent.is_wanted:
                return None
            return next_plan(watch.record, intent, tls)

        yield Following(look, lambda: _doubt(settings, plan, watch))
    finally:
        watch.close()


def require_own_turn(settings: Settings, plan: SupervisedPlan) -> str:
    """Refuse a start in a role that a takeover has given to another machine.

    A head that was stopped on purpose, with its whole cluster, gives its state to the machine that is started as the
    head now, whose Redis swaps roles with its own.

    Returns:
        What to tell about it: whose state was taken over, or who could not be asked; mostly nothing.

    Raises:
        ClusterError: another machine is the head now, or this one is and should become a worker; says what to do.
    """
    node = plan.node
    before = read_intent(settings.data_path)
    is_head = node.role is NodeRole.HEAD
    if not is_head and before is not None and before.is_wanted and is_stand_in(settings.data_path):
        raise ClusterError(
            f"{node.machine} is the head since its takeover.",
            "`zejzl cluster handback` makes it a worker again; `zejzl node stop` stops it.",
        )
    watch = _watch(settings, plan) if is_head else None
    if watch is None:
        return ""
    try:
        record = watch.look()
    finally:
        watch.close()
    if record is None or record.machine == node.machine:
        return _doubt(settings, plan, watch)
    mark = stop_mark(settings.model_copy(update={"store_url": f"rediss://{record.store}"}), node)
    if not mark.is_set():
        raise ClusterError(
            f"{record.machine} is the head since its takeover (term {record.term}).",
            f"Start this machine as a worker: `zejzl node start --machine {node.machine} --address "
            f"{record.head_address}`; then `zejzl cluster handback` makes it the head again. "
            f"Where {record.machine} is off: `zejzl cluster takeover` here.",
        )
    return _take_back(settings, plan)


def _take_back(settings: Settings, plan: SupervisedPlan) -> str:
    node, own = plan.node, own_store(settings, plan)
    assert own is not None
    with closing(HeadSwitch(settings, node.machine, node.node_ip, own, settings.data_path)) as switch:
        survey = switch.survey()
        if not survey.is_planned:
            raise ClusterError(
                f"{survey.record.machine} was the head when the cluster was stopped; its Redis does not answer.",
                "Switch it on, or run `zejzl cluster takeover` here.",
            )
        record = switch.do(survey)
    return f"{survey.record.machine} was the head when the cluster was stopped; its state is here (term {record.term})"


def _doubt(settings: Settings, plan: SupervisedPlan, watch: RoleWatch) -> str:
    """Return whom a head has not asked yet, of the machines that have its state and so may have taken over.

    Whoever stands in was told that the others are off.
    """
    replicas = declared_replicas(settings.resolved_store_url())
    if plan.node.role is not NodeRole.HEAD or plan.overrides or watch.answered >= replicas:
        return ""
    silent = ", ".join(map(str, watch.silent))
    return f"{UNASKED}: Redis at {silent} does not answer" if silent else ""


def own_store(settings: Settings, plan: SupervisedPlan) -> RedisAddress | None:
    """Return where Redis of this machine is to be found; None where the cluster's has no TLS."""
    stores = stores_of(plan, settings.resolved_store_url())
    return stores[0] if stores else None


def _watch(settings: Settings, plan: SupervisedPlan) -> RoleWatch | None:
    if own_machine(tls_directory(settings.data_path)) is None:
        return None
    stores = stores_of(plan, settings.resolved_store_url())
    if not stores:
        return None
    node, own = plan.node, stores[0]
    return RoleWatch(
        node.machine,
        stores,
        settings.data_path,
        lambda address: RedisPeer(settings, address),
        lambda before: succession(before, node.machine, node.node_ip, own),
        # What a head has is kept and dropped when it has ended, so that nobody writes any more: by the worker after it.
        None if node.role is NodeRole.HEAD else lambda: keep_dropped_state(settings, own),
    )


def _claim(settings: Settings, plan: SupervisedPlan, watch: RoleWatch) -> None:
    """Write the record of a head where it was started; whoever takes over needs it.

    Nothing is written over the record of another machine, however late that one comes.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    known = watch.record
    while known is None or known.machine == plan.node.machine:
        record = _kept(known) or first_record(plan, settings.resolved_store_url(), known)
        if record == known:
            return
        if time.monotonic() > deadline_s:
            log.warning("the record of the head was not written", reason="Redis of the head has another one")
            return
        with closing(RedisPeer(settings, record.store)) as peer:
            try:
                is_written = peer.claim(record, known)
            except ZejzlError as error:
                log.warning("the record of the head was not written", reason=str(error))
                return
        if not is_written:
            time.sleep(_POLL_S)
        known = watch.look()


def _kept(known: HeadRecord | None) -> HeadRecord | None:
    """A record that a takeover has made knows more than this machine's plan."""
    return known if known is not None and known.home is not None else None


def _redis_tls(settings: Settings) -> TlsFiles | None:
    directory = tls_directory(settings.data_path)
    machine = own_machine(directory)
    return load_credentials(directory, machine, time.time()).files if machine is not None else None
