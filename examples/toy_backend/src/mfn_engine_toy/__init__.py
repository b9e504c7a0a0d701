"""The smallest compute backend."""
