"""What `ray up` is to copy is there: it looks for each file, and ends with a traceback without it."""

from collections.abc import Iterator

from zejzl_ray.cluster_check.facts import ClusterFacts
from zejzl_ray.cluster_check.finding import HERE, Finding

MOUNT = "mount"


def check_mounts(facts: ClusterFacts) -> Iterator[Finding]:
    """Each source of ``file_mounts`` is on the computer that asks, and can be read."""
    release = facts.cluster.carried_release
    for path, fault in facts.here.unmounted.items():
        if release is not None and path == str(release.here):
            continue  # another check says more
        what = f"{path}, which `ray up` is to copy, {fault}"
        yield Finding(
            facts.here.machine or HERE, MOUNT, what, "Run: zejzl node token; or take it out of file_mounts."
        )
