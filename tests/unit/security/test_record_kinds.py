import importlib
import pkgutil

import zejzl_ray.security
from zejzl_ray.commands.records import Record
from zejzl_ray.security.record_kinds import KINDS


def test_every_kind_of_record_is_loaded_after_a_restart() -> None:
    for module in pkgutil.iter_modules(zejzl_ray.security.__path__):
        importlib.import_module(f"zejzl_ray.security.{module.name}")
    own = {kind for kind in Record.__subclasses__() if kind.__module__.startswith("zejzl_ray.security")}
    assert own == set(KINDS)


def test_no_kind_begins_like_another_one() -> None:
    names = [f"{kind.KIND}/" for kind in KINDS]
    assert len(set(names)) == len(names)
