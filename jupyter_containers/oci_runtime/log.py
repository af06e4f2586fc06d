"""The command's log: one line for each event, as logrus writes them, which the callers read back."""

from __future__ import annotations

import os
from time import gmtime, strftime

from jupyter_containers.monitor.record import text
from jupyter_containers.oci_runtime.failure import CommandError

FORMATS = ("text", "json")


class Log:
    """Where messages go.

    Parameters
    ----------
    path
        The file they are appended to; empty: standard error.
    form
        ``text`` or ``json``.
    debug
        Whether messages of the level ``debug`` are written.
    """

    def __init__(self, path: str = "", form: str = "text", *, debug: bool = False) -> None:
        if form not in FORMATS:
            raise CommandError(f"invalid log format {form!r}: text or json")
        self.path = path
        self._json = form == "json"
        self._debug = debug
        if path:
            self._write(path, b"")  # a log that cannot be written is an error now

    def failed(self, message: str) -> None:
        """What ends the command; with a file for a log it is told on standard error as well."""
        self._put("error", message)
        if self.path:
            os.write(2, f"{message}\n".encode("utf-8", "surrogateescape"))

    def warning(self, message: str) -> None:
        """What went wrong and changes nothing."""
        self._put("warning", message)

    def debug(self, message: str) -> None:
        """What is done, with ``--debug``."""
        if self._debug:
            self._put("debug", message)

    def _put(self, level: str, message: str) -> None:
        now = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
        if self._json:
            line = text({"level": level, "msg": message, "time": now})
        else:
            line = f"time={text(now)} level={level} msg={text(message)}"
        data = f"{line}\n".encode("utf-8", "surrogateescape")
        if self.path:
            self._write(self.path, data)
        else:
            os.write(2, data)

    @staticmethod
    def _write(path: str, data: bytes) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise CommandError(f"log {path}: {(error.strerror or '').lower()}") from None
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
