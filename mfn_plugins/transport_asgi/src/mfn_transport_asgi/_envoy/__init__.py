"""Envoy as the server: the process it runs in, its configuration, and the bridge between its event loops and ours."""
