"""Messages as JSON, and what is wrong with JSON that is no message."""
