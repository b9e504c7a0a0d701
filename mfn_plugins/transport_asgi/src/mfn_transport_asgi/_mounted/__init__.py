"""A server of the user's own, which runs the application among others."""
