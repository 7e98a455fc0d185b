"""The startup configuration: read both old schemas and the new one, check, convert, compare."""
