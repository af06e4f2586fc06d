from __future__ import annotations

import errno

from jupyter_containers.errors import CommandNotExecutable, CommandNotFound, StartFailed
from jupyter_containers.runtime import failures


def test_the_program_has_kinds_of_its_own() -> None:
    missing = failures.exception({"what": "command-not-found", "step": "execute", "errno": 2, "detail": "no x"})
    assert type(missing) is CommandNotFound
    assert (missing.exit_code, missing.errno, str(missing)) == (127, 2, "no x")
    denied = failures.exception({"what": "command-not-executable", "step": "execute", "errno": 13, "detail": "x"})
    assert type(denied) is CommandNotExecutable
    assert denied.exit_code == 126


def test_other_failures_name_their_step_and_what_to_do() -> None:
    failed = failures.exception({"what": "failed", "step": "mounts", "errno": errno.EPERM, "detail": "mount proc"})
    assert type(failed) is StartFailed
    assert failed.step == "mounts"
    assert str(failed) == "cannot start the container (mounts): mount proc"
    assert failed.hint is not None
    assert "doctor" in failed.hint


def test_a_refused_user_namespace_names_the_sysctl() -> None:
    for code, word in ((errno.ENOSPC, "max_user_namespaces"), (errno.EPERM, "unprivileged_userns_clone")):
        refused = failures.no_user_namespace(code, "refused")
        assert word in (refused.hint or "")
