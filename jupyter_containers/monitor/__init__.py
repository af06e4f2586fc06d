"""The small processes: the fork server (spawner) and the monitor of each container.

Single-threaded, standard library only, and started by fork from a process that has imported everything already.
"""
