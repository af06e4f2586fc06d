"""From the options of ``run`` to a process: what each means in a specification, and the start itself."""
