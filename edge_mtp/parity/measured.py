"""What the rungs measured beside their verdicts, for the report."""

from dataclasses import dataclass

from edge_mtp.parity.report import Divergence, DraftLength, EngineFigures, Histogram, SuiteAcceptance, SuiteQuality


@dataclass(frozen=True)
class Moved:
    """What lies between the bundle's choices in its replies and the float checkpoint's, from rung 3.

    `lead` is the largest change, in logits, of the bundle's best token's lead over its second; in `others` of `tokens`
    the checkpoint's best token is another.
    """

    lead: float
    others: int
    tokens: int


@dataclass
class Measured:
    """Filled as rungs run; what was not measured stays empty."""

    acceptance: tuple[SuiteAcceptance, ...] = ()
    draft_lengths: tuple[DraftLength, ...] = ()
    quality: tuple[SuiteQuality, ...] = ()
    kl_histogram: Histogram | None = None
    divergences: tuple[Divergence, ...] = ()
    engine: EngineFigures | None = None
    moved: Moved | None = None
    tolerance: float | None = None
    """Largest difference of logits between `verify` and `decode`, from rung 4."""
