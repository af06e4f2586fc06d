"""X-rays of containers: what the kernel keeps of one, beside the host's, as typed values.

``look.py`` puts one together, ``views.py`` has the values, the other modules understand one kind of file each.
"""

from jupyter_containers.engine.explain.xray.views import Xray

__all__ = ["Xray"]
