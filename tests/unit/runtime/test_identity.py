from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.runtime.identity import Identity, UnknownUserError, resolve

PASSWD = """root:x:0:0:root:/root:/bin/sh
# comment
ann:x:1000:100:Ann:/home/ann:/bin/sh
7:x:77:77::/seven:
broken:line
"""
GROUP = "root:x:0:\nusers:x:100:\nstaff:x:50:ann,bob\nwheel:x:10:ann\n"


def found(user: str, *extra: str) -> tuple[int, int, list[int], str]:
    identity: Identity = resolve(user, list(extra), PASSWD, GROUP)
    return identity.uid, identity.gid, identity.groups, identity.home


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, [], "/root")),
        ("root", (0, 0, [], "/root")),
        ("0", (0, 0, [], "/root")),
        ("ann", (1000, 100, [50, 10], "/home/ann")),
        ("1000", (1000, 100, [50, 10], "/home/ann")),
        ("ann:staff", (1000, 50, [], "/home/ann")),
        ("ann:4242", (1000, 4242, [], "/home/ann")),
        ("4242", (4242, 0, [], "/")),
        ("4242:wheel", (4242, 10, [], "/")),
        ("7", (77, 77, [], "/seven")),
    ],
)
def test_users_as_docker_finds_them(user: str, expected: tuple[int, int, list[int], str]) -> None:
    assert found(user) == expected


def test_more_groups_are_added_once() -> None:
    assert found("ann", "wheel", "4", "4")[2] == [50, 10, 4]


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("eve", "unable to find user eve: no matching entries in passwd file"),
        ("ann:nogroup", "unable to find group nogroup"),
        ("99999999999", "larger than any"),
        ("-1", "unable to find user -1"),
        ("0:\u0661", "unable to find group"),
    ],
)
def test_who_is_not_there(user: str, text: str) -> None:
    with pytest.raises(UnknownUserError, match=text):
        found(user)


def test_an_image_without_files() -> None:
    identity = resolve("5:6", ["7"], "", "")
    assert (identity.uid, identity.gid, identity.groups, identity.home) == (5, 6, [7], "/")


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=20))
def test_no_file_of_an_image_breaks_it(passwd: str, group: str, user: str) -> None:
    try:
        identity = resolve(user, [], passwd, group)
    except UnknownUserError:
        return
    assert identity.uid >= 0
