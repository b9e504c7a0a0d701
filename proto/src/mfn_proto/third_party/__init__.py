"""Definitions of others that the .proto files import, unchanged, each with its license beside it."""
