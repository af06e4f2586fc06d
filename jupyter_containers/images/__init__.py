"""Images as values: reading them from the content store, changing them, archives of them, and the embedded ones."""
