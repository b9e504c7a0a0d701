"""uvicorn as the server, on the event loop of a plain worker."""
