"""What Redis and its replicas do with what was acknowledged, once they let us in; and the Sentinels that watch them."""

from collections.abc import Iterator
from typing import Final

from zejzl_ray.cluster_check.facts import ClusterFacts, RedisAnswer
from zejzl_ray.cluster_check.finding import Finding
from zejzl_ray.cluster_check.needed_ports import store_url
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.store.open import check_store_url

_GUIDE: Final = 'docs/operations.md, "Redis for two machines"'
_FULL_RATIO: Final = 0.95
_AS_SHIPPED: Final = f"Start it with deploy/redis.conf: {_GUIDE}."


def kept_badly(where: str, answer: RedisAnswer) -> Iterator[tuple[str, str]]:
    """Yield what in its settings would lose something, and the remedy; silent about what nobody may ask."""
    if not answer.is_appending:
        yield (
            f"{where} writes nothing to its disk: appendonly is off, so a restart forgets everything",
            _AS_SHIPPED,
        )
    if answer.append_error:
        yield f"{where} cannot write to its disk", "Is that disk full? Its log says more."
    if answer.is_appending and answer.fsync not in (None, "always"):
        what = f"{where} acknowledges before it is on the disk: appendfsync is {answer.fsync}, not always"
        yield what, f"CONFIG SET appendfsync always, and correct its redis.conf: {_GUIDE}."
    if answer.eviction not in (None, "noeviction"):
        what = f"{where} drops state when its memory is full: maxmemory-policy is {answer.eviction}, not noeviction"
        yield what, f"CONFIG SET maxmemory-policy noeviction, and correct its redis.conf: {_GUIDE}."
    if answer.memory_ratio is not None and answer.memory_ratio > _FULL_RATIO:
        what = (
            f"{where} has used {answer.memory_ratio:.0%} of its maxmemory, and refuses writes from there on"
        )
        yield what, "Give it more: CONFIG SET maxmemory, and in its redis.conf."
    if answer.knows_ray is False:
        what = f"{where} does not know Ray's user, so that the head does not start"
        yield (
            what,
            (
                "Run `zejzl node token`, let redis.conf include its redis_gcs_user.conf as deploy/redis.conf does, and "
                "restart Redis."
            ),
        )


def check_replicas(facts: ClusterFacts, well: RedisAnswer, where: str, holder: str) -> Iterator[Finding]:
    """Each Redis that is meant to follow does, and as many as every commit waits for."""
    found = list(_followers(facts))
    yield from found
    try:
        wanted = check_store_url(store_url(facts))
    except SettingsInvalid:
        return  # named among the settings
    if found or well.role == "slave" or well.replicas is None or well.replicas >= wanted:
        return
    if len(facts.answering) < len(facts.machines):
        return  # it is on the machine that does not answer, which is named already
    what = f"{well.replicas} of {wanted} replicas follow {where}, and each commit waits for all of them"
    yield Finding(
        holder,
        "redis",
        what,
        'Start Redis on the other machine as a replica: docs/operations.md, "MainPC off".',
    )


def _followers(facts: ClusterFacts) -> Iterator[Finding]:
    for machine in facts.answering:
        answer, name = machine.replica, machine.machine.name
        if answer is None or answer.state == "no client":
            continue
        whose = f"its Redis, which follows {answer.meant_to_follow},"
        if answer.state in ("refused", "timeout"):
            yield Finding(name, "redis", f"{whose} does not run", "Run there: systemctl start zejzl-redis.")
        elif answer.state == "password":
            remedy = "Make redis_password the same as on the other machine, run `zejzl node token`, and restart Redis."
            yield Finding(name, "redis", f"{whose} has another password than this machine", remedy)
        elif answer.state == "well" and answer.role == "slave" and answer.is_linked is False:
            what = f"{whose} does not hear from it, and falls behind"
            yield Finding(
                name, "redis", what, "Its log says why: the password, the certificate, or the network."
            )
        elif answer.state == "well" and answer.role == "master":
            what = (
                f"its Redis should follow {answer.meant_to_follow}, as redis_role.conf says, but is a primary"
            )
            yield Finding(
                name,
                "redis",
                what,
                "Ask `zejzl node state` on both. Restarted, it becomes a replica and drops what it has.",
            )


def check_sentinels(facts: ClusterFacts, primary: str) -> Iterator[Finding]:
    """Every Sentinel answers each machine and knows the primary."""
    said: set[str] = set()
    for machine in facts.answering:
        for sentinel in machine.redis.sentinels if machine.redis is not None else ():
            if sentinel.state not in ("silent", "unknown") or sentinel.address in said:
                continue
            said.add(sentinel.address)
            what = f"the Sentinel at {sentinel.address} does not know the primary {primary}"
            remedy = (
                f"Its configuration must hold `sentinel monitor {primary} ...`; or correct ZEJZL_STORE_URL."
            )
            if sentinel.state == "silent":
                what = f"the Sentinel at {sentinel.address} does not answer"
                remedy = "Start it there; without most of them nobody takes over from a lost primary."
            yield Finding(machine.machine.name, "redis", what, remedy)
