"""`python -m mfn_core`: the command line, where the `mfn` script is not on the path."""

from mfn_core.cli import main

main(prog_name="mfn")
