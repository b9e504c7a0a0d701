"""Where everything of a trajectory lies in memory, for compiled code that is given addresses alone.

A field is kept row by row. A *slot* holds one row of every species, each padded to whole cache lines, with a halo on
either side. There are more slots than rows: a row's new values go to a free slot, the old values stay as long as a
neighbour needs them, and then their slot is free. The table of rows says which slot holds which row; it is permuted at
every step, and nothing is copied.

A row is *folded* where its length is a multiple of a cache line's: it is cut into as many lanes as a line has cells,
and the first cells of all lanes stand first, then the second ones, and so on. Both neighbours of a line of cells are
then whole lines of the same row, and no load crosses the border of a line. The halo is a line on either side, in which
each lane finds the end of the one before or the beginning of the next. A row that is not folded has a single lane.

A *book* of int64 numbers describes the field and keeps the accounts: sizes first, at the indices below, then several
sections, whose places it names. A table of float64 *numbers* holds the coefficients of the specification, the bounds
of the state, the amplitudes of spikes that are already drawn, and room to draw into. A *job* is the addresses of all
these, and what is to be done.
"""

from __future__ import annotations

from typing import Final

CACHE_LINE: Final = 64
"""Bytes."""

# Indices into the book: the shape of the field.
COLUMNS: Final = 0
ROWS: Final = 1
GRID: Final = 2
"""Rows of the whole grid, of which a band holds a part."""
ORIGIN: Final = 3
"""The grid's row that is row 0 here."""
OWN_FIRST: Final = 4
OWN_LAST: Final = 5
"""The rows that count, first to last exclusive; the rest are a band's copies of its neighbours' rows."""
SPECIES: Final = 6
PITCH: Final = 7
"""Cells from one species of a slot to the next."""
LANES: Final = 8
"""Into how many lanes a row is folded."""
LEVELS: Final = 9
"""Steps that a sweep may take at once."""
BOUNDARY: Final = 10
CUT: Final = 11
"""Whether this is a band, whose first and last row are not each other's neighbours."""
CONSTANT_SLOT: Final = 12
"""The slot that lies beyond a dirichlet boundary."""

# The accounts.
STEP: Final = 13
GROWTH_EVENTS: Final = 14
PENDING: Final = 15
"""Steps whose spikes are drawn and not yet added; 0 between two calls."""
WATCH: Final = 16
"""Steps that are taken with all checks the next time that some must be."""
BOUNDS_KNOWN: Final = 17
"""0 where nothing is known of the state, 1 where it lies within the bounds, 2 where these are its own extremes."""
FAILED_STEP: Final = 18
"""The first step after which a number was not finite; 0 for none."""

# What the model is made of.
SPIKES: Final = 19
NOISES: Final = 20

# Where the sections begin, in the book and in the numbers.
AT_ROWS: Final = 21
AT_LEVELS: Final = 22
AT_SPIKES: Final = 23
AT_NOISES: Final = 24
AT_OUTSIDE: Final = 25
"""The coefficients of what lies beyond a dirichlet boundary."""
AT_COUNTERS: Final = 26
AT_IGNORED: Final = 27
"""Where what is counted in rows that do not count goes."""
AT_TALLY: Final = 28
"""For each step of a sweep and each species, the NaN and the infinities."""
AT_EVENTS: Final = 29
AT_FIRST_EVENTS: Final = 30
"""For each step of a sweep, its first spike."""
NUMBERS_BOUNDS: Final = 31
NUMBERS_AMPLITUDES: Final = 32
NUMBERS_DRAWN: Final = 33
"""Room for the random numbers of a row."""
WATCH_LEFT: Final = 34
"""Steps to come that are taken with all checks, whatever the outlook."""
HEADER: Final = 35
"""Where the first section begins."""

LEVEL_WORDS: Final = 5
"""Of a step of a sweep: the old slot above, three free slots, and the old slot of its first row."""
SPIKE_WORDS: Final = 4
"""Of a kind of spike: its species, and the coefficients of probability, mean and deviation."""
NOISE_WORDS: Final = 2
"""Of a noise: its species, and the coefficient of its deviation."""
EVENT_WORDS: Final = 3
"""Of a spike that was drawn: its row, its column and its species."""

PERIODIC: Final = 0
NEUMANN: Final = 1
DIRICHLET: Final = 2

# A job.
JOB_CELLS: Final = 0
JOB_BOOK: Final = 1
JOB_NUMBERS: Final = 2
JOB_GENERATOR: Final = 3
JOB_STEPS: Final = 4
JOB_SEED: Final = 5
"""The seed of the initial state that is to be drawn first, after the book was made new; −1 where the state is there."""
JOB_RECIPE: Final = 6
JOB_DECLARED: Final = 7
"""Rows of the recipe."""
JOB_PATCHES: Final = 8
JOB_NEW_BOOK: Final = 9
"""The book of the blueprint."""
JOB_BOOK_WORDS: Final = 10
JOB_STATE: Final = 11
"""Where a matrix of float64 for every species goes in the end, one after the other, and then the book; 0: nowhere."""
JOB_WORDS: Final = 12

# A recipe for the initial state: a row for each species that the model declares.
RECIPE_KIND: Final = 0
RECIPE_SPECIES: Final = 1
"""The species here, or −1 for one that is absent."""
RECIPE_FIRST: Final = 2
RECIPE_SECOND: Final = 3
RECIPE_WORDS: Final = 4

CONSTANT: Final = 0.0
"""Kind: the first number everywhere."""
NORMAL: Final = 1.0
"""Kind: mean and deviation."""
UNIFORM: Final = 2.0
"""Kind: least and largest number."""
