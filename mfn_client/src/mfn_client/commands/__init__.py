"""Commands that this distribution adds to `mfn`; they need its extra `cli`."""
