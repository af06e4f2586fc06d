from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.linux import mount


def test_options_are_sorted_by_what_the_kernel_does_with_them() -> None:
    options = mount.Options(["ro", "nosuid", "rbind", "rprivate", "rro", "size=64m", "mode=755", "defaults"])
    assert options.flags == mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_BIND | mount.MS_REC
    assert options.propagation == [mount.MS_PRIVATE | mount.MS_REC]
    assert options.recursive == mount.MS_RDONLY
    assert options.data == ["size=64m", "mode=755"]


def test_the_last_of_two_opposites_counts() -> None:
    assert mount.Options(["ro", "rw"]).flags == 0
    assert mount.Options(["ro", "rw"]).cleared == mount.MS_RDONLY
    assert mount.Options(["rw", "ro"]).flags == mount.MS_RDONLY
    assert mount.Options(["rw", "ro"]).cleared == 0
    assert mount.Options(["noatime", "strictatime"]).flags == mount.MS_STRICTATIME


@given(st.lists(st.sampled_from(sorted(mount._FLAGS))))
def test_a_flag_is_never_set_and_cleared_at_once(names: list[str]) -> None:
    options = mount.Options(names)
    assert options.flags & options.cleared == 0
    assert options.data == []


def test_attributes_replace_the_time_of_access_as_a_whole() -> None:
    assert mount.attributes(mount.MS_RDONLY | mount.MS_NODEV) == (
        mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NODEV,
        0,
    )
    assert mount.attributes(mount.MS_NOATIME) == (mount.MOUNT_ATTR_NOATIME, mount.MOUNT_ATTR__ATIME)
    assert mount.attributes(mount.MS_RELATIME) == (0, mount.MOUNT_ATTR__ATIME)


def test_options_the_kernel_would_cut_are_refused() -> None:
    with pytest.raises(OSError, match="longer than a page") as caught:
        mount.mount(b"x", b"/nowhere", b"overlay", 0, b"x" * 4096)
    assert caught.value.errno == 7


def test_errors_carry_the_errno() -> None:
    with pytest.raises(OSError, match="open_tree"):  # ENOENT for root, EPERM for others
        mount.open_tree(-100, b"/no/such/place")
    directory = os.open("/", os.O_PATH)
    try:
        with pytest.raises(OSError, match="mount_setattr"):
            mount.set_attributes(directory, 1 << 60)
    finally:
        os.close(directory)
