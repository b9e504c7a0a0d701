"""gRPC over HTTP/2, and gRPC-Web over any version of HTTP."""
