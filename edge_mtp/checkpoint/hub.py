"""Finds a checkpoint: a local directory, or a Hugging Face repository that is downloaded."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import huggingface_hub
from huggingface_hub import errors

from edge_mtp.errors import CheckpointError

WANTED_FILES: Final = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
_HUB_ID: Final = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ResolvedCheckpoint:
    """A checkpoint on this machine: its directory, what to call its source, and the commit where known."""

    directory: Path
    source: str
    revision: str | None


def resolve_checkpoint(reference: str, revision: str | None = None) -> ResolvedCheckpoint:
    """The checkpoint that `reference` names: a local directory first, else the hub repository `org/name`.

    A download resumes where it was cut off, and a complete earlier one serves without a network.
    `source` holds no path of this machine; `revision` is the commit that was downloaded.
    """
    directory = Path(reference).expanduser()
    if directory.is_dir():
        return _local(directory, revision)
    if not _HUB_ID.fullmatch(reference):
        found = "is a file" if directory.exists() else "does not exist"
        raise CheckpointError(
            f"{reference} {found}; give a checkpoint directory or a hub id such as google/gemma-4-E2B-it"
        )
    return _hub_snapshot(_download(reference, revision))


def _local(directory: Path, revision: str | None) -> ResolvedCheckpoint:
    if revision is not None:
        raise CheckpointError(
            f"{directory} is a local directory, which has no revision {revision}; "
            "leave the revision out, or give a hub id that is no directory here"
        )
    resolved = directory.resolve()
    if resolved.parent.name == "snapshots" and _COMMIT.fullmatch(resolved.name):
        return _hub_snapshot(resolved)
    return ResolvedCheckpoint(directory, resolved.name, None)


def _hub_snapshot(directory: Path) -> ResolvedCheckpoint:
    """A directory `models--org--name/snapshots/<commit>` of the hub's cache."""
    source = directory.parent.parent.name.removeprefix("models--").replace("--", "/")
    return ResolvedCheckpoint(directory, source, directory.name)


def _download(repository: str, revision: str | None) -> Path:
    """Snapshot directory of `repository`; everything the hub's client raises becomes one refusal."""
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=list(WANTED_FILES)))
    except Exception as error:  # its own errors, httpx's, xet's, a full disk: all end the download
        raise CheckpointError(
            f"{repository} is no directory here and cannot be downloaded "
            f"({type(error).__name__}: {_first_line(error)}); {_advice(error, repository, revision)}"
        ) from error


def _advice(error: Exception, repository: str, revision: str | None) -> str:
    if isinstance(error, errors.GatedRepoError):
        return f"accept the licence at https://huggingface.co/{repository} and run hf auth login"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "check the id, or run hf auth login if the repository is private"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"check the revision {revision}"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "connect to the network and run again, or download it elsewhere and give its directory"
    return "run again to resume, or download it elsewhere and give its directory"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message").strip()
