"""Every instruction, flag, directive and modifier of the language is used by a case of the corpus that can be built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jupyter_containers.build import dockerfile
from jupyter_containers.build.dockerfile import mounts
from jupyter_containers.build.dockerfile.flags import FLAGS
from jupyter_containers.build.dockerfile.instructions import MountType, Sharing
from jupyter_containers.build.dockerfile.parser import KEYWORDS
from jupyter_containers.errors import DockerfileError

CASES = Path(__file__).parents[3] / "corpus" / "dockerfile" / "cases"

# What the reference names ("Dockerfile reference"), and how a file that uses it looks.
FEATURES = {
    **{word: rf"^{word}\b" for word in KEYWORDS},
    **{f"{word} --{flag}": rf"^{word}\b.* --{flag}\b" for word, flags in FLAGS.items() for flag in flags},
    **{f"mount type {kind.value}": rf"--mount=\S*type={kind.value}" for kind in MountType},
    **{f"mount sharing {way.value}": rf"sharing={way.value}" for way in Sharing if way is not Sharing.SHARED},
    **{f"mount {key}": rf"--mount=\S*\b{key}\b" for key in (*mounts._KEYS, *mounts._ALIASES)},
    **{f"RUN --network={name}": rf"--network={name}" for name in ("default", "host", "none")},
    "RUN --security": r"--security=insecure",
    "a step without a type of mount": r"--mount=(?!type)\S+",
    **{f"directive {name}": rf"(?i)^#\s*{name}\s*=" for name in ("syntax", "escape", "check")},
    "directives with blanks and in any case": r"^# ESCAPE = `",
    "a byte order mark": "\\A\ufeff",
    "a shebang": r"\A#!",
    "carriage returns": r"\r\n",
    "a comment": r"^# \w",
    "a comment in a continued line": r"\\\n#",
    "an indented comment": r"^ +# ",
    "an empty line in a continued line": r"\\\n\n",
    "continued lines": r"\\\n",
    "the other escape": r"`\n",
    "${v:-w}": r"\$\{\w+:-",
    "${v-w}": r"\$\{\w+-",
    "${v:+w}": r"\$\{\w+:\+",
    "${v+w}": r"\$\{\w+\+",
    "${v:?e}": r"\$\{\w+:\?",
    "${v?e}": r"\$\{\w+\?",
    "${v#p}": r"\$\{\w+#[^#]",
    "${v##p}": r"\$\{\w+##",
    "${v%p}": r"\$\{\w+%[^%]",
    "${v%%p}": r"\$\{\w+%%",
    "${v/p/r}": r"\$\{\w+/[^/]",
    "${v//p/r}": r"\$\{\w+//",
    "$v": r"\$[A-Z]",
    "a dollar that means itself": r"\\\$",
    "nested substitution": r"\$\{\w+:-\$",
    "variables in FROM": r"^FROM .*\$",
    "ARG before FROM": r"\A(?:#.*\n)*ARG ",
    "ARG without a value": r"^ARG \w+$",
    "several ARGs in one": r"^ARG \w+=\S+ \w",
    "predefined ARGs": r"HTTP_PROXY",
    "platform ARGs": r"ARG TARGETPLATFORM",
    "TARGETSTAGE": r"ARG TARGETSTAGE",
    "the old form of ENV": r"^ENV \w+ \w",
    "the old form of LABEL": r"^LABEL \w+ \w",
    "stages by name": r"^COPY .*--from=[a-z]",
    "stages by number": r"^COPY .*--from=[0-9]",
    "an image as --from": r"--from=busybox:1",
    "a stage on a stage": r"^FROM \S+ AS (\w+)\n(?:.*\n)*FROM \1\b",
    "FROM scratch": r"^FROM scratch",
    "FROM a digest": r"^(?i:from) \S+@sha256:",
    "exec form": r'^(?:RUN|CMD|ENTRYPOINT) \["',
    "shell form": r"^CMD [a-z]",
    "JSON that is none": r"^RUN \['",
    "COPY in JSON form": r'^COPY \["',
    "wildcards": r"^COPY \*\.txt",
    "**": r"^COPY .*\*\*/",
    "the pivot of --parents": r"--parents .*/\./",
    "an archive": r"^ADD .*archive\.tar\.gz",
    "a file by HTTP": r"^ADD .*https://\S+x\b",
    "a git repository": r"^ADD \S+\.git#",
    "symbolic modes": r"--chmod=[ugoa]",
    "a script": r"^RUN <<",
    "a script for another interpreter": r"^RUN <<\S+ python3",
    "a script that names its interpreter": r"<<EOF\n#!",
    "a quoted delimiter": r"<<['\"]",
    "tabs that go": r"<<-",
    "several documents": r"^RUN .*<<.*<<",
    "a document as a file": r"^COPY .*<<",
    "ONBUILD in use": r"^FROM alpine AS parent\nONBUILD",
    "HEALTHCHECK NONE": r"^HEALTHCHECK NONE",
    "signals by name, number and offset": r"^STOPSIGNAL 9\nSTOPSIGNAL SIGRTMIN\+3",
    "ranges of ports": r"^EXPOSE [0-9]+-[0-9]+",
    "user and group": r"^USER \w+:\w+",
    "a relative WORKDIR": r"^WORKDIR \w",
    "another shell": r"^SHELL \[",
}


@pytest.fixture(scope="module")
def usable() -> dict[str, str]:
    """The cases that can be understood."""
    found = {}
    for path in CASES.glob("*.dockerfile"):
        text = path.read_bytes().decode()
        try:
            dockerfile.parse(text)
        except DockerfileError:
            continue
        found[path.stem] = text
    return found


@pytest.mark.parametrize("feature", FEATURES)
def test_a_case_uses(feature: str, usable: dict[str, str]) -> None:
    pattern = re.compile(FEATURES[feature], re.MULTILINE)
    assert [name for name, text in usable.items() if pattern.search(text)]
