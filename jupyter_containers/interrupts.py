"""How long to wait at once where a person may interrupt it.

Python only notes a signal when it comes; the handler runs between two instructions of the main thread. A signal that
comes after the last look and before the system call, or to another thread, is not heard until that call returns:
https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers. So no call that may last waits for
longer than this.
"""

ATTENTION = 0.25  # seconds
