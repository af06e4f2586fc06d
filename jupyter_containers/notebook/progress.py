"""Progress of builds and pulls in a notebook's cell.

One display that is updated in place, at most five times a second, and that stays in the file: every finished step
with its outcome in words and its output folded away.
"""

from __future__ import annotations

import contextvars
import threading
import uuid
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import humane
from jupyter_containers.commands.lines import transfer_line
from jupyter_containers.commands.steps import Progress, Step, outcome
from jupyter_containers.notebook import markup

if TYPE_CHECKING:
    from jupyter_containers.events import Event

INTERVAL = 0.2
_LIVE_LINES = 8
_TOTAL_LOG = 256 * 1024

Publish = Callable[[Mapping[str, str], str, bool], None]


class CellProgress:
    """Draws progress into the cell that runs now. Thread-safe.

    ``publish(bundle, display_id, update)`` shows a MIME bundle. A thread redraws what came since the last drawing, so
    that a step that says nothing for a while is still shown as running.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._progress = Progress()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._over = threading.Event()
        self._display_id = uuid.uuid4().hex
        self._shown = False
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Take in an event; it is drawn soon."""
        with self._lock:
            self._progress.fold(event)
            if self._thread is None:
                # In a copy of the context: the kernel knows by it which cell the drawing belongs to.
                context = contextvars.copy_context()
                self._thread = threading.Thread(target=context.run, args=(self._loop,), daemon=True)
                self._thread.start()
        self._changed.set()

    def _loop(self) -> None:
        while not self._over.is_set():
            self._changed.wait()
            if self._over.is_set():
                return
            self._changed.clear()
            self._draw(final=False)
            self._over.wait(INTERVAL)

    def close(self) -> None:
        """Draw the final state; nothing is shown if there were no events."""
        with self._lock:
            thread = self._thread
        if thread is None:
            return
        self._over.set()
        self._changed.set()
        thread.join()
        with self._lock:
            self._progress.close()
        self._draw(final=True)

    def _draw(self, *, final: bool) -> None:
        with self._lock:
            bundle = {"text/plain": as_text(self._progress), "text/html": as_html(self._progress, final=final)}
            update, self._shown = self._shown, True
        self._publish(bundle, self._display_id, update)


def as_text(progress: Progress) -> str:
    """The state in lines of text."""
    lines = [f"#{step.number} {step.title}: {outcome(step)}" for step in progress.steps.values()]
    lines += [transfer_line(transfer) for transfer in progress.transfers.values()]
    lines += [notice.text for notice in progress.notices]
    return "\n".join([*lines, _headline(progress)])


def as_html(progress: Progress, *, final: bool) -> str:
    """The state as HTML; the output of steps that ended is only in the final one, to keep updates small."""
    parts = [f"<p>{escape(_headline(progress))}</p>"]
    if progress.transfers:
        parts.append(_transfers(progress, final=final))
    if progress.steps:
        parts.append(_steps(progress, final=final))
    parts += [f"<p>{escape(notice.level)}: {escape(notice.text)}</p>" for notice in progress.notices]
    return f'<div role="status" aria-live="polite">{"".join(parts)}</div>'


def _headline(progress: Progress) -> str:
    if progress.finished is not None:
        event = progress.finished
        names = f" as {', '.join(event.tags)}" if event.tags else ""
        return (
            f"Built {humane.short_id(event.image_id)}{names} in {humane.seconds(event.seconds)}: {progress.summary()}"
        )
    failed = next((step for step in progress.steps.values() if step.state == "failed"), None)
    if failed is not None:
        return f"Failed at step {failed.number}: {progress.summary()}"
    if progress.steps:
        return f"{'Not built' if progress.over else 'Building'}: {progress.summary()}"
    whole = all(transfer.ended for transfer in progress.transfers.values())
    state = "Transferring" if not progress.over else "Transferred" if whole else "Transfer stopped"
    return f"{state}: {progress.summary()}"


def _transfers(progress: Progress, *, final: bool) -> str:
    rows = []
    for transfer in progress.transfers.values():
        if transfer.ended or not transfer.total:
            amount = humane.size(transfer.total) if transfer.total else ""
        else:
            words = f"{humane.size(transfer.current)} of {humane.size(transfer.total)}"
            amount = markup.bar(transfer.current, transfer.total, words)
        rows.append((markup.code(transfer.key), escape(transfer.status), amount))
    inner = markup.table("Transfers", ("Blob", "Status", "Size"), rows)
    return markup.folded(f"{len(rows)} transfers", inner) if final else inner


def _steps(progress: Progress, *, final: bool) -> str:
    budget = _TOTAL_LOG
    rows = []
    for step in progress.steps.values():
        title = markup.code(step.title)
        if step.state == "running":
            tail = step.tail(_LIVE_LINES)
            cell = title + (markup.block("\n".join(tail)) if tail else "")
        elif final and step.log:
            cell = _with_log(step, title, budget)
            budget -= len(step.log)
        else:
            cell = title
        rows.append((str(step.number), cell, escape(outcome(step))))
    return markup.table("Build steps", ("Step", "Instruction", "Result"), rows)


def _with_log(step: Step, title: str, budget: int) -> str:
    """The step with its output folded away; open where it failed."""
    kept = step.log[-budget:] if budget > 0 else ""
    omitted = step.omitted + len(step.log) - len(kept)
    note = f"… {omitted} characters before this are not kept\n" if omitted else ""
    return markup.folded(title, markup.block(note + kept), opened=step.state == "failed")


def shell_publisher(shell: Any) -> Publish:
    """A publisher for the displays of an IPython shell."""

    def publish(bundle: Mapping[str, str], display_id: str, update: bool) -> None:
        shell.display_pub.publish(data=dict(bundle), metadata={}, transient={"display_id": display_id}, update=update)

    return publish
