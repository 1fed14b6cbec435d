"""Every refusal a user can meet: one base, one child per thing that was refused.

Messages say what was found, what was needed and what to do. Only `edge_mtp.cli` catches these.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes, the same for every command."""

    HELD = 0
    REFUSED = 1
    USAGE = 2
    GATE_FAILED = 3
    COULD_NOT_CHECK = 4


class EdgeMtpError(Exception):
    """Base of all refusals; carries a message for the user and nothing else."""

    exit_code = ExitCode.REFUSED


class CheckpointError(EdgeMtpError):
    """A checkpoint directory or one of its files cannot be used."""


class PairError(EdgeMtpError):
    """Target and drafter do not belong together."""


class RecipeError(EdgeMtpError):
    """A recipe file is malformed, or does not fit the checkpoint."""


class ResourceError(EdgeMtpError):
    """Too little disk or memory for the planned export."""


class BundleError(EdgeMtpError):
    """A `.litertlm` file cannot be read or written."""


class EngineError(EdgeMtpError):
    """The LiteRT-LM engine could not run a bundle."""
