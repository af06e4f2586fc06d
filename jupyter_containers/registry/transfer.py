"""Pulling and pushing images: the entry points of this package."""

from jupyter_containers.registry.access import Access
from jupyter_containers.registry.pull import Pulled, pull
from jupyter_containers.registry.push import Pushed, push

__all__ = ["Access", "Pulled", "Pushed", "pull", "push"]
