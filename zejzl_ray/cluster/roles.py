"""What a machine's node is to run when another machine becomes the head, or this one does: plans, as data."""

import sys
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from zejzl_ray.cluster.head_record import Head, HeadRecord
from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.node_intent import NodeIntent
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.redis_address import REDIS_PORT, RedisAddress, parse_redis_address, with_address
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster.this_machine import resolve
from zejzl_ray.errors import ClusterError, InvalidInput
from zejzl_ray.tls.credentials import TlsFiles

STORE_URL: Final = "ZEJZL_STORE_URL"
BIND_HOST: Final = "ZEJZL_BIND_HOST"
SERVICES_COMMAND: Final = (sys.executable, "-m", "zejzl_ray.cli.main", "node", "services")
# The others may be off for the whole evening: services do not wait for them, and do not go home to a machine that is
# about to be switched off. Handback is how they go home.
_AWAY_FROM_HOME: Final = {"ZEJZL_HOME_WAIT_S": "0", "ZEJZL_FAILBACK": "never"}


def next_plan(record: HeadRecord, intent: NodeIntent, redis_tls: TlsFiles | None) -> SupervisedPlan | None:
    """Return what this machine has to run under the record; None when that is what it runs already.

    Args:
        record: the one that counts.
        intent: what runs here.
        redis_tls: what this machine shows to Redis.
    """
    plan = intent.plan
    is_head = plan.node.role is NodeRole.HEAD
    if record.machine == plan.node.machine:
        return None if is_head else head_plan(record, intent, redis_tls)
    if is_head or not _is_same(plan.node.head_address, record.head_address):
        return worker_plan(record, plan)
    return None


def head_plan(record: HeadRecord, intent: NodeIntent, redis_tls: TlsFiles | None) -> SupervisedPlan:
    """Return the plan of this machine as the head; the one that it was started with as such, where it was.

    Ray begins with nothing: its actors were those of a cluster that has ended.
    """
    plan = intent.plan
    was_head = plan.node.role is NodeRole.HEAD and not plan.overrides
    former = plan if was_head else intent.head_plan
    if former is not None:
        return former.model_copy(update={"node": former.node.model_copy(update={"redis_namespace": None})})
    node = plan.node.model_copy(
        update={
            "role": NodeRole.HEAD,
            "head_address": record.head_address,
            "redis_address": f"rediss://{record.store}",
            "redis_tls": redis_tls,
            "redis_namespace": None,
        }
    )
    head = plan.model_copy(
        update={"node": node, "launcher": record.launcher, "services": SERVICES_COMMAND, "overrides": {}}
    )
    if record.home is None:  # at home, and its own plan is lost: the record knows as much of it as is needed
        return head.model_copy(update={"settings": {**plan.settings, STORE_URL: record.store_url}})
    away = {**_AWAY_FROM_HOME, STORE_URL: record.store_url, **_own_ingress(record, plan)}
    return head.model_copy(update={"overrides": away})


def _own_ingress(record: HeadRecord, plan: SupervisedPlan) -> dict[str, str]:
    """Let the ingress listen on this machine's address where the settings, the same everywhere, name the old head's."""
    assert record.home is not None
    if plan.settings.get(BIND_HOST) != _host(record.home.head_address):
        return {}
    return {BIND_HOST: plan.node.node_ip}


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def worker_plan(record: HeadRecord, plan: SupervisedPlan) -> SupervisedPlan:
    """Return the plan of this machine as a worker of the record's head."""
    node = plan.node.model_copy(
        update={
            "role": NodeRole.WORKER,
            "head_address": record.head_address,
            "redis_address": None,
            "redis_tls": None,
            "redis_namespace": None,
            "autoscaling_config": None,
        }
    )
    return plan.model_copy(update={"node": node, "launcher": None, "services": None, "overrides": {}})


def first_record(plan: SupervisedPlan, store_url: str, known: HeadRecord | None) -> HeadRecord:
    """Return the record of a head that was started here.

    A term is one machine as the head: new addresses or settings begin none, so that no start can outbid a takeover;
    they are a revision more.
    """
    node = plan.node
    store = parse_redis_address(store_url)
    workers = plan.launcher.worker_ips if plan.launcher is not None else ()
    others = [RedisAddress(host=address, port=store.port) for address in workers]
    record = HeadRecord(
        term=known.term if known is not None else 1,
        revision=known.revision if known is not None else 0,
        machine=node.machine,
        head_address=node.head_address,
        store=store,
        store_url=with_address(store_url, store),
        stores=(store, *(other for other in others if other != store)),
        launcher=plan.launcher,
    )
    return record if known in (None, record) else record.model_copy(update={"revision": record.revision + 1})


def succession(before: HeadRecord, machine: str, node_ip: str, own: RedisAddress) -> HeadRecord:
    """Return the record of the next term, whose head is another machine; one that was started as the head is at home.

    Whoever stands in acknowledges with one copy, since the other machine is off, or is about to be.

    Args:
        before: the term that ends.
        machine: name of the next head.
        node_ip: its address.
        own: its Redis.
    """
    home = before.home or Head.model_validate(before.model_dump(include=set(Head.model_fields)))
    stores = tuple(dict.fromkeys((own, before.store, *before.stores)))
    if machine == home.machine:
        return HeadRecord(term=before.term + 1, stores=stores, **home.model_dump())
    former, _, port = before.head_address.rpartition(":")
    launcher = before.launcher or LauncherConfig(head_ip=former)
    workers = [address for address in (former, *launcher.worker_ips) if address != node_ip]
    return HeadRecord(
        term=before.term + 1,
        machine=machine,
        head_address=f"{node_ip}:{port}",
        store=own,
        store_url=acknowledging_alone(with_address(before.store_url, own)),
        stores=stores,
        home=home,
        launcher=launcher.model_copy(
            update={"head_ip": node_ip, "worker_ips": tuple(dict.fromkeys(workers)), "ssh_private_key": None}
        ),
    )


def acknowledging_alone(store_url: str) -> str:
    """Return the URL of a store that goes on while its replicas are away, whatever it did before.

    Where Sentinels decide who is the primary, they are still asked whether it may.
    """
    parts = urlsplit(store_url)
    if ("when_away", "witness") in parse_qsl(parts.query):
        return store_url
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "when_away"]
    if declared_replicas(store_url):
        kept.append(("when_away", "acknowledge"))
    return urlunsplit(parts._replace(query=urlencode(kept)))


def declared_replicas(store_url: str) -> int:
    """Return how many replicas a commit waits for, which is how many other machines are known to have the state."""
    text = dict(parse_qsl(urlsplit(store_url).query)).get("replicas", "")
    return int(text) if text.isdecimal() else 0


def stores_of(plan: SupervisedPlan, store_url: str) -> tuple[RedisAddress, ...]:
    """Return where the cluster may have a Redis, this machine's first; nothing where it has none with TLS.

    Args:
        plan: what runs here.
        store_url: ``Settings.resolved_store_url()`` with the plan's overrides; a worker may have none.
    """
    node = plan.node
    own = RedisAddress(host=node.node_ip)
    others: list[RedisAddress] = []
    if node.role is NodeRole.HEAD:
        if not store_url.startswith("rediss://"):
            return ()
        try:
            own = parse_redis_address(store_url)
        except InvalidInput:
            return ()
        workers = plan.launcher.worker_ips if plan.launcher is not None else ()
        others = [RedisAddress(host=address, port=own.port) for address in workers]
    else:
        others = [RedisAddress(host=node.head_address.rpartition(":")[0].strip("[]"), port=REDIS_PORT)]
    return tuple(dict.fromkeys((own, *others)))


def _is_same(one: str, other: str) -> bool:
    """Compare two addresses of a head, host:port each; where a name cannot be resolved nobody moves for it."""
    (host, _, port), (host_too, _, port_too) = one.rpartition(":"), other.rpartition(":")
    if host == host_too or port != port_too:
        return one == other
    try:
        return resolve(host.strip("[]")) == resolve(host_too.strip("[]"))
    except ClusterError:
        return True
