"""Which section of params.yaml is which config, and which sections a stage reads."""

from __future__ import annotations

from collections.abc import Callable
from inspect import get_annotations
from typing import Any

from tasks.config.answers import AnswersConfig
from tasks.config.best_of_n import BestOfNConfig
from tasks.config.compare import CompareConfig
from tasks.config.data import DataConfig, PrepareConfig
from tasks.config.dpo import DpoConfig
from tasks.config.evaluate import EvaluateConfig
from tasks.config.gate import GateConfig
from tasks.config.generate import GenerateConfig
from tasks.config.gold import GoldConfig
from tasks.config.judge import JudgeCardConfig
from tasks.config.monitors import MonitorsConfig
from tasks.config.package import PackageConfig
from tasks.config.ppo import PpoConfig
from tasks.config.report import ReportConfig
from tasks.config.reward import RewardConfig
from tasks.config.select import SelectConfig
from tasks.config.service import (
    AnchorsConfig,
    FlowConfig,
    GcConfig,
    IntakeConfig,
    ModelConfig,
    PromoteConfig,
    TrackingConfig,
)
from tasks.config.sft import SftConfig
from tasks.config.shared import (
    STAGES_OF_OTHERS,
    ContractsConfig,
    RuntimeConfig,
    Section,
    ServingConfig,
    is_here,
    resolved,
)

SHARED: dict[str, type[Section]] = {
    "runtime": RuntimeConfig,
    "serving": ServingConfig,
    "data": DataConfig,
    "model": ModelConfig,
    "contracts": ContractsConfig,
    "tracking": TrackingConfig,
    "flow": FlowConfig,
    "anchors": AnchorsConfig,
    "intake": IntakeConfig,
    "promote": PromoteConfig,
    "gc": GcConfig,
}
STAGES: dict[str, type[Section]] = {
    "prepare": PrepareConfig,
    "gold": GoldConfig,
    "sft": SftConfig,
    "generate": GenerateConfig,
    "compare": CompareConfig,
    "judge": JudgeCardConfig,
    "reward": RewardConfig,
    "dpo": DpoConfig,
    "ppo": PpoConfig,
    "best_of_n": BestOfNConfig,
    "answers": AnswersConfig,
    "evaluate": EvaluateConfig,
    "monitors": MonitorsConfig,
    "select": SelectConfig,
    "gate": GateConfig,
    "package": PackageConfig,
    "report": ReportConfig,
}


def stage_function(stage: str) -> Callable[..., Any]:
    """The function of a stage. Raises ValueError for one that is neither ours nor registered."""
    return resolved(f"tasks.{stage}:{stage}") if is_here(stage) else STAGES_OF_OTHERS[stage]


def config_type(stage: str) -> type[Section]:
    """The type of a stage's params: of one that is not listed here, what its function says of `cfg`."""
    return STAGES.get(stage) or get_annotations(stage_function(stage), eval_str=True)["cfg"]


def shared_sections(stage: str) -> list[str]:
    """The shared sections that a stage's config names."""
    return [name for name in config_type(stage).model_fields if name in SHARED]


def own_fields(stage: str) -> list[str]:
    return [name for name in config_type(stage).model_fields if name not in SHARED]


def sections(stage: str) -> list[str]:
    """The sections of params.yaml that a stage reads: what dvc.yaml must list for it."""
    return ([stage] if own_fields(stage) else []) + shared_sections(stage)


def known_sections() -> list[str]:
    return [*SHARED, *(stage for stage in STAGES if own_fields(stage))]
