"""Where the project's own cluster file and Redis configuration lie: in the wheel, or in the checkout."""

from pathlib import Path
from typing import Final

from zejzl_ray.errors import NotFound

CLUSTER_TEMPLATE: Final = "cluster.yaml"
REDIS_TEMPLATE: Final = "redis.conf"
_PACKAGE: Final = Path(__file__).resolve().parent
_PLACES: Final = {
    CLUSTER_TEMPLATE: (_PACKAGE / "shipped" / "cluster.yaml", _PACKAGE.parents[1] / "cluster.yaml"),
    REDIS_TEMPLATE: (_PACKAGE / "shipped" / "redis.conf", _PACKAGE.parents[1] / "deploy" / "redis.conf"),
}


def read_template(name: str) -> str:
    """Return the text of one of the two.

    Raises:
        NotFound: the installation is not whole.
    """
    for path in _PLACES[name]:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise NotFound(f"This installation has no {name}.", "Install zejzl-ray anew.")
