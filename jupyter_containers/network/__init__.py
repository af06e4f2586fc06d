"""Networks of containers: a bridge with address translation for root, a helper in user space for others.

Nothing here is imported by the small processes. What they have to do for a network travels to them as prebuilt
rtnetlink messages (:class:`~jupyter_containers.runtime.protocol.Interface`).
"""
