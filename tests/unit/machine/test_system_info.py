"""What a snapshot says of its system."""

import sys

from zejzl_ray.machine.system_info import read_system_info


def test_it_tells_of_this_machine_and_process() -> None:
    info = read_system_info()
    assert info["python_version"] == ".".join(str(part) for part in sys.version_info[:3])
    assert info["cpu_count"] >= 1
    assert 0 < info["memory_available_bytes"] <= info["memory_total_bytes"]
    assert info["process_memory_bytes"] > 0
    assert 0 <= info["disk_used_ratio"] <= 1
    assert info["uptime_s"] > 0


def test_a_disk_that_is_not_there_is_named() -> None:
    info = read_system_info("/not/there")
    assert "disk_used_ratio" not in info
    assert info["missing"] == {"disk_used_ratio": "No such file or directory"}
