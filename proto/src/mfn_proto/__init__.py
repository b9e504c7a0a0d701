"""Protocol definitions of MFN and the code generated from them.

| module | what it holds |
| --- | --- |
| `mfn_proto.mfn_pb2` | package `mfn`: features, simulations, validation training |
| `mfn_proto.mycelium_pb2` | package `mycelium`: runs with their history, Nernst potentials, aggregation of gradients |
| `mfn_proto.v1.field_pb2` | package `mfn.v1`: `FieldService`, to simulate, analyse and steer fields |
| `mfn_proto.v1.model_pb2` | package `mfn.v1`: `ModelService`, which tells what models there are |
| `mfn_proto.v1.aggregation_pb2` | package `mfn.v1`: `AggregationService`, which combines gradients |
| `mfn_proto.validation` | the rules of the .proto files, checked |
| `mfn_proto.defaults` | what an unset numeric field means |

The .proto files lie beside the modules and are the public documentation: units, bounds, defaults, errors,
order of messages. Importing this package loads none of the modules.
"""

__all__ = ["defaults", "mfn_pb2", "mycelium_pb2", "v1", "validation"]
