"""What a container may ask the kernel for: its filter's answers, and what else holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_containers.engine.explain.xray.text import visible
from jupyter_containers.engine.explain.xray.views import Answer
from jupyter_containers.linux.seccomp_answers import NOTABLE, answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jupyter_containers.engine.launch.isolation import Sandboxing
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.linux.process_look import Look

_INSTRUCTION: Final = 8
_MODES: Final = {"0": "no filter", "1": "strict: read, write and exit alone", "2": "a filter"}


def answers(parts: Parts, sandboxing: Sandboxing) -> tuple[list[Answer], int]:
    """What the filter of a container answers to calls that say much about it; and how many instructions it has.

    The answers come from the very program that is loaded, run here.
    """
    program = parts.planner.filter(sandboxing)
    found = []
    for call, arguments, meaning in NOTABLE:
        said = answer(program, call, arguments, machine=parts.host.machine)
        if said is not None:
            found.append(Answer(call, said, meaning))
    return found, len(program) // _INSTRUCTION


def security(fields: Mapping[str, str], look: Look, length: int) -> Iterator[tuple[str, str]]:
    """``no_new_privs``, mode and filters of seccomp, the security module's label: proc_pid_status(5)."""
    yield "no_new_privs", _yes(fields.get("NoNewPrivs") == "1")
    mode = fields.get("Seccomp", "")
    filters = fields.get("Seccomp_filters", "")
    size = f" of {length} instructions" if mode == "2" and length else ""
    above = f"; {int(filters) - 1} more above it" if filters.isdigit() and int(filters) > 1 else ""
    yield "seccomp", f"{_MODES.get(mode, 'this kernel has none')}{size}{above}"
    yield "security module", _label(look)
    yield "OOM score", f"oom_score_adj {look['texts'].get('oom_score_adj', '').strip() or 'unknown'}"
    yield "open descriptors", "unknown" if look["descriptors"] is None else str(look["descriptors"])


def planned_security(sandboxing: Sandboxing, length: int) -> Iterator[tuple[str, str]]:
    """The same of a container that does not run."""
    yield "no_new_privs", _yes(sandboxing.no_new_privileges)
    yield "seccomp", f"a filter of {length} instructions" if length else "no filter"
    yield "security module", f"AppArmor: {sandboxing.apparmor}" if sandboxing.apparmor else "no profile"


def _yes(value: bool) -> str:
    return "yes: no program gains privileges" if value else "no: set-user-id programs gain privileges"


def _label(look: Look) -> str:
    if "attr/current" not in look["texts"]:
        return "none is active on this host"
    label = look["texts"]["attr/current"].strip("\0\n")
    return f"label {visible(label)}" if label else "no label"
