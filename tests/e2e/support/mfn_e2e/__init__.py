"""What the end-to-end tests share: servers of the plugins that are installed, signed calls, and the audit trail."""
