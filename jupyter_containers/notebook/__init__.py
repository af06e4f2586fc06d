"""The notebook front end: ``%container``, ``%%container``, tables, progress and displays.

Loading registers names only; what they need is imported when they are first used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_containers.notebook.magics import Dispatcher
    from jupyter_containers.notebook.session import Session
    from jupyter_containers.notebook.settings import ContainerMagics

_ATTRIBUTE = "_jupyter_containers"
NAME = "container"

_DOC = """Run a container verb: ``%container [NOTEBOOK OPTIONS] VERB [OPTIONS] [ARGUMENTS]``.

``%container --help`` lists the verbs; ``%container run --help`` and ``%container run?`` explain one. The options are
Docker's.

    %container pull alpine
    %container run --rm alpine echo hello
    %container -o containers ps -a          # keeps a DataFrame as `containers`

As ``%%container`` the cell's body is the Dockerfile of ``build``, or the standard input of ``run`` and ``exec``
(a shell script where no command is given):

    %%container build -t greeter
    FROM alpine
    RUN echo hello > /greeting

A whole word ``{expression}`` is replaced by its value in the notebook; ``-e NAME`` and ``--build-arg NAME`` take NAME
from the notebook, then from the environment. A ``;`` at the end of the line keeps the value from being shown.
``%config ContainerMagics`` lists what can be set once for a notebook.

Notebook options, before the verb:
    -o NAME     keep the result as NAME and do not show it
    --no-raise  return the result of a failed run instead of raising ContainerFailed
    --quiet     show no output and no progress
"""


class _Extension:
    """What was registered with one shell, to take it back."""

    def __init__(self, shell: InteractiveShell) -> None:
        from jupyter_containers.notebook.session import Session  # noqa: PLC0415 - kept out of the package's import

        self._shell = shell
        self._session = Session()
        self._dispatcher: Dispatcher | None = None
        self._magic = self._make_magic()
        self._settings: ContainerMagics | None = None

    def _make_magic(self) -> Callable[[str, str | None], Any]:
        def container(line: str, cell: str | None = None) -> Any:
            return self._dispatch(line, cell)

        container.__doc__ = _DOC
        # The attribute that IPython's @no_var_expand sets: braces and $NAME are read here, never by IPython.
        container._ipython_magic_no_var_expand = True  # type: ignore[attr-defined]  # noqa: SLF001 - IPython's contract
        return container

    def _dispatch(self, line: str, cell: str | None) -> Any:
        if self._dispatcher is None:
            from jupyter_containers.notebook.magics import Dispatcher  # noqa: PLC0415 - imported on first use

            assert self._settings is not None
            self._dispatcher = Dispatcher(self._shell, self._session, self._settings)
        return self._dispatcher.dispatch(line, cell)

    def _complete(self, context: Any) -> Any:
        from jupyter_containers.notebook.completion import complete  # noqa: PLC0415 - imported on first use

        return complete(context, self._session, self._shell.user_ns)

    def register(self) -> None:
        """Add the magics, the displays, the help and the completion."""
        from jupyter_containers.notebook import display, settings  # noqa: PLC0415 - kept out of the package's import

        self._settings = settings.register(self._shell)
        self._shell.magics_manager.register_function(self._magic, "line_cell", NAME)
        display.register(self._shell, self._session)
        self._shell.input_transformers_cleanup.append(question_mark_to_help)
        if (completer := self._shell.Completer) is not None:
            self._matcher = make_matcher(self._complete)
            completer.custom_matchers.append(self._matcher)

    @property
    def session(self) -> Session:
        """What all magics and widgets of the shell share."""
        return self._session

    def remove(self) -> None:
        """Undo :meth:`register` and close the engine."""
        from jupyter_containers.notebook import display, settings  # noqa: PLC0415 - as above

        if self._settings is not None:
            settings.unregister(self._shell, self._settings)
        for kind in ("line", "cell"):
            self._shell.magics_manager.magics[kind].pop(NAME, None)
        display.unregister(self._shell)
        self._shell.input_transformers_cleanup.remove(question_mark_to_help)
        if (completer := self._shell.Completer) is not None:
            completer.custom_matchers.remove(self._matcher)
        self._session.close()


def make_matcher(complete: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A matcher of IPython's second version, which is given the whole cell."""
    from IPython.core.completer import context_matcher  # noqa: PLC0415 - IPython is there when this is called

    @context_matcher(identifier="jupyter_containers")  # type: ignore[untyped-decorator]  # IPython has no types
    def container_matcher(context: Any) -> Any:
        return complete(context)

    return container_matcher  # type: ignore[no-any-return]


_QUESTION = re.compile(rf"(?P<magic>%%?{NAME})(?P<words>(?:\s+[\w-]+)+)\s*\?\??\s*")


def question_mark_to_help(lines: list[str]) -> list[str]:
    """``%container run?`` is ``%container run --help``; IPython alone would look for an object ``run``.

    Notebook options before the verb are left out, as is a second question mark.
    """
    found = _QUESTION.fullmatch(lines[0].strip()) if len(lines) == 1 else None
    if found is None:
        return lines
    words = [word for word in found["words"].split() if not word.startswith("-")]
    return [f"%{NAME} {' '.join(words)} --help\n"]


def load(shell: InteractiveShell) -> None:
    """Register ``%container`` and ``%%container`` with a shell. Loading again changes nothing."""
    if not hasattr(shell, _ATTRIBUTE):
        extension = _Extension(shell)
        extension.register()
        setattr(shell, _ATTRIBUTE, extension)


def session_of(shell: InteractiveShell) -> Session:
    """The session of a shell that the extension is loaded in."""
    return getattr(shell, _ATTRIBUTE).session  # type: ignore[no-any-return]


def unload(shell: InteractiveShell) -> None:
    """Take everything back that :func:`load` registered, and close the engine."""
    extension = getattr(shell, _ATTRIBUTE, None)
    if extension is not None:
        delattr(shell, _ATTRIBUTE)
        extension.remove()
