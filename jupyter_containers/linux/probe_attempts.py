"""Tries what a container needs, in a process of its own, and prints as JSON what the kernel said.

Run as ``python -I -S probe_attempts.py DIRECTORY``: nothing but the standard library, one thread, and everything it
does ends with it. ``DIRECTORY`` is one of our own, on the file system of the store; an overlay is mounted on it.

Each value is 0, or the errno of the first step that failed. Sources: user_namespaces(7), mount(2), overlayfs.rst.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x0002_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
)
_ALL = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
_MS_REC_PRIVATE = 0x4000 | 0x4_0000
_NETLINK_NETFILTER = 12
_PR_GET_SECCOMP_FILTER_CHECK = (22, 2)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER: EFAULT for a null filter if it is there
_EFAULT = 14

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Make every attempt and print the results."""
    directory = sys.argv[1]
    uid, gid = os.geteuid(), os.getegid()
    results = {
        "userns": _in_child(lambda: _enter_userns(uid, gid)),
        "userns_namespaces": _in_child(lambda: _enter_userns(uid, gid) or _unshare(_ALL)),
        "userns_proc": _in_child(lambda: _enter_userns(uid, gid) or _unshare(_ALL) or _in_child(_mount_proc)),
        "userns_overlay": _in_child(
            lambda: _enter_userns(uid, gid) or _unshare(_ALL) or _overlay(directory, "userxattr")
        ),
        "namespaces": _in_child(lambda: _unshare(_ALL)),
        "proc": _in_child(lambda: _unshare(_ALL) or _in_child(_mount_proc)),
        "overlay": _in_child(lambda: _unshare(_NEWNS) or _overlay(directory, "")),
        "seccomp": _seccomp(),
        "nftables": _in_child(lambda: _unshare(_NEWNET) or _nftables()),
    }
    print(json.dumps(results))  # noqa: T201 - this is how the results travel


def _in_child(attempt: Callable[[], int]) -> int:
    """The result of an attempt made in a forked process, which takes its namespaces with it."""
    pid = os.fork()  # noqa: TID251 - a small process of its own with one thread
    if pid == 0:
        code = 255
        try:
            code = attempt()
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _result(value: int) -> int:
    return 0 if value == 0 else ctypes.get_errno()


def _unshare(flags: int) -> int:
    return _result(_libc.unshare(flags))


def _mount(source: str, target: str, kind: str, flags: int, data: str) -> int:
    return _result(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()))


def _enter_userns(uid: int, gid: int) -> int:
    if failed := _unshare(_NEWUSER):
        return failed
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "wb", buffering=0) as file:
            file.write(text.encode())
    return 0


def _mount_proc() -> int:
    return _mount("", "/", "", _MS_REC_PRIVATE, "") or _mount("proc", "/proc", "proc", 0, "")


def _overlay(directory: str, option: str) -> int:
    os.chdir(directory)
    places = ("lower", "upper", "work", "merged")
    for name in places:
        os.mkdir(name)
    try:
        data = "lowerdir=lower,upperdir=upper,workdir=work" + (f",{option}" if option else "")
        return _mount("", "/", "", _MS_REC_PRIVATE, "") or _mount("overlay", "merged", "overlay", 0, data) or _copy_up()
    finally:
        _libc.umount2(b"merged", 2)
        for name in ("work/work", "work/index", *places):
            if os.path.isdir(name):
                os.rmdir(name)


def _copy_up() -> int:
    """Make and remove a directory: that is where an upper directory that cannot carry whiteouts or xattrs shows."""
    os.mkdir("merged/made")
    os.rmdir("merged/made")
    return 0


def _seccomp() -> int:
    _libc.prctl(*_PR_GET_SECCOMP_FILTER_CHECK, None, 0, 0)
    found = ctypes.get_errno()
    return 0 if found == _EFAULT else found


def _nftables() -> int:
    """Ask for the number of the rule set's generation, as nft does first (NFT_MSG_GETGEN)."""
    import socket  # noqa: PLC0415 - slow to import, used last

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as channel:
        channel.settimeout(2)
        kind, flags, length = (10 << 8) | 16, 1, 20
        header = length.to_bytes(4, sys.byteorder) + kind.to_bytes(2, sys.byteorder) + flags.to_bytes(2, sys.byteorder)
        channel.send(header + bytes(8) + bytes(4))
        answer = channel.recv(4096)
        if int.from_bytes(answer[4:6], sys.byteorder) == 2:  # noqa: PLR2004 - NLMSG_ERROR
            return -int.from_bytes(answer[16:20], sys.byteorder, signed=True)
    return 0


if __name__ == "__main__":
    main()
