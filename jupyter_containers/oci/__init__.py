"""Pure data of the OCI specifications: names, image documents, the runtime's config.json. No I/O."""

RUNTIME_SPEC_VERSION = "1.3.0"
"""Of the runtime specification that is followed here."""
