"""Layers: tar archives of file system changes, and the directories they are extracted to.

``base``         the values: ``ApplyOptions``, ``Applied``, ``DiffOptions``, ``Written``, ``Usage``, ``Node``, ``Item``,
                 and ``Trees``, the Protocol of everything that touches files of images and containers.
``tar``          ``TarReader(stream)`` and ``TarWriter(out)`` of ``Entry``: ustar, pax, GNU; streaming, deterministic.
``compression``  ``decompressor(raw) -> BinaryIO`` by magic, ``compressor(out, kind) -> BinaryIO``.
``apply``        ``apply_layer(stream, target, options) -> Applied``: safe extraction to overlay's on-disk format.
``diff``         ``write_layer(upper, out, options) -> Written``: an upper directory as a deterministic layer.
``changes``      ``list_changes(upper, options)``: what it adds, changes and removes, by path.
``sending``      ``send_tree(parent, name, out, top=)``: a tree through a pipe as an archive.
``receiving``    ``receive_tree(stream, target)``: such an archive into a tree that is there already.
``pack``         ``write_items(items, out, timestamp=) -> Written``: a layer from a list (COPY, ADD, starter images).
``view``         ``LayerView(dirs)``: the merged content of stacked layer directories, read without a mount.
``remove``       ``remove_tree(path)``, ``usage(path)``, ``copy_view(dirs, target)`` on whole trees.
``trees``        ``LocalTrees()`` in this process; ``WorkerTrees(start)`` in one that sits in the user namespace
                 (``worker_argv(fd)`` is its command line).
``disk``         overlay's on-disk format: whiteouts, opaque directories, the attribute that records owners.

Everything that owns image files goes through ``Trees``; the rest of the package never opens a file below ``layers/``
or an upper directory itself, because without root it may not be able to.
"""
