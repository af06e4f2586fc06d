"""The verbs on the files of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

from jupyter_containers.commands import humane
from jupyter_containers.commands.context import StandardOutput
from jupyter_containers.commands.lifecycle import CONTAINER
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Built, ChangeListing, Lines, Result
from jupyter_containers.errors import InvalidInput, UsageError
from jupyter_containers.events import Notice

if TYPE_CHECKING:
    from jupyter_containers.commands.context import Context

_STREAM = "-"


def _side(text: str) -> tuple[str, str]:
    """Container and path of one side of ``cp``; a path of the host has no container.

    As with Docker, what begins with ``/`` or ``.`` is a path of the host, whatever colons are in it.
    """
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or not name:
        return "", text
    return name, path or "/"


def _cp(context: Context, arguments: Arguments) -> Result:
    source, target = arguments.positionals
    (name, path), (other, place) = _side(source), _side(target)
    if bool(name) == bool(other):
        raise InvalidInput(
            "cp copies between a container and the host: one side is CONTAINER:PATH",
            hint="a path of the host with a colon in it begins with ./ or /",
        )
    if _STREAM in {source, target} and (path if other else place) == _STREAM:
        return _copy_stream(context, arguments, (name, path), (other, place))
    containers = context.engine().containers
    follow = arguments.flag("follow-link")
    if name:
        copied = containers.copy_from(name, path, place, follow_link=follow, archive=arguments.flag("archive"))
    else:
        copied = containers.copy_to(other, path, place, follow_link=follow)
    if copied is not None and not arguments.flag("quiet"):
        context.sink(Notice(f"Successfully copied {humane.size(copied.size)} to {target}", "info"))
    return Lines(())


def _copy_stream(context: Context, arguments: Arguments, source: tuple[str, str], target: tuple[str, str]) -> Result:
    containers = context.engine().containers
    follow = arguments.flag("follow-link")
    if source[0]:
        output = cast("BinaryIO", StandardOutput(context.sink))
        containers.copy_from(*source, output, follow_link=follow)
        return Lines(())
    if context.console is None:
        raise UsageError("there is no standard input to read an archive from", hint="give the path of a file")
    with open("/dev/stdin", "rb") as stream:
        containers.copy_to(target[0], stream, target[1])
    return Lines(())


def _export(context: Context, arguments: Arguments) -> Result:
    path = arguments.text("output")
    if path is None and context.console is None:
        raise UsageError("export needs the file to write", hint="add -o FILE.tar")
    output = cast("BinaryIO", StandardOutput(context.sink)) if path in {None, _STREAM} else path
    assert output is not None
    context.engine().containers.export(arguments.positionals[0], output)
    return Lines(())


def _diff(context: Context, arguments: Arguments) -> Result:
    name = arguments.positionals[0]
    return ChangeListing(name, tuple(context.engine().containers.diff(name)))


def _commit(context: Context, arguments: Arguments) -> Result:
    name, repository = (*arguments.positionals, None)[:2]
    assert name is not None
    made = context.engine().containers.commit(
        name,
        repository,
        author=arguments.text("author"),
        message=arguments.text("message"),
        change=arguments.texts("change"),
        pause=arguments.options.get("pause", True) is True and not arguments.flag("no-pause"),
    )
    return Built(made, quiet=True)


def _import(context: Context, arguments: Arguments) -> Result:
    source, name = (*arguments.positionals, None)[:2]
    assert source is not None
    if source == _STREAM and context.console is None:
        raise UsageError("there is no standard input to read an archive from", hint="give the path of a file")
    made = context.engine().images.import_archive(
        "/dev/stdin" if source == _STREAM else source,
        name,
        message=arguments.text("message"),
        change=arguments.texts("change"),
        platform=arguments.text("platform"),
    )
    return Built(made, quiet=True)


_CHANGE = Option(
    "change", "Instruction of a Dockerfile that says how containers are started", "c", "INSTRUCTION", repeatable=True
)
_MESSAGE = Option("message", "Message for the image's history", "m", "TEXT")

_PLACE = Argument("CONTAINER:PATH|PATH|-", completes="place")
COMMANDS = (
    Command(
        ("cp", "container cp"),
        "container",
        "Copy files between a container and the host",
        _cp,
        (
            Option("archive", "Keep owners, as far as this user may", "a", kind="bool"),
            Option("follow-link", "Copy what a symbolic link leads to", "L", kind="bool"),
            Option("quiet", "Do not say what was copied", "q", kind="bool"),
        ),
        (_PLACE, _PLACE),
        examples=("cp web:/var/log/. logs", "cp notes.txt web:/srv/"),
        python=("containers.copy_to", "containers.copy_from"),
    ),
    Command(
        ("export", "container export"),
        "container",
        "Write the file system of a container as a tar archive",
        _export,
        (Option("output", "The file to write instead of standard output", "o", "FILE", completes="path"),),
        (CONTAINER,),
        examples=("export web -o web.tar",),
        python=("containers.export",),
    ),
    Command(
        ("diff", "container diff"),
        "container",
        "List what a container changed of its image's files: A added, C changed, D deleted",
        _diff,
        arguments=(CONTAINER,),
        python=("containers.diff",),
    ),
    Command(
        ("commit", "container commit"),
        "container",
        "Make an image of a container",
        _commit,
        (
            Option("author", "Author of the image", "a", "NAME"),
            _CHANGE,
            _MESSAGE,
            Option("pause", "Let it stand still meanwhile", "p", kind="bool", default="true"),
            Option("no-pause", "Let it go on meanwhile", kind="bool"),
        ),
        (CONTAINER, Argument("REPOSITORY[:TAG]", minimum=0)),
        examples=("commit -c 'CMD [\"serve\"]' web shop:1",),
        python=("containers.commit",),
    ),
    Command(
        ("import", "image import"),
        "image",
        "Make an image of a tar archive of a file system",
        _import,
        (
            _CHANGE,
            _MESSAGE,
            Option("platform", "Platform the image is for", None, "OS/ARCH"),
        ),
        (Argument("FILE|URL|-", completes="path"), Argument("REPOSITORY[:TAG]", minimum=0)),
        examples=("import rootfs.tar.gz base:1", "import https://example.org/rootfs.tar.xz base:2"),
        python=("images.import_archive",),
    ),
)
