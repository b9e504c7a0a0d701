"""The Connect protocol."""
