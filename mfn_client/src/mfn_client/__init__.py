"""The MFN client SDK: signed, typed calls over gRPC.

```python
from mfn_client import Credentials, MFNClient

async with MFNClient("127.0.0.1:50051", credentials=Credentials.from_keys_file("keys.toml", "lab-1")) as client:
    features = await client.extract_features(seed=42, grid_size=64, steps=64)
    async for frame in client.simulate(steps=200, field="float64"):
        print(frame.step, frame.statistics.mean_mv, frame.field.max())
```

`MFNClientSync` has the same methods without `await`. The package knows neither the kernel nor an engine.
`mfn_client.raw` is the layer below: calls on raw bytes.
"""

from mfn_client._aggregation_results import GradientAggregate
from mfn_client._analysis_results import DimensionEstimate, DimensionPoint, Feature, SpeciesStatistics, ThresholdUsed
from mfn_client._methods_aggregation import AggregationMethod
from mfn_client._model_results import Model, ModelParameter, ModelSpecies
from mfn_client._mycelium_results import FederatedAggregate, RunHistory, RunUpdate, ShortValidation
from mfn_client._requests import FieldDtype, Parameters
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
    ServingStatus,
    SessionEnded,
    SessionEndReason,
    SimulationFrame,
    SimulationSummary,
    SpeciesFrame,
    Validation,
)
from mfn_client.retrying import RetryBudget
from mfn_client.session import SessionEvent, SteeringSession
from mfn_client.streams import ReplyStream
from mfn_client.sync import MFNClientSync, ReplyIterator, SteeringSessionSync
from mfn_client.timeouts import CLIENT_TIMEOUT, DEFAULT_TIMEOUT, ClientTimeout, Timeout
from mfn_signing import Credentials

__all__ = [
    "CLIENT_TIMEOUT",
    "DEFAULT_TIMEOUT",
    "Acknowledgement",
    "AggregationMethod",
    "BoxCount",
    "ClientTimeout",
    "Code",
    "Credentials",
    "Dimension",
    "DimensionEstimate",
    "DimensionPoint",
    "Feature",
    "FeatureFrame",
    "Features",
    "FederatedAggregate",
    "FieldAnalysis",
    "FieldArray",
    "FieldDtype",
    "FieldStatistics",
    "FieldViolation",
    "Frame",
    "GradientAggregate",
    "MFNClient",
    "MFNClientSync",
    "MfnRpcError",
    "Model",
    "ModelParameter",
    "ModelSpecies",
    "Parameters",
    "ReplyIterator",
    "ReplyStream",
    "RetryBudget",
    "RunHistory",
    "RunUpdate",
    "ServingStatus",
    "SessionEndReason",
    "SessionEnded",
    "SessionEvent",
    "ShortValidation",
    "SimulationFrame",
    "SimulationSummary",
    "SpeciesFrame",
    "SpeciesStatistics",
    "SteeringSession",
    "SteeringSessionSync",
    "ThresholdUsed",
    "Timeout",
    "Validation",
]
