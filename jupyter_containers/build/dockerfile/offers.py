"""What may stand at the end of a Dockerfile that is being written: for completion in editors.

Nothing is refused here: text that is no Dockerfile has nothing offered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile.flags import FLAGS, Kind
from jupyter_containers.build.dockerfile.heredocs import opened_by
from jupyter_containers.build.dockerfile.instructions import MountType, Sharing
from jupyter_containers.build.dockerfile.mounts import ALLOWED, SWITCHES
from jupyter_containers.build.dockerfile.parser import KEYWORDS
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_containers.build.dockerfile.nodes import Heredoc

_VARIABLE = re.compile(r"\$(\{?)\w*$")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE)
_OLD: Final = frozenset({"MAINTAINER"})
_PLATFORM: Final = tuple(
    f"{which}{what}" for which in ("TARGET", "BUILD") for what in ("PLATFORM", "OS", "ARCH", "VARIANT")
)
"""Set by the builder: at once for FROM, where an ARG asks for them after it."""
_VALUES: Final = {
    "network": ("default", "none", "host"),
    "security": ("sandbox", "insecure"),
    "platform": ("$BUILDPLATFORM", "$TARGETPLATFORM", "linux/amd64", "linux/arm64"),
}
_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGWINCH")


@dataclass(frozen=True, slots=True)
class Offer:
    """What may replace ``word``, the last word of the text: ``prefix`` and one of ``texts``.

    ``images`` says that the name of an image may stand there as well, ``paths`` that a path in the build context may.
    """

    word: str = ""
    texts: tuple[str, ...] = ()
    prefix: str = ""
    images: bool = False
    paths: bool = False


@dataclass(slots=True)
class _Stage:
    """A FROM and what was declared after it."""

    name: str = ""
    names: dict[str, None] = field(default_factory=dict)
    kept: dict[str, None] = field(default_factory=dict)
    """Those of ENV, which a stage on top has too."""


def offer(text: str) -> Offer:
    """What may stand at the end of ``text``."""
    before, last = _logical_lines(text)
    if last is None:
        return Offer()
    return _in_instruction(before, last.lstrip())


def _logical_lines(text: str) -> tuple[list[str], str | None]:
    """The instructions on one line each, and the one that is not ended; None in a comment or a here-document."""
    *lines, last = text.split("\n")
    directive = _ESCAPE.match(lines[0]) if lines else None
    escape = directive[1] if directive else "\\"
    done: list[str] = []
    current = ""
    documents: list[Heredoc] = []
    for line in lines:
        if documents:
            if (line.lstrip("\t") if documents[0].strip_tabs else line) == documents[0].name:
                documents.pop(0)
            continue
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        current += line.rstrip()
        if current.endswith(escape):
            current = current[:-1]
            continue
        done.append(current.strip())
        documents, current = opened_by(current), ""
    return done, None if documents or last.lstrip().startswith("#") else current + last


def _in_instruction(before: list[str], line: str) -> Offer:
    keyword, space, rest = line.partition(" ")
    if not space:
        # in the case in which it was begun
        lower = keyword.islower()
        return Offer(keyword, tuple(word.lower() if lower else word for word in sorted(KEYWORDS - _OLD)))
    keyword = keyword.upper()
    *words, word = re.split(r"\s+", rest.lstrip())
    if keyword == "ONBUILD":
        triggers = tuple(sorted(KEYWORDS - _OLD - {"FROM", "ONBUILD"}))
        return _in_instruction(before, rest.lstrip()) if words else Offer(word, triggers)
    globally, stages = _declared(before)
    variable = _VARIABLE.search(word)
    if variable is not None:
        names = {*globally, *_PLATFORM} if keyword == "FROM" else stages[-1].names if stages else globally
        end = "}" if variable[1] else ""
        return Offer(word, tuple(f"{name}{end}" for name in names), word[: variable.start()] + f"${variable[1]}")
    named = [stage.name for stage in (stages if keyword == "FROM" else stages[:-1]) if stage.name]
    if word.startswith("-") and all(each.startswith("--") for each in words):
        return _flag(keyword, word, named)
    return _argument(keyword, words, word, named, globally)


def _argument(keyword: str, words: list[str], word: str, stages: list[str], globally: Iterable[str]) -> Offer:
    plain = [each for each in words if not each.startswith("--")]
    if keyword in {"COPY", "ADD"}:
        return Offer(word, paths=not any(each.startswith("--from=") for each in words))
    texts: tuple[str, ...] = ()
    match keyword:
        case "FROM" if not plain:
            texts = (*stages, "scratch")
        case "FROM" if len(plain) == 1:
            texts = ("AS",)
        case "ARG":
            texts = (*globally, *_PLATFORM)
        case "HEALTHCHECK" if not plain:
            texts = ("CMD", "NONE")
        case "STOPSIGNAL" if not plain:
            texts = _SIGNALS
    return Offer(word, texts, images=keyword == "FROM" and not plain)


def _flag(keyword: str, word: str, stages: list[str]) -> Offer:
    name, equals, value = word[2:].partition("=")
    flags = FLAGS.get(keyword, {})
    if not equals:
        return Offer(word, tuple(f"--{each}" + ("" if kind is Kind.BOOLEAN else "=") for each, kind in flags.items()))
    if name not in flags:
        return Offer(word)
    prefix = f"--{name}="
    if name == "mount":
        return _mount(word, value, stages)
    if name == "from":
        return Offer(word, tuple(stages), prefix, images=True)
    if flags[name] is Kind.BOOLEAN:
        return Offer(word, ("true", "false"), prefix)
    return Offer(word, _VALUES.get(name, ()), prefix)


def _mount(word: str, value: str, stages: list[str]) -> Offer:
    """The keys of ``--mount``, those that its type takes, and their values."""
    *ready, last = value.split(",")
    key, equals, text = last.partition("=")
    prefix = word[: len(word) - len(text if equals else last)]
    given = dict(each.partition("=")[::2] for each in ready)
    if not equals:
        kind = next((each for each in MountType if each.value == given.get("type", "bind")), MountType.BIND)
        keys = sorted(ALLOWED[kind] - given.keys(), key=lambda each: (each != "type", each))
        return Offer(word, tuple(each if each in SWITCHES else f"{each}=" for each in keys), prefix)
    if key == "type":
        return Offer(word, tuple(each.value for each in MountType), prefix)
    if key == "sharing":
        return Offer(word, tuple(each.value for each in Sharing), prefix)
    if key == "from":
        return Offer(word, tuple(stages), prefix, images=True)
    in_context = key in {"source", "src"} and given.get("type", "bind") == "bind" and "from" not in given
    return Offer(word, (), prefix, paths=in_context)


def _declared(lines: Iterable[str]) -> tuple[dict[str, None], list[_Stage]]:
    """The names of ARG before the first FROM, and the stages."""
    globally: dict[str, None] = {}
    stages: list[_Stage] = []
    for line in lines:
        keyword, *words = line.split()
        match keyword.upper():
            case "FROM":
                stages.append(_begun(words, stages))
            case "ARG":
                names = stages[-1].names if stages else globally
                names.update(dict.fromkeys(word.partition("=")[0] for word in words))
            case "ENV" if stages and words:
                pairs = [word.partition("=")[0] for word in words if "=" in word] if "=" in words[0] else words[:1]
                stages[-1].names.update(dict.fromkeys(pairs))
                stages[-1].kept.update(dict.fromkeys(pairs))
    return globally, stages


def _begun(words: list[str], stages: list[_Stage]) -> _Stage:
    plain = [word for word in words if not word.startswith("--")]
    name = plain[2] if len(plain) > 2 and plain[1].upper() == "AS" else ""  # noqa: PLR2004 - IMAGE AS NAME
    below = next((each for each in reversed(stages) if plain and each.name.lower() == plain[0].lower()), _Stage())
    return _Stage(name, dict(below.kept), dict(below.kept))
