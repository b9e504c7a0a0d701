"""Commands that this distribution adds to `mfn`."""
