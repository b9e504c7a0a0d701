"""The MFN client SDK: signed, typed calls over gRPC.

```python
from mfn_client import Credentials, MFNClient

async with MFNClient("127.0.0.1:50051", credentials=Credentials.from_keys_file("keys.toml", "lab-1")) as client:
    features = await client.extract_features(seed=42, grid_size=64, steps=64)
    async for frame in client.simulate(steps=200, field="float64"):
        print(frame.step, frame.statistics.mean_mv, frame.field.max())
```

It knows neither the kernel nor an engine. `mfn_client.raw` is the layer below: calls on raw bytes.
"""

from mfn_client._calls import ReplyStream
from mfn_client._requests import FieldDtype
from mfn_client.client import MFNClient
from mfn_client.errors import Code, FieldViolation, MfnRpcError
from mfn_client.results import (
    Acknowledgement,
    BoxCount,
    Dimension,
    FeatureFrame,
    Features,
    FieldAnalysis,
    FieldArray,
    FieldStatistics,
    Frame,
    SessionEnded,
    SessionEndReason,
    SimulationFrame,
    SimulationSummary,
)
from mfn_client.session import SessionEvent, SteeringSession
from mfn_client.timeouts import CLIENT_TIMEOUT, DEFAULT_TIMEOUT, ClientTimeout, Timeout
from mfn_signing import Credentials

__all__ = [
    "CLIENT_TIMEOUT",
    "DEFAULT_TIMEOUT",
    "Acknowledgement",
    "BoxCount",
    "ClientTimeout",
    "Code",
    "Credentials",
    "Dimension",
    "FeatureFrame",
    "Features",
    "FieldAnalysis",
    "FieldArray",
    "FieldDtype",
    "FieldStatistics",
    "FieldViolation",
    "Frame",
    "MFNClient",
    "MfnRpcError",
    "ReplyStream",
    "SessionEndReason",
    "SessionEnded",
    "SessionEvent",
    "SimulationFrame",
    "SimulationSummary",
    "SteeringSession",
    "Timeout",
]
