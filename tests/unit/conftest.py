"""Unit tests start no Ray, whatever imports it and whenever; hypothesis repeats its examples; logs are a test's own."""

import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NoReturn

import hypothesis
import pytest
import structlog

from zejzl_ray.log import stop_logging

hypothesis.settings.register_profile("unit", deadline=None, max_examples=50, derandomize=True, database=None)
hypothesis.settings.load_profile("unit")


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("unit tests start no Ray: move this test to tests/cluster")


class _RayFinder:
    """Finds ``ray`` as usual, and lets it forget how to start as soon as it is loaded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "ray":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_disarm(module: ModuleType) -> None:
            load(module)
            self._patch.setattr(module, "init", _refuse)

        spec.loader.exec_module = load_and_disarm  # type: ignore[method-assign] # this one loader object only
        return spec


@pytest.fixture(autouse=True)
def no_ray() -> Iterator[None]:
    """Make ``ray.init`` raise, in a Ray that is loaded already and in one that the test loads."""
    with pytest.MonkeyPatch.context() as patch:
        if "ray" in sys.modules:
            patch.setattr(sys.modules["ray"], "init", _refuse)
        else:
            patch.setattr(sys, "meta_path", [_RayFinder(patch), *sys.meta_path])
        yield


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """Let no test log into the stream of an earlier one, which pytest has closed."""
    yield
    stop_logging()
    structlog.reset_defaults()
