"""The MFN operations: packages `mfn`, `mycelium` and `mfn.v1`, as a plugin of the kernel.

Named `service_mfn` in `server.plugins`; its settings stand in `[services.mfn]`.
"""
