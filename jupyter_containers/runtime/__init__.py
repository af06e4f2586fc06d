"""From an OCI configuration to a running process: the init of a container, and the spawner that starts it.

Standard library only, and little of that: what runs in the small processes decides how fast a container starts.
"""
