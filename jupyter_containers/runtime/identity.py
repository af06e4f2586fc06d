"""Who a container's process runs as: names looked up in the container's own passwd and group files.

Pure. The rules are those of Docker's ``--user`` (docs.docker.com, "docker run --user") and of passwd(5) and group(5).
"""

from __future__ import annotations

_LARGEST_ID = 2**32 - 2
_PASSWD_FIELDS = 6
_GROUP_FIELDS = 4


class Identity:
    """Numeric ids, and the home directory to put into the environment."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


class UnknownUserError(Exception):
    """The user or group asked for is not in the files and is no number."""


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    value = int(text)
    if value > _LARGEST_ID:
        raise UnknownUserError(f"{text} is larger than any user or group id")
    return value


def _rows(text: str, fields: int) -> list[list[str]]:
    rows = [line.split(":") for line in text.splitlines() if line and not line.startswith("#")]
    return [row for row in rows if len(row) >= fields]


def _group(name: str, group_file: str) -> int:
    for row in _rows(group_file, _GROUP_FIELDS - 1):
        if row[0] == name and row[2].isdigit():
            return int(row[2])
    number = _number(name)
    if number is None:
        raise UnknownUserError(f"unable to find group {name}: no matching entries in group file")
    return number


def resolve(user: str, extra_groups: list[str], passwd: str, group_file: str) -> Identity:
    """Look up ``name|uid[:group|gid]``.

    A number needs no entry: its group is then 0 and its home ``/``. Without a group in ``user``, the user gets the
    groups of the group file that list it. A name wins over a number of the same text, as in Docker.

    Raises
    ------
    UnknownUserError
        With Docker's wording.
    """
    name, _, group = user.partition(":")
    uid, gid, home, login = 0, 0, "/", ""
    number = _number(name or "0")
    rows = [row for row in _rows(passwd, _PASSWD_FIELDS) if row[2].isdigit() and row[3].isdigit()]
    by_name = [row for row in rows if row[0] == name]
    by_number = [row for row in rows if int(row[2]) == number]
    if by_name or by_number:
        row = (by_name or by_number)[0]
        login, uid, gid, home = row[0], int(row[2]), int(row[3]), row[5] or "/"
    elif number is not None:
        uid = number
    else:
        raise UnknownUserError(f"unable to find user {name}: no matching entries in passwd file")
    groups: list[int] = []
    if group:
        gid = _group(group, group_file)
    elif login:
        rows = _rows(group_file, _GROUP_FIELDS)
        groups += [int(row[2]) for row in rows if login in row[3].split(",") and row[2].isdigit()]
    groups += [_group(extra, group_file) for extra in extra_groups]
    return Identity(uid, gid, list(dict.fromkeys(groups)), home)
