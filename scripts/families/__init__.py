"""The families that the oracle knows, one module each: see family.py for what a module says."""

from __future__ import annotations

from families import (
    deepseek_v2,
    deepseek_v3,
    dots1,
    ernie4_5_moe,
    glm4_moe,
    gpt_oss,
    mixtral,
    olmoe,
    phimoe,
    qwen2_moe,
    qwen3_moe,
)
from families.family import Family

MODULES = (
    qwen3_moe,
    olmoe,
    qwen2_moe,
    mixtral,
    deepseek_v2,
    deepseek_v3,
    phimoe,
    glm4_moe,
    dots1,
    ernie4_5_moe,
    gpt_oss,
)
FAMILIES: dict[str, Family] = {module.FAMILY.model_type: module.FAMILY for module in MODULES}
