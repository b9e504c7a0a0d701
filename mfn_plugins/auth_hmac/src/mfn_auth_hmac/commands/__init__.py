"""Commands that this plugin adds to `mfn`."""
