"""The verb that builds."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, BinaryIO

from jupyter_containers.commands.builder import open_step
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Built, Lines, Result, Table
from jupyter_containers.errors import EngineError, InvalidInput, UsageError
from jupyter_containers.events import Output

if TYPE_CHECKING:
    from jupyter_containers.build.checks import Finding
    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine import Image
    from jupyter_containers.engine.build.keywords import BuildKeywords


def _pairs(entries: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def _source(context: Context, arguments: Arguments) -> tuple[str | BinaryIO | None, str | None]:
    """The build context, and the Dockerfile's text where a cell or standard input has it.

    ``-`` as the context is an archive or a Dockerfile on standard input, ``-f -`` a Dockerfile there.
    """
    path = arguments.positionals[0] if arguments.positionals else None
    if context.dockerfile is not None:
        if arguments.text("file") is not None:
            raise UsageError("the cell's body is the Dockerfile, so --file has no meaning here")
        return (None if path == "-" else path or "."), context.dockerfile
    if path == "-" or arguments.text("file") == "-":
        if context.stdin is None:
            raise UsageError("there is no standard input to read the Dockerfile from")
        stream = io.BytesIO(context.stdin) if isinstance(context.stdin, bytes) else context.stdin
        if path == "-":
            return stream, None
        try:
            return path, stream.read().decode()
        except UnicodeDecodeError as error:
            raise InvalidInput("the Dockerfile on standard input is not UTF-8 text") from error
    if path is None:
        raise UsageError("build requires exactly 1 argument: build [OPTIONS] PATH", hint="'.' is the current directory")
    return path, None


def build_keywords(context: Context, arguments: Arguments) -> tuple[str | BinaryIO | None, BuildKeywords]:
    """The context and the keyword arguments of :meth:`Images.build` for the options that were given."""
    source, dockerfile = _source(context, arguments)
    file = arguments.text("file")
    return source, {
        "dockerfile": dockerfile,
        "file": None if dockerfile is not None or file == "-" else file,
        "tag": list(arguments.texts("tag")) or None,
        "build_arg": _pairs(context.resolve_pairs(arguments.texts("build-arg"))),
        "build_context": _pairs(list(arguments.texts("build-context"))),
        "target": arguments.text("target"),
        "label": _pairs(list(arguments.texts("label"))),
        "no_cache": arguments.flag("no-cache"),
        "no_cache_filter": _lists(arguments.texts("no-cache-filter")),
        "pull": arguments.flag("pull"),
        "platform": arguments.text("platform"),
        "network": arguments.text("network"),
        "secret": list(arguments.texts("secret")),
        "ssh": list(arguments.texts("ssh")),
        "allow": _lists(arguments.texts("allow")),
        "add_host": list(arguments.texts("add-host")),
        "shm_size": arguments.text("shm-size"),
        "ulimit": list(arguments.texts("ulimit")),
        "output": list(arguments.texts("output")),
        "cache_to": list(arguments.texts("cache-to")),
        "cache_from": list(arguments.texts("cache-from")),
        "timestamps": arguments.text("timestamps"),
        "verify": arguments.flag("verify"),
        "sink": context.sink,
    }


def _build(context: Context, arguments: Arguments) -> Result:
    source, given = build_keywords(context, arguments)
    if context.on_stop is not None:
        from jupyter_containers.engine import CancelToken  # noqa: PLC0415 - the engine is slow to import

        given["cancel"] = CancelToken()
        context.on_stop(given["cancel"].cancel)
    if arguments.flag("check"):
        return _checked(context.engine().builds.check(source, **given))
    try:
        image = context.engine().images.build(source, **given)
    except EngineError as error:
        if arguments.flag("debug") and error.build_id:
            _open(context, error)
        raise
    if id_file := arguments.text("iidfile"):
        with open(id_file, "w", encoding="ascii") as stream:
            stream.write(image.id)
    if metadata := arguments.text("metadata-file"):
        with open(metadata, "w", encoding="utf-8") as stream:
            json.dump(_metadata(image), stream, indent=2)
    return Built(image, arguments.flag("quiet"))


def _open(context: Context, error: EngineError) -> None:
    """A shell in what the failed step left, or, where there is no terminal, what that is."""
    if context.console is not None:
        context.sink(Output("stderr", f"{error.message}\n".encode()))  # which also ends the drawing of progress
    result = open_step(context, [], build=error.build_id)
    if isinstance(result, Lines):
        context.sink(Output("stdout", "".join(f"{line}\n" for line in result.lines).encode()))


def _checked(findings: list[Finding]) -> Result:
    rows = [
        (str(finding.line), finding.rule, finding.message, finding.explanation, finding.url) for finding in findings
    ]
    return Table(("LINE", "RULE", "FOUND", "EXPLANATION", "URL"), tuple(rows))


def _metadata(image: Image) -> dict[str, object]:
    """What ``--metadata-file`` holds, by buildx's keys."""
    assert image.build is not None
    manifest = image.build.manifest
    return {
        "containerimage.config.digest": str(image.id),
        "containerimage.descriptor": {
            "mediaType": manifest.media_type,
            "digest": str(manifest.digest),
            "size": manifest.size,
        },
        "containerimage.digest": str(image.digest),
        "image.name": ",".join(image.names),
    }


def _lists(texts: tuple[str, ...] | list[str]) -> list[str]:
    return [name for text in texts for name in text.split(",") if name]


COMMANDS = (
    Command(
        ("build", "image build", "builder build"),
        "builder",
        "Build an image from a Dockerfile",
        _build,
        (
            Option("add-host", "Name an address in /etc/hosts of steps", None, "NAME:ADDRESS", repeatable=True),
            Option(
                "allow",
                "Allow what steps ask for: security.insecure",
                None,
                "NAME",
                repeatable=True,
            ),
            Option(
                "build-arg",
                "Set a build argument; a bare NAME takes the caller's value",
                None,
                "NAME=VALUE",
                repeatable=True,
                completes="variable",
            ),
            Option(
                "build-context",
                "A folder, a URL, or what stands for an image: docker-image://, oci-layout://, target:STAGE",
                None,
                "NAME=VALUE",
                repeatable=True,
            ),
            Option(
                "cache-from",
                "Take steps from there: type=local,src=DIR or type=registry,ref=NAME",
                None,
                "CACHE",
                repeatable=True,
            ),
            Option(
                "cache-to",
                "Carry it there: type=local,dest=DIR, type=registry,ref=NAME (mode=max: all stages), type=inline",
                None,
                "CACHE",
                repeatable=True,
            ),
            Option("check", "Look for mistakes only, and build nothing", kind="bool"),
            Option("debug", "After a failed step open a shell in what it left", kind="bool"),
            Option(
                "file",
                "The Dockerfile, '-' for standard input",
                "f",
                "FILE",
                default="PATH/Dockerfile",
                completes="path",
            ),
            Option("iidfile", "Write the id of the image to a file", None, "FILE", completes="path"),
            Option("label", "Set a label of the image", None, "KEY=VALUE", repeatable=True),
            Option("metadata-file", "Write digests and names to a file, as JSON", None, "FILE", completes="path"),
            Option(
                "network", "Network of RUN steps", None, "MODE", default="default", choices=("default", "host", "none")
            ),
            Option("no-cache", "Run every step anew", kind="bool"),
            Option("no-cache-filter", "Run the steps of this stage anew", None, "STAGE", repeatable=True),
            Option(
                "output",
                "Where else the result goes: a directory, type=local|tar|oci|docker|image,dest=PATH",
                "o",
                "OUTPUT",
                repeatable=True,
            ),
            Option("platform", "Platform to build for", None, "OS/ARCH"),
            Option(
                "progress",
                "How progress is shown",
                None,
                "HOW",
                default="auto",
                choices=("auto", "plain", "quiet", "rawjson", "tty"),
            ),
            Option("pull", "Look for a newer base image", kind="bool"),
            Option("quiet", "Show nothing but the id of the image", "q", kind="bool"),
            Option(
                "secret",
                "A secret for RUN --mount=type=secret: id=NAME,src=FILE or id=NAME,env=VARIABLE",
                None,
                "SECRET",
                repeatable=True,
            ),
            Option("shm-size", "Size of /dev/shm in RUN steps", None, "BYTES"),
            Option(
                "ssh", "An SSH agent for RUN --mount=type=ssh: default or ID=SOCKET", None, "AGENT", repeatable=True
            ),
            Option("tag", "Name of the image", "t", "NAME[:TAG]", repeatable=True, completes="image"),
            Option("target", "Build this stage", None, "STAGE"),
            Option(
                "timestamps",
                "One time for all that is made, or the times of files and of the clock",
                None,
                "HOW",
                default="source",
                choices=("source", "keep"),
            ),
            Option("ulimit", "A resource limit of RUN steps", None, "NAME=SOFT[:HARD]", repeatable=True),
            Option("verify", "Build twice from scratch and say where the images differ", kind="bool"),
        ),
        (Argument("PATH", minimum=0, completes="path"),),
        body="dockerfile",
        examples=("build -t tool:1 .", "build -f Dockerfile.test --target test ."),
        python=("images.build",),
    ),
)
