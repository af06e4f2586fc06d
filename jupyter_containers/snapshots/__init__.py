"""Snapshots: extracted layers, shared by all containers, and the writable directories above them.

``base.Snapshotter``
    the Protocol; ``base.Scratch`` (``directory``, ``upper``, ``work``, ``parents``), ``base.LayerInfo``,
    ``base.chain_ids(diff_ids)``.
``overlay.OverlaySnapshotter(root, trees, userxattr=)``
    layers stacked by the kernel's overlay file system; returns mounts, never mounts.
``copy.CopySnapshotter(root, trees)``
    the same by copying, for kernels and file systems without overlay.

Chain ids are given bottom first, as in an image's configuration; directories are returned top first, as overlay
lists them. A build step::

    chains = chain_ids(config.diff_ids)
    with snapshotter.prepare(chains) as scratch:
        ...run a container on snapshotter.mounts(chains, scratch, volatile=True)...
        with store.ingest() as blob:
            written = snapshotter.diff(scratch, blob, timestamp=..., exclude=..., normalize=True)
            blob.commit()
        snapshotter.commit(scratch, chain_id([*diff_ids, written.digest]), written, store.path(written.digest))
"""
