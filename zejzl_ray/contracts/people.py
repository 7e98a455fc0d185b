"""People on the wire."""

from pydantic import Field

from zejzl_ray.contracts.access import RoleName
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.tokens import MAX_PAGE, Name, RequestId
from zejzl_ray.contracts.wire_secret import WireSecret
from zejzl_ray.ids import new_id


class CreateUser(Contract):
    """Register a person. The password has to satisfy the policy."""

    user: Name
    password: WireSecret = Field(max_length=1024)
    roles: tuple[RoleName, ...] = Field(default=("viewer",), max_length=16)
    request_id: RequestId = Field(default_factory=new_id)


class User(Contract):
    """A person, without anything secret."""

    user: str
    roles: tuple[str, ...]
    created_at_s: float
    created_by: str = ""
    last_login_at_s: float | None = None
    password_changed_at_s: float | None = None
    is_active: bool = True
    is_locked: bool = Field(default=False, description="some address is locked out at the moment")
    sessions: int = 0


class ListUsers(Contract):
    """List people in the order of their names."""

    limit: int = Field(default=100, ge=1, le=MAX_PAGE)
    cursor: str = Field(default="", max_length=128)


class UserPage(Contract):
    """People."""

    users: tuple[User, ...]
    next_cursor: str = ""


class GetUser(Contract):
    """Ask for one person."""

    user: Name


class UpdateUser(Contract):
    """Change roles, or close and open an account. What is null stays. Sessions end where rights shrink."""

    user: Name
    roles: tuple[RoleName, ...] | None = Field(default=None, max_length=16)
    is_active: bool | None = None
    is_unlocked: bool = Field(default=False, description="lift every lock-out of this account")
    request_id: RequestId = Field(default_factory=new_id)


class DeleteUser(Contract):
    """Remove a person; sessions and tokens end. Safe to repeat. The last administrator stays."""

    user: Name
    request_id: RequestId = Field(default_factory=new_id)


class UserDeleted(Contract):
    """Whether there was such a person."""

    user: str
    was_there: bool


class SetPassword(Contract):
    """Change a password. One's own wants the old one; all other sessions of the person end."""

    user: Name
    old_password: WireSecret | None = Field(default=None, max_length=1024)
    new_password: WireSecret = Field(max_length=1024)
    request_id: RequestId = Field(default_factory=new_id)
