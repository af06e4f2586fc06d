"""Reading ``WWW-Authenticate``. Source: RFC 9110, sections 5.6.1 (lists), 5.6.4 (quoted strings), 11.2 and 11.6.1."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf"[ \t]*({_WORD})[ \t]*=[ \t]*(?:({_WORD})|\"((?:[^\"\\]|\\.)*)\")[ \t]*(?=,|$)")
_SCHEME = re.compile(rf"[ \t]*({_WORD})(?: +(?:([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$))?|[ \t]*(?=,|$))")
_ESCAPE = re.compile(r"\\(.)")
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: the scheme and the names of the parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of all ``WWW-Authenticate`` fields of a response, in order.

    A field that does not follow the grammar gives what could be read of it before the error.
    """
    return [challenge for header in headers for challenge in _parse(header)]


def _parse(header: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    position = 0
    while position < len(header):
        separator = _SEPARATOR.match(header, position)
        if separator is not None:
            position = separator.end()
            continue
        parameter = _PARAMETER.match(header, position)
        if parameter is not None and challenges:
            name, token, quoted = parameter.groups()
            value = token if token is not None else _ESCAPE.sub(r"\1", quoted)
            last = challenges[-1]
            # The first of two equal names counts: a second one would be a way to smuggle another realm in.
            challenges[-1] = Challenge(last.scheme, {name.lower(): value, **last.parameters})
            position = parameter.end()
            continue
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            break
        challenges.append(Challenge(scheme.group(1).lower()))
        position = scheme.end()
    return challenges
