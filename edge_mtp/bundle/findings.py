"""What lint and the contract check report."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """ERROR: the bundle will not do what it should; WARNING: it may not; INFO: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One observation: `where` in the bundle, and a message that says what to do."""

    code: str
    severity: Severity
    where: str
    message: str


def error(code: str, where: str, message: str) -> Finding:
    """A finding of severity ERROR."""
    return Finding(code, Severity.ERROR, where, message)


def warning(code: str, where: str, message: str) -> Finding:
    """A finding of severity WARNING."""
    return Finding(code, Severity.WARNING, where, message)


def info(code: str, where: str, message: str) -> Finding:
    """A finding of severity INFO."""
    return Finding(code, Severity.INFO, where, message)


def said(finding: Finding) -> str:
    """A finding in words: where, and what."""
    return f"{finding.where}: {finding.message}"


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether any finding is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)
