"""The fields of a record, as a JSON schema has them; `publish.schema` adds those of the trial."""

from typing import Any

_HASH = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
_AMOUNT = {"type": "number", "minimum": 0}
_METRICS = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}}
SPLITS = ("validation", "test")
FIELDS: dict[str, dict[str, Any]] = {
    "key": {**_HASH, "description": "Hash of the trial; the name of the file."},
    "trial": {
        "type": "object",
        "description": "The training run. A setting that is not named has its default.",
    },
    "status": {"type": "string", "enum": ["ok", "diverged"]},
    "metrics": {
        "type": "object",
        "description": "By split; until all claims that a record serves are judged, only verdict "
        "code reads its test metrics. None if diverged.",
        "additionalProperties": False,
        "properties": dict.fromkeys(SPLITS, _METRICS),
    },
    "curve": {
        "type": "array",
        "description": "Training loss, and now and then validation metrics, by epoch.",
        "maxItems": 50,
        "items": {
            "type": "object",
            "required": ["epoch"],
            "additionalProperties": {"type": "number"},
        },
    },
    "seconds": {**_AMOUNT, "description": "Data, training and evaluation."},
    "training_seconds": {**_AMOUNT, "description": "Training alone."},
    "samples_per_second": {**_AMOUNT, "description": "In training; of each sample two views."},
    "created": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
    "device": {"type": "string", "description": "Product name of GPU or processor."},
    "versions": {"type": "object", "additionalProperties": {"type": "string"}},
    "data_digest": {**_HASH, "description": "Hash of the data set as it was read."},
    "source_digest": {**_HASH, "description": "Hash of the package's Python sources."},
    "revision": {
        "type": ["string", "null"],
        "pattern": r"^[0-9a-f]{40}\+?$",
        "description": "Git commit; + if the package differed from it; null without git.",
    },
    "checksum": {**_HASH, "description": "Hash of all other fields."},
}
OPTIONAL: dict[str, dict[str, Any]] = {
    "accelerator": {
        "type": "string",
        "pattern": "^(?!cpu$)[a-z]+$",
        "description": "What kind of device it is to torch, cuda say, where it is no processor.",
    },
    "emulated": {
        "const": True,
        "description": "Of a trial in bfloat16 whose products a processor without instructions for "
        "it computed in float32, of factors and to results in bfloat16.",
    },
    "similarity": {
        "type": "object",
        "description": "Unbiased linear CKA between the layers of a network that is cut.",
        "required": ["layers", "cka"],
        "additionalProperties": False,
        "properties": {
            "layers": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "cka": {
                "type": "array",
                "items": {"type": "array", "items": {"type": "number"}, "minItems": 2},
                "minItems": 2,
            },
        },
    },
}
# Fields of the run rather than of its result: two runs of one trial may differ in these alone.
OF_THE_RUN = ("seconds", "training_seconds", "samples_per_second", "created", "checksum")
