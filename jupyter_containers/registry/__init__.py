"""Registries: the client of the distribution API, its authorization, pulling and pushing images."""
