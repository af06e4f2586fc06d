"""The verb that builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Built, Result
from jupyter_containers.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from jupyter_containers.commands.context import Context


def _pairs(entries: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def _dockerfile(context: Context, arguments: Arguments) -> tuple[str | None, str | None]:
    """The context directory, and the Dockerfile's text where a cell or standard input has it."""
    path = arguments.positionals[0] if arguments.positionals else None
    if context.dockerfile is not None:
        if arguments.text("file") is not None:
            raise UsageError("the cell's body is the Dockerfile, so --file has no meaning here")
        return path or ".", context.dockerfile
    if path == "-" or arguments.text("file") == "-":
        if context.stdin is None:
            raise UsageError("there is no standard input to read the Dockerfile from")
        data = context.stdin if isinstance(context.stdin, bytes) else context.stdin.read()
        try:
            return (None if path == "-" else path), data.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput("the Dockerfile on standard input is not UTF-8 text") from error
    if path is None:
        raise UsageError("build requires exactly 1 argument: build [OPTIONS] PATH", hint="'.' is the current directory")
    return path, None


def _build(context: Context, arguments: Arguments) -> Result:
    path, dockerfile = _dockerfile(context, arguments)
    image = context.engine().images.build(
        path,
        dockerfile=dockerfile,
        file=None if dockerfile is not None else arguments.text("file"),
        tag=list(arguments.texts("tag")) or None,
        build_arg=_pairs(context.resolve_pairs(arguments.texts("build-arg"))),
        target=arguments.text("target"),
        label=_pairs(list(arguments.texts("label"))),
        no_cache=arguments.flag("no-cache"),
        pull=arguments.flag("pull"),
        platform=arguments.text("platform"),
        sink=context.sink,
    )
    if id_file := arguments.text("iidfile"):
        with open(id_file, "w", encoding="ascii") as stream:
            stream.write(image.id)
    return Built(image, arguments.flag("quiet"))


COMMANDS = (
    Command(
        ("build", "image build", "builder build"),
        "builder",
        "Build an image from a Dockerfile",
        _build,
        (
            Option(
                "build-arg",
                "Set a build argument; a bare NAME takes the caller's value",
                None,
                "NAME=VALUE",
                repeatable=True,
            ),
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
            Option("no-cache", "Run every step anew", kind="bool"),
            Option("platform", "Platform to build for", None, "OS/ARCH"),
            Option(
                "progress",
                "How progress is shown",
                None,
                "HOW",
                default="auto",
                choices=("auto", "plain", "tty", "quiet"),
            ),
            Option("pull", "Look for a newer base image", kind="bool"),
            Option("quiet", "Show nothing but the id of the image", "q", kind="bool"),
            Option("tag", "Name of the image", "t", "NAME[:TAG]", repeatable=True, completes="image"),
            Option("target", "Build this stage", None, "STAGE"),
        ),
        (Argument("PATH", minimum=0, completes="path"),),
        body="dockerfile",
        examples=("build -t tool:1 .", "build -f Dockerfile.test --target test ."),
    ),
)
