"""WebSockets: what is spoken on them, over the operations that other protocols call."""
