"""Tar archives as streams: a reader that takes what the common tools write, a writer that is deterministic.

Sources: POSIX.1-2008 pax ("ustar Interchange Format", "pax Interchange Format"), GNU tar's manual ("Basic Tar Format",
"Storing Sparse Files"), star's ``SCHILY.xattr`` keywords.
"""

from jupyter_containers.layers.tar.entry import Entry
from jupyter_containers.layers.tar.reader import TarReader
from jupyter_containers.layers.tar.writer import TarWriter

__all__ = ["Entry", "TarReader", "TarWriter"]
