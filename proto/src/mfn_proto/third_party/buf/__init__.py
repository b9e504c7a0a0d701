"""The rules of protovalidate (release 1.2.0, Apache-2.0)."""
