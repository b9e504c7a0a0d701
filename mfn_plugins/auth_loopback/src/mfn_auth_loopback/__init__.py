"""A short-lived token for the browser of whoever starts a server on loopback."""
