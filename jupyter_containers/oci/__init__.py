"""Pure data of the OCI specifications: names, image documents, the runtime's config.json. No I/O."""
