"""What the rungs measured beside their verdicts, for the report."""

from dataclasses import dataclass

from edge_mtp.parity.report import Divergence, DraftLength, EngineFigures, Histogram, SuiteAcceptance, SuiteQuality


@dataclass
class Measured:
    """Filled as rungs run; what was not measured stays empty."""

    acceptance: tuple[SuiteAcceptance, ...] = ()
    draft_lengths: tuple[DraftLength, ...] = ()
    quality: tuple[SuiteQuality, ...] = ()
    kl_histogram: Histogram | None = None
    divergences: tuple[Divergence, ...] = ()
    engine: EngineFigures | None = None
    tolerance: float | None = None
    """Largest difference of logits between `verify` and `decode`, from rung 4."""
