"""The kernel's interface: system calls, mounts, namespaces, netlink, cgroups, capabilities, seccomp.

Nothing here knows what a container is. Only the standard library is used, and of that only what is cheap to import,
because every small process of the runtime imports this package.
"""
