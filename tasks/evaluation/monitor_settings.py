"""Params into what the monitors take."""

from models.monitors.finding import Limit, Limits
from models.monitors.survey import Settings
from tasks.config.monitors import MONITORS, LimitConfig, MonitorsConfig


def monitor_settings(cfg: MonitorsConfig, reference_name: str) -> Settings:
    limits = {name: Limits(_limit(limits.absolute), _limit(limits.relative)) for name, limits in cfg.limits.items()}
    return Settings(
        limits=limits, more=tuple(MONITORS[name] for name in limits if name not in MONITORS.ours), noise=cfg.noise, minimum_answers=cfg.minimum_answers, examples=cfg.examples, words=cfg.words,
        draws=cfg.draws, vocabulary=cfg.vocabulary, seed=cfg.runtime.seed, reference_name=reference_name,
    )


def limit_of(cfg: MonitorsConfig, name: str) -> Limit | None:
    """The monitor's limit against a reference; None where params ask for none."""
    return _limit(cfg.limits[name].relative) if name in cfg.limits else None


def _limit(limit: LimitConfig | None) -> Limit | None:
    return None if limit is None else Limit(limit.warning, limit.veto)
