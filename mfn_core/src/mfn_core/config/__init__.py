"""Configuration: a TOML document, decoded strictly into attrs classes, with every problem reported at once."""

from __future__ import annotations

from mfn_core.config._decode import decode
from mfn_core.config._document import Document, override, read_document
from mfn_core.config._plain import plain
from mfn_core.config._preset import PRESETS_GROUP, Preset, load_preset
from mfn_core.config._problems import ConfigError, Problem, join_path, suggest
from mfn_core.config._schema import json_schema
from mfn_core.config._secret import REDACTED, Secret
from mfn_core.config._setting import HELP, UNIT, setting
from mfn_core.config._settings import (
    ALLOWANCES,
    SERVER_ENVIRONMENT,
    BatchingSettings,
    CacheSettings,
    PipelineSettings,
    ServerSettings,
)
from mfn_core.config._toml import toml_key, toml_value
from mfn_core.config._validators import (
    SchemaValidator,
    at_least,
    between,
    each,
    listen_address,
    matches,
    non_empty,
    one_of,
    positive,
    split_address,
)
from mfn_core.config.environment import EnvironmentName, apply_environment

__all__ = [
    "ALLOWANCES",
    "HELP",
    "PRESETS_GROUP",
    "REDACTED",
    "SERVER_ENVIRONMENT",
    "UNIT",
    "BatchingSettings",
    "CacheSettings",
    "ConfigError",
    "Document",
    "EnvironmentName",
    "PipelineSettings",
    "Preset",
    "Problem",
    "SchemaValidator",
    "Secret",
    "ServerSettings",
    "apply_environment",
    "at_least",
    "between",
    "decode",
    "each",
    "join_path",
    "json_schema",
    "listen_address",
    "load_preset",
    "matches",
    "non_empty",
    "one_of",
    "override",
    "plain",
    "positive",
    "read_document",
    "setting",
    "split_address",
    "suggest",
    "toml_key",
    "toml_value",
]
