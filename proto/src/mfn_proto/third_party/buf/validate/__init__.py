"""`buf/validate/validate.proto` and the code generated from it."""
