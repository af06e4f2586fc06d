"""Side by side with the other engines of this machine: ``./dev bench``."""
