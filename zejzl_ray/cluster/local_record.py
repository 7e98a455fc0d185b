"""Reading what this machine has written down about its own node, by this release or by another one."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from zejzl_ray.errors import ClusterError

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_local_record(path: Path, model: type[ModelT]) -> ModelT | None:
    """Return a record; None when there is no such file.

    What a newer release has added is ignored, so that the one before can be gone back to.

    Raises:
        ClusterError: the file is there, and cannot be read or understood. That is never taken for "nothing there".
    """
    try:
        return model.model_validate_json(path.read_bytes(), extra="ignore")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(f"Cannot read {path}: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ClusterError(
            f"Cannot understand {path} ({place + ': ' if place else ''}{first['msg']}).",
            "Another release has written it, or it is damaged. Use that release (`zejzl rollback --to`) for this node; "
            "where nothing of the node runs any more, remove the file.",
        ) from None
