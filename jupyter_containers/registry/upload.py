"""Putting one blob into a repository.

Source: OCI distribution specification 1.1, "Pushing blobs", "Pushing a blob in chunks", "Mounting a blob from another
repository". A small blob goes in one request; a large one in one stream, which is continued in a second chunk when the
connection breaks.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from jupyter_containers.errors import EngineError, ImageNotFound, RegistryUnavailable
from jupyter_containers.records import dataclass
from jupyter_containers.registry.client import push_scope
from jupyter_containers.registry.transport import CHUNK, Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from urllib3 import BaseHTTPResponse

    from jupyter_containers.oci.names import Digest, Reference
    from jupyter_containers.registry.client import RegistryClient
    from jupyter_containers.registry.progress import Progress

Outcome: TypeAlias = Literal["exists", "mounted", "done"]

_AT_ONCE = 4 << 20
_CREATED = 201
_OCTETS = "application/octet-stream"
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


@dataclass(frozen=True, slots=True)
class Blob:
    """What is uploaded: an open file that is only read by position, its digest and its size in bytes."""

    fd: int
    digest: Digest
    size: int

    def chunks(self, start: int, told: Callable[[int], None]) -> Iterator[bytes]:
        """The content from a byte on; ``told`` is called with the position after each chunk."""
        position = start
        while position < self.size:
            data = os.pread(self.fd, min(CHUNK, self.size - position), position)
            if not data:  # cut off meanwhile: the registry sees too few bytes and refuses
                return
            yield data
            position += len(data)
            told(position)


def upload_blob(
    client: RegistryClient, reference: Reference, blob: Blob, progress: Progress, *, mount_from: str | None = None
) -> Outcome:
    """See that a repository has a blob.

    ``mount_from`` is another repository of the registry that may have it, so that nothing need be sent.

    Raises
    ------
    RegistryDenied, RegistryUnavailable, InvalidInput
        as the registry answers.
    """
    if client.has_blob(reference, blob.digest):
        progress.end("exists")
        return "exists"
    upload = _Upload(client, reference, blob, progress)
    failures, furthest = 0, 0
    offset = 0
    if upload.start(mount_from):
        progress.end("mounted")
        return "mounted"
    progress.begin("uploading")
    while True:
        try:
            upload.send(offset)
            break
        except RegistryUnavailable:
            delay = client.transport.retries.delay(failures := failures + 1)
            if delay is None:
                raise
            client.transport.pause(delay)
            if client.has_blob(reference, blob.digest):  # only its last answer was lost
                break
            offset = upload.resume()
            failures = 0 if offset > furthest else failures
            furthest = max(furthest, offset)
    progress.end("done")
    return "done"


class _Upload:
    """One upload session; ``location`` is where its next request goes, as the last answer said."""

    def __init__(self, client: RegistryClient, reference: Reference, blob: Blob, progress: Progress) -> None:
        self.client = client
        self.reference = reference
        self.blob = blob
        self.progress = progress
        self.doing = f"uploading {blob.digest.short} to {reference.familiar_name}"
        self.scopes = [push_scope(reference)]
        self.location = ""

    def start(self, mount_from: str | None = None) -> bool:
        """Open a session; True when none was needed because the blob was mounted."""
        query, scopes = None, self.scopes
        if mount_from is not None and mount_from != self.reference.repository:
            query = {"mount": self.blob.digest, "from": mount_from}
            scopes = [*scopes, f"repository:{mount_from}:pull"]
        url = self.client.url(self.reference, "blobs/uploads/", query)
        with self.client.transport.request(Call("POST", url, self.doing, scopes)) as response:
            if response.status == _CREATED:
                return True
            self._move(response, url)
        return False

    def send(self, offset: int) -> None:
        """Send the rest and close the session."""
        if offset == 0 and self.blob.size <= _AT_ONCE:
            self._put(0)
            return
        if offset < self.blob.size:
            headers = {"Content-Type": _OCTETS}
            if offset:
                headers["Content-Range"] = f"{offset}-{self.blob.size - 1}"
            call = self._call("PATCH", self.location, headers, offset)
            with self.client.transport.request(call) as response:
                self._move(response, self.location)
        self._put(self.blob.size)

    def resume(self) -> int:
        """How many bytes the registry has; 0 in a new session when it does not say or has forgotten the old one."""
        try:
            with self.client.transport.request(Call("GET", self.location, self.doing, self.scopes)) as response:
                received = _RANGE.fullmatch(response.headers.get("Range", ""))
                self._move(response, self.location)
        except RegistryUnavailable:
            raise
        except EngineError:  # the session is gone, or it cannot be asked for
            received = None
        if received is None or received.group(1) == "0":  # "0-0" is one byte or none
            self.start()
            return 0
        return min(int(received.group(1)) + 1, self.blob.size)

    def _put(self, offset: int) -> None:
        parts = urlsplit(self.location)
        query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", self.blob.digest)])
        url = urlunsplit(parts._replace(query=query))
        try:
            with self.client.transport.request(self._call("PUT", url, {"Content-Type": _OCTETS}, offset)):
                return
        except ImageNotFound as error:  # the session, not an image
            raise RegistryUnavailable(f"{self.doing}: the registry lost the upload") from error

    def _call(self, method: str, url: str, headers: dict[str, str], offset: int) -> Call:
        """A request with the content from a byte on; sent once, as the registry may have taken part of it."""
        return Call(
            method,
            url,
            self.doing,
            self.scopes,
            headers,
            body=lambda: self.blob.chunks(offset, self.progress.at),
            length=self.blob.size - offset,
            once=True,
        )

    def _move(self, response: BaseHTTPResponse, url: str) -> None:
        location = response.headers.get("Location")
        if location:
            self.location = urljoin(url, location)
        elif not self.location:
            raise RegistryUnavailable(f"{self.doing}: the registry does not say where to")
