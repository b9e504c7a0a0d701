"""A plugin that lacks something."""

raise RuntimeError("the lab's driver is not connected")
