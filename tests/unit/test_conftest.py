import subprocess
import sys

import pytest


def test_ray_cannot_be_started_in_a_unit_test() -> None:
    import ray

    with pytest.raises(AssertionError, match="tests/cluster"):
        ray.init(address="local")


def test_importing_the_package_loads_neither_ray_nor_the_http_client() -> None:
    code = (
        "import sys, zejzl_ray; print(sorted({'ray', 'httpx2', 'zejzl_ray.sdk.client'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_whole_sdk_works_without_ray() -> None:
    code = (
        "import sys, zejzl_ray\n"
        "with zejzl_ray.connect('http://127.0.0.1:9', token='t'): pass\n"
        "print('ray' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
