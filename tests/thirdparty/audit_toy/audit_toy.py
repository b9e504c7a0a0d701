"""An audit sink: one JSON object a line."""

import json
from pathlib import Path
from typing import TextIO

from attrs import asdict, frozen

from mfn_core import AuditRecord, ComponentContext, ComponentSpec, hookimpl, setting


@frozen(kw_only=True)
class ToySettings:
    path: Path = setting(default=Path("toy.jsonl"), help="file that records are added to")


class ToySink:
    def __init__(self, settings: ToySettings, context: ComponentContext) -> None:
        self.path = settings.path
        self.file: TextIO | None = None

    async def start(self) -> None:
        if self.file is None:
            self.file = self.path.open("a", encoding="utf-8", errors="replace")

    async def stop(self) -> None:
        if self.file is not None:
            self.file.close()
        self.file = None

    async def write(self, record: AuditRecord) -> None:
        if self.file is None:
            raise OSError("the sink is stopped")
        print(json.dumps(asdict(record), ensure_ascii=False), file=self.file, flush=True)


@hookimpl
def mfn_audit_sinks() -> list[ComponentSpec]:
    return [ComponentSpec(name="toy", config=ToySettings, factory=ToySink, summary="one JSON object a line")]
