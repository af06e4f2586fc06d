"""The image builder: a Dockerfile becomes typed steps, steps a graph, the graph layers and an image."""
