"""Blobs by digest: the content store, a valid OCI image layout on disk.

``store.ContentStore(root)``
    ``ensure()``; ``ingest(expected=, size=) -> Ingest``; ``write(data) -> Digest``; ``open(digest) -> BinaryIO``
    (verifies at its end); ``read(digest, limit=)``; ``verify(digest)``; ``path(digest)``; ``has(digest)``;
    ``size(digest)``; ``remove(digest) -> bool``; ``digests()``; ``write_index(manifests)``; ``sweep() -> int``;
    ``lock(exclusive=)``: shared by whoever adds blobs until they are referenced, exclusive for garbage collection.
``store.Ingest``
    a context manager: ``write(data)``, ``digest``, ``size``, ``commit() -> Digest``; abandoned unless committed.
"""
