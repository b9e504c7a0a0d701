"""Package `mfn.v1`: `field.proto` and the code generated from it."""
