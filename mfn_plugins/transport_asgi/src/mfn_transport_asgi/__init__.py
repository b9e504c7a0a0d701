"""ASGI transport for MFN: gRPC over HTTP/2 served by Envoy through pyvoy."""
