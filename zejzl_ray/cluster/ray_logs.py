"""Where Ray writes the logs of this machine."""

from pathlib import Path

import ray._private.worker

from zejzl_ray.machine.log_directory import LogPlace


def ray_log_directory() -> Path | None:
    """Return the directory of Ray's session on this machine; null in a process that is not connected to Ray."""
    # Ray has no public word for it: its own state API asks the dashboard, one file at a time.
    node = getattr(ray._private.worker, "_global_node", None)
    return None if node is None else Path(node.get_logs_dir_path())


def log_places(own: Path) -> tuple[LogPlace, ...]:
    """Return all directories with logs of this machine: ours, Ray's, and that of Ray Serve inside of it.

    Args:
        own: the directory of this machine's own files.
    """
    of_ray = ray_log_directory()
    if of_ray is None:
        return (LogPlace(own),)
    return LogPlace(own), LogPlace(of_ray, is_ray=True), LogPlace(of_ray / "serve", is_ray=True)
