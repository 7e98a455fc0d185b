"""One real system for the whole session; a fresh namespace for each test that starts services of its own."""

import logging
import os
import secrets
import shutil
from collections.abc import Iterator

import pytest

from tests.cluster.system import System, new_data_dir, system_environment
from zejzl_ray.cluster.node_start import client_environment
from zejzl_ray.cluster.secret_file import ensure_token

# Ray reads these when it is imported, which the test modules do after this file.
DATA_DIR = new_data_dir()
ensure_token(DATA_DIR / "ray_token")
os.environ.update(client_environment(DATA_DIR / "ray_token", on_loopback=True))


def pytest_sessionfinish() -> None:
    """Remove the data directory also when no test wanted the system."""
    shutil.rmtree(DATA_DIR, ignore_errors=True)


@pytest.fixture(scope="session")
def running_system() -> Iterator[System]:
    """The system, started by the real command and stopped at the end."""
    system = System(DATA_DIR, system_environment(DATA_DIR))
    try:
        system.up()
        yield system
    finally:
        system.down()


@pytest.fixture(scope="session")
def ray_cluster(running_system: System) -> Iterator[System]:
    """The same system, with this process connected as a driver."""
    import ray

    ray.init(
        address=running_system.info["ray_address"],
        namespace=running_system.info["namespace"],
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield running_system
    ray.shutdown()


@pytest.fixture
def namespace(ray_cluster: System) -> Iterator[str]:
    """A fresh Ray namespace whose actors are ended after the test."""
    import ray

    name = f"test-{secrets.token_hex(4)}"
    yield name
    for entry in ray.util.list_named_actors(all_namespaces=True):
        if entry["namespace"] == name:
            ray.kill(ray.get_actor(entry["name"], name))
