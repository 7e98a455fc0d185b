"""The variables that a start command sets, checked as the node would check them; it would be too late there."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.settings import setting_faults, setting_names
from zejzl_ray.store.open import check_store_url

CPUS: Final = "ZEJZL_CPUS"
STORE_URL: Final = "ZEJZL_STORE_URL"
_OTHERS: Final = frozenset({CPUS, "ZEJZL_REDIS_PASSWORD", "ZEJZL_NODE_MARKER"})
_FAMILIES: Final = ("ZEJZL_SECRET_", "ZEJZL_AGENT_", "ZEJZL_HAPROXY_")
_REMEDY: Final = "See docs/settings.md for names and ranges."
_EXPANDED: Final = re.compile(r"[$`]")  # by the shell of the machine, whose result nobody knows here


def is_known(name: str) -> bool:
    """Return whether something reads a variable of this name."""
    return name in _OTHERS or name in setting_names() or name.startswith(_FAMILIES)


def environment_faults(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with ``ZEJZL_`` variables, and the remedy; others, and values with ``$``, are not looked at.

    No value is repeated: one may be a secret in the wrong place.
    """
    own = {name: value for name, value in environment.items() if name.startswith("ZEJZL_")}
    for name in own:
        if not is_known(name):
            remedy = did_you_mean(name, setting_names(), "Remove it; docs/settings.md lists all settings.")
            yield f"{name} is no setting", remedy
    literal = {name: value for name, value in own.items() if not _EXPANDED.search(value)}
    faults = setting_faults(literal)
    for name, message in faults.items():
        yield f"{name}: {message}", _REMEDY
    if literal.get(CPUS) and not (literal[CPUS].isdecimal() and int(literal[CPUS])):
        yield f"{CPUS} is no whole number above 0", _REMEDY
    if STORE_URL not in faults and literal.get(STORE_URL) not in (None, "", "sqlite", "memory"):
        try:
            check_store_url(literal[STORE_URL])
        except SettingsInvalid as error:
            yield f"{STORE_URL}: {error.message.rstrip('.')}", error.remedy
