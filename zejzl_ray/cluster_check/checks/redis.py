"""Redis lets every machine in, and keeps what it acknowledges."""

from collections.abc import Iterator
from typing import Final

from zejzl_ray.cluster.shared_store import require_shared_store
from zejzl_ray.cluster_check.checks.redis_state import check_replicas, check_sentinels, kept_badly
from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, Phase, RedisAnswer
from zejzl_ray.cluster_check.finding import Finding
from zejzl_ray.cluster_check.needed_ports import redis_place, sentinels_of, store_url
from zejzl_ray.errors import ClusterError

_GUIDE: Final = 'docs/operations.md, "Redis for two machines"'


def check_store(facts: ClusterFacts) -> Iterator[Finding]:
    """The store is one that all machines see."""
    if facts.head.own is None:
        return
    try:
        require_shared_store(store_url(facts), [found.machine.address for found in facts.machines])
    except ClusterError as error:
        yield Finding(facts.head.machine.name, "redis", error.message.rstrip("."), error.remedy)


def check_redis(facts: ClusterFacts) -> Iterator[Finding]:
    """Each machine logs in with the password and certificate that it has."""
    url = store_url(facts)
    place, sentinels = redis_place(url), sentinels_of(url)
    if sentinels is not None:
        place = (facts.head.machine.address, 0, sentinels[2])
        yield from check_sentinels(facts, sentinels[0])
    if place is None:
        return
    where = (
        f"Redis at {place[0]}:{place[1]}"
        if sentinels is None
        else f"the primary {sentinels[0]} of the Sentinels"
    )
    answers = {
        found.machine.name: found.redis
        for found in facts.answering
        if found.redis is not None and not _is_brought(facts, found)
    }
    is_known = {name: answer for name, answer in answers.items() if answer.state != "no client"}
    refused = {answer.state for answer in is_known.values()}
    if len(is_known) > 1 and len(refused) == 1 and refused <= {"refused", "timeout", "loading"}:
        # one cause, one finding: it is Redis itself that is away
        what, remedy = _fault(where, next(iter(is_known.values())))
        yield Finding(_holder(facts, place[0]), "redis", what, remedy)
        return
    for name, answer in answers.items():
        if answer.state not in ("well", "sentinel"):
            if _is_not_there_yet(facts, name, answer):
                continue
            what, remedy = _fault(where, answer)
            yield Finding(name, "redis", what, remedy)
    well = next((answer for answer in answers.values() if answer.state == "well"), None)
    if well is None:
        return
    holder = _holder(facts, place[0])
    if well.role == "slave" and not _is_taken_back(facts, well):
        what = f"{where} is a replica, which takes no writes"
        yield Finding(holder, "redis", what, "Name the primary in ZEJZL_STORE_URL.")
    for what, remedy in kept_badly(where, well):
        yield Finding(holder, "redis", what, remedy)
    yield from check_replicas(facts, well, where, holder)


def _is_taken_back(facts: ClusterFacts, answer: RedisAnswer) -> bool:
    """Whether the next start makes it the primary: the machine that it follows was the head when all was stopped."""
    hosts = {host for found in facts.machines for host in (found.machine.address, *found.addresses)}
    return facts.phase is Phase.BEFORE and answer.primary in hosts


def _is_brought(facts: ClusterFacts, machine: MachineFacts) -> bool:
    """Whether nothing but the release is missing, without which nobody there can ask Redis."""
    lacks = (
        machine.own is not None and machine.own.release is None and facts.cluster.carried_release is not None
    )
    return lacks and machine.redis is not None and machine.redis.state == "no client"


def _is_not_there_yet(facts: ClusterFacts, name: str, answer: RedisAnswer) -> bool:
    """Before the start a worker has no password yet; `ray up` brings one."""
    if answer.state != "password" or answer.has_password or name == facts.head.machine.name:
        return False
    return any(path.endswith("/redis_password") for path in facts.cluster.copied)


def _holder(facts: ClusterFacts, host: str) -> str:
    for machine in facts.machines:
        if host == machine.machine.address or host in machine.addresses:
            return machine.machine.name
    return facts.head.machine.name


def _fault(where: str, answer: RedisAnswer) -> tuple[str, str]:
    detail = f": {answer.error}" if answer.error else ""
    if answer.state == "password":
        if not answer.has_password:
            return (
                f"{where} wants a password, and there is none here",
                "Run `zejzl node token`, then `ray up`.",
            )
        return (
            f"{where} refuses the password",
            "Make redis_password the same as on the machine of Redis; after a change restart Redis there too.",
        )
    if answer.state == "tls":
        return (
            f"TLS with {where} fails{detail}",
            "Redis' certificate and this machine's must be of one authority: `zejzl tls show`; restart Redis after a "
            "renewal.",
        )
    if answer.state == "refused":
        return f"{where} does not run, or not at that address", f"systemctl start zejzl-redis; {_GUIDE}."
    if answer.state == "timeout":
        return f"{where} does not answer", "Is its machine up, and the port open in its firewall?"
    if answer.state == "loading":
        return f"{where} is still loading its data", "Wait until its log says that it is ready."
    if answer.state == "no client":
        return "the Python package redis is not installed here", "Install the project's environment anew."
    return f"{where} gives no answer{detail}", f"Its log says more; {_GUIDE}."
