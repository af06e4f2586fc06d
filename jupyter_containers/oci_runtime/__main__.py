"""``python -m jupyter_containers.oci_runtime``."""

from __future__ import annotations

from jupyter_containers.oci_runtime.main import main

if __name__ == "__main__":
    main()
