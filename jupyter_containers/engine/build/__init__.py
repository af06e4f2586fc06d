"""What builds need beside the builder: inputs, outputs, caches, how a step runs, what is kept."""
