"""The command ``jupyter-container-runtime``: an OCI runtime for podman, dockerd, containerd and whoever calls one.

A command is a process of its own, so it imports little and late: each operation has a module that is imported when
it is asked for. Names, options and texts are those of runc, which the callers know.
"""
