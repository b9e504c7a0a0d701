"""REST: operations as resources of HTTP, in JSON, and their description."""
