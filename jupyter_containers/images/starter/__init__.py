"""The embedded images: made out of the machine's own programs on first use, so that nothing need be downloaded.

``elf`` and ``libraries`` read what programs need, ``tree`` holds the files of a layer, ``base`` and ``python`` fill it,
``bytecode`` compiles modules reproducibly, ``catalog`` makes the images.
"""

from jupyter_containers.images.starter.catalog import STARTERS, Starter, is_starter, make

__all__ = ["STARTERS", "Starter", "is_starter", "make"]
