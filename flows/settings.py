"""What the orchestration itself reads from params.yaml: the sections `flow`, `tracking` and `promote`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.redact import secrets_in
from tasks.common.errors import ConfigError
from tasks.common.plain_yaml import parse_yaml
from tasks.config.service import FlowConfig, PromoteConfig, TrackingConfig
from tasks.config.shared import Section
from tasks.runner.params import read_params, shared_config


@dataclass(frozen=True)
class Settings:
    """The sections of params.yaml that no stage reads."""

    flow: FlowConfig
    tracking: TrackingConfig
    promote: PromoteConfig

    @property
    def stage_seconds(self) -> float:
        """How long a stage may take where dvc.yaml does not say."""
        return 60 * self.flow.stage_timeout_minutes

    @property
    def retries(self) -> dict[str, Any]:
        """How Prefect tries a step again, as options of its task."""
        delays = [self.flow.retry_delay_seconds * 2**attempt for attempt in range(self.flow.retries)]
        return {"retries": self.flow.retries, "retry_delay_seconds": delays or None}


def read_settings(root: Path) -> Settings:
    """Check the params file of the project as a whole and return the orchestration's own sections.

    Raises ConfigError (a ValueError) with one line naming the key and the file. A project whose stages are not ours
    (no `tasks` folder) has these sections checked alone.
    """
    settings = Settings(**read_sections(root, "flow", "tracking", "promote"))
    if settings.flow.budget.cost is not None and (root / "tasks").is_dir():
        _check_prices(root / "params.yaml", settings.flow.budget.cost)
    return settings


def _check_prices(path: Path, limit: float) -> None:
    """Raises ConfigError for a run's limit in money where no judge across a network says what it costs."""
    params = read_params(path)
    judges = [*params["compare"]["judges"], *([params["gold"]["judge"]] if params["gold"]["judge"] else [])]
    remote = [judge for judge in judges if judge["kind"] == "openai"]
    if remote and not any(judge["input_price"] or judge["output_price"] for judge in remote):
        raise ConfigError(
            f"{path}: flow.budget.cost={limit:g} would never be reached: judge {remote[0]['name']!r} has input_price "
            "and output_price 0; state its prices, or set flow.budget.cost to null"
        )


def read_sections(root: Path, *names: str) -> dict[str, Section]:
    """The shared sections with these names, checked. Raises ConfigError as `read_settings` does."""
    path = root / "params.yaml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    refuse_secrets(text, str(path))
    params = read_params(path) if (root / "tasks").is_dir() else parse_yaml(text, str(path)) or {}
    return _sections(params, str(path), names)


def settings_in(text: str, source: str) -> Settings:
    """The orchestration's own sections of this params file; `source` names it in errors. Raises as `read_settings`."""
    refuse_secrets(text, source)
    return Settings(**_sections(parse_yaml(text, source) or {}, source, ("flow", "tracking", "promote")))


def _sections(params: Mapping[str, Any], source: str, names: Iterable[str]) -> dict[str, Section]:
    return {name: shared_config(params, name, source) for name in names}


def refuse_secrets(text: str, source: str) -> None:
    """Raises ConfigError when the value of a secret variable stands in params, which are logged and committed."""
    names = secrets_in(text.encode())
    if names:
        raise ConfigError(f"{source} holds the value of {names[0]}; take it out, credentials come from the environment")
