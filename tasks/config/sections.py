"""Which section of params.yaml is which config, and which sections a stage reads."""

from __future__ import annotations

from tasks.config.comparisons import CompareConfig, GenerateConfig, GoldConfig, JudgeCardConfig
from tasks.config.evaluation import (
    AnswersConfig,
    BestOfNConfig,
    EvaluateConfig,
    GateConfig,
    MonitorsConfig,
    PackageConfig,
    ReportConfig,
    SelectConfig,
)  # fmt: skip
from tasks.config.ppo import PpoConfig
from tasks.config.service import AnchorsConfig, FlowConfig, GcConfig, IntakeConfig, PromoteConfig
from tasks.config.shared import (
    ContractsConfig,
    DataConfig,
    ModelConfig,
    PrepareConfig,
    RuntimeConfig,
    Section,
    ServingConfig,
    TrackingConfig,
)  # fmt: skip
from tasks.config.training import DpoConfig, RewardConfig, SftConfig

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


def shared_sections(stage: str) -> list[str]:
    """The shared sections that a stage's config names."""
    return [name for name in STAGES[stage].model_fields if name in SHARED]


def own_fields(stage: str) -> list[str]:
    return [name for name in STAGES[stage].model_fields if name not in SHARED]


def sections(stage: str) -> list[str]:
    """The sections of params.yaml that a stage reads: what dvc.yaml must list for it."""
    return ([stage] if own_fields(stage) else []) + shared_sections(stage)


def known_sections() -> list[str]:
    return [*SHARED, *(stage for stage in STAGES if own_fields(stage))]
