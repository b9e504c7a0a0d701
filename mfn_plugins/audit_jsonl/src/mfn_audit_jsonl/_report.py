"""What a trail is found to be."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

__all__ = ["Kind", "TrailProblem", "VerifyReport"]

Kind = Literal["altered", "removed", "missing-file", "reordered", "torn", "bad-json", "head-mismatch"]


@frozen(kw_only=True)
class TrailProblem:
    """The first thing that is wrong with a trail."""

    file: str
    """Path of the file that it is in; of a file that is missing, or of the directory, where no file can be named."""
    line: int
    """From 1, in that file; 0 where the file has no line at all."""
    offset: int
    """Bytes of the file before that line."""
    kind: Kind
    """`altered`: a record was changed, or one added that was made to look right. `removed`: records are missing.
    `missing-file`: records are missing that were a file of their own. `reordered`: a record stands where another
    belongs. `torn`: the trail ends in the middle of a record, as it does when its writer was killed; no sign of
    tampering. `bad-json`: a line is no JSON object. `head-mismatch`: the lines agree with each other and not with
    the head that was kept elsewhere."""
    explanation: str
    """One line, for a person."""


@frozen(kw_only=True)
class VerifyReport:
    """What a trail was found to be, over all of its files."""

    trail: str
    """Its path, as it was given or found."""
    files: int
    """Files that it was found in."""
    records: int
    """Intact records before the problem; all of them where there is none."""
    first_record: int
    """Number of the first record; 1 unless older files are not there."""
    first_time: str | None
    """Time of the first record, as it stands in the file."""
    last_time: str | None
    """Time of the last intact record."""
    head: str
    """Hash of the last intact record: what `head` should be given next time."""
    expired: bool
    """Whether the trail itself says that `keep_files` removed everything before its first record."""
    followed: bool
    """Whether records follow that are not here: the last file was closed, and where the trail went on is missing."""
    problem: TrailProblem | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None

    @property
    def tampered(self) -> bool:
        """Whether something is wrong that no crash explains."""
        return self.problem is not None and self.problem.kind != "torn"

    @property
    def missing_before(self) -> int:
        """Records before the first one here: they were removed by `keep_files`, or are kept elsewhere."""
        return self.first_record - 1
