"""ASGI transport for MFN: gRPC, gRPC-Web and Connect served by Envoy through pyvoy."""
