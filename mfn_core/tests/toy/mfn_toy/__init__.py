"""Toy parts of a server, for the kernel's tests."""
