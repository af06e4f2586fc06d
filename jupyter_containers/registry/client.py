"""The operations of the distribution API on one registry. Source: OCI distribution specification 1.1."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode, urljoin

from jupyter_containers.errors import DigestMismatch, RegistryUnavailable
from jupyter_containers.oci.image_spec import INDEX_TYPES, MANIFEST_TYPES
from jupyter_containers.oci.names import Digest
from jupyter_containers.registry.transport import Call, Transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jupyter_containers.oci.names import Reference

MANIFEST_LIMIT = 4 << 20
"""Bytes of a manifest at most (distribution specification, "Pushing Manifests")."""

_TAGS_LIMIT = 16 << 20
_NOT_FOUND = 404
_PARTIAL = 206
_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")
_NEXT = re.compile(r"<([^>]*)>\s*;\s*rel=\"?next\"?")
_ACCEPT = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))


class ManifestReply:
    """A manifest or an index as the registry has it, verified against its digest."""

    __slots__ = ("data", "digest", "media_type")

    def __init__(self, media_type: str, digest: Digest, data: bytes) -> None:
        self.media_type = media_type
        self.digest = digest
        self.data = data


class RegistryClient:
    """The API of the registry that a :class:`~jupyter_containers.registry.transport.Transport` speaks to."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.transport.close()

    def url(self, reference: Reference, path: str, query: Mapping[str, str] | None = None) -> str:
        """The address of something in a repository."""
        return f"{self.transport.base}/v2/{reference.repository}/{path}" + (f"?{urlencode(query)}" if query else "")

    def get_manifest(self, reference: Reference) -> ManifestReply:
        """The manifest or index that a reference names, its digest before its tag.

        Raises
        ------
        ImageNotFound, RegistryDenied, RegistryUnavailable
            as the registry answers.
        DigestMismatch
            when the content is not that of the digest asked for or announced.
        """
        doing = f"getting the manifest of {reference.familiar}"
        url = self.url(reference, f"manifests/{reference.digest or reference.tag}")
        with self.transport.request(Call("GET", url, doing, [pull_scope(reference)], {"Accept": _ACCEPT})) as response:
            data = self.transport.read(response, MANIFEST_LIMIT, doing=doing)
            announced = response.headers.get("Docker-Content-Digest", "")
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = Digest.of(data)
        for expected in (reference.digest or "", announced):
            if expected.startswith("sha256:") and expected != digest:
                raise DigestMismatch(expected, digest, what="manifest")
        return ManifestReply(media_type, digest, data)

    @contextmanager
    def open_blob(
        self, reference: Reference, digest: Digest, *, offset: int = 0
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """A blob from a byte on: where the chunks begin (0 when the registry does not do ranges), and the chunks.

        The chunks raise RegistryUnavailable when the connection breaks; the caller asks again from where it is.
        """
        doing = f"downloading {digest.short} of {reference.familiar_name}"
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        call = Call("GET", self.url(reference, f"blobs/{digest}"), doing, [pull_scope(reference)], headers)
        with self.transport.request(call) as response:
            start = 0
            if response.status == _PARTIAL:
                content_range = _RANGE.match(response.headers.get("Content-Range", ""))
                if content_range is None:
                    raise RegistryUnavailable(f"{doing}: the registry does not say which part it sends")
                start = int(content_range.group(1))
            yield start, self.transport.chunks(response, doing=doing)

    def has_blob(self, reference: Reference, digest: Digest) -> bool:
        """Whether the repository of a push has a blob."""
        doing = f"looking for {digest.short} in {reference.familiar_name}"
        url = self.url(reference, f"blobs/{digest}")
        call = Call("HEAD", url, doing, [push_scope(reference)], accept=frozenset({_NOT_FOUND}))
        with self.transport.request(call) as response:
            return response.status != _NOT_FOUND

    def put_manifest(self, reference: Reference, media_type: str, data: bytes) -> None:
        """Store a manifest under the tag, or else the digest, of a reference."""
        doing = f"pushing the manifest of {reference.familiar}"
        url = self.url(reference, f"manifests/{reference.tag or reference.digest}")
        headers = {"Content-Type": media_type}
        call = Call("PUT", url, doing, [push_scope(reference)], headers, body=lambda: (data,), length=len(data))
        with self.transport.request(call):
            return

    def list_tags(self, reference: Reference, *, limit: int = 10_000) -> list[str]:
        """The tags of a repository, ``limit`` at most; further pages are fetched from the registry itself only."""
        doing = f"listing the tags of {reference.familiar_name}"
        url: str | None = self.url(reference, "tags/list", {"n": "1000"})
        tags: list[str] = []
        while url is not None and len(tags) < limit:
            with self.transport.request(Call("GET", url, doing, [pull_scope(reference)])) as response:
                document = self.transport.read_json(response, _TAGS_LIMIT, doing=doing)
                link = _NEXT.search(response.headers.get("Link", ""))
            following = urljoin(url, link.group(1)) if link else None
            url = following if following and following != url and self.transport.is_own(following) else None
            found = document.get("tags")
            tags += [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []
        return tags[:limit]


def pull_scope(reference: Reference) -> str:
    """What reading a repository needs."""
    return f"repository:{reference.repository}:pull"


def push_scope(reference: Reference) -> str:
    """What writing to a repository needs."""
    return f"repository:{reference.repository}:pull,push"
