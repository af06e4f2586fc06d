"""Putting a store right: after a crash, and when its state file is damaged."""
