import inspect
import sys
from types import ModuleType

import pytest

import zejzl_ray


def test_all_names_exactly_what_is_visible() -> None:
    visible = {
        name
        for name in dir(zejzl_ray)
        if not name.startswith("_") and not isinstance(getattr(zejzl_ray, name), ModuleType)
    } - {"Final", "TYPE_CHECKING"}
    assert visible | {"__version__"} == set(zejzl_ray.__all__)


@pytest.mark.parametrize("name", zejzl_ray.__all__)
def test_every_public_name_can_be_loaded_and_is_documented(name: str) -> None:
    value = getattr(zejzl_ray, name)
    assert name == "__version__" or inspect.getdoc(value)


def test_a_public_name_comes_from_the_place_that_defines_it() -> None:
    elsewhere = {
        name: home
        for name, home in zejzl_ray._HOMES.items()
        if getattr(sys.modules[home], name) is not getattr(zejzl_ray, name)
        or getattr(zejzl_ray, name).__module__ != home
    }
    assert elsewhere == {}


def test_a_name_is_listed_once() -> None:
    assert len(zejzl_ray.__all__) == len(set(zejzl_ray.__all__))


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        zejzl_ray.nothing  # noqa: B018 - reading the attribute is the test
