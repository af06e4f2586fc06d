"""What ``engine.containers`` does with containers that exist."""
