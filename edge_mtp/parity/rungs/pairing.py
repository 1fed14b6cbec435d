"""Rung 0: target and drafter belong together, and the bundle was made from them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from edge_mtp import names
from edge_mtp.bundle.manifest import Manifest
from edge_mtp.checkpoint.config import DrafterConfig
from edge_mtp.checkpoint.digest import digest_files
from edge_mtp.checkpoint.pairing import check_pair
from edge_mtp.checkpoint.tensors import open_checkpoint
from edge_mtp.errors import PairError
from edge_mtp.parity.measured import Measured
from edge_mtp.parity.results import Control, Figure, Finding
from edge_mtp.parity.workbench import Workbench

OTHER: Final = {names.TARGET: names.DRAFTER, names.DRAFTER: names.TARGET}


def check(bench: Workbench, measured: Measured) -> Finding:
    """The pair fits by shape and tokenizer; the weights are those of the manifest, where the bundle has one."""
    try:
        pair = bench.pair
    except PairError as error:
        return Finding((), (), str(error))
    warnings, controls = Figure("warnings", len(pair.warnings)), tuple(_misfits(bench, pair.drafter))
    if bench.manifest is None:
        return Finding((warnings, Figure("sources", "not told", bar="a manifest beside the bundle tells")), controls)
    found = _digests(bench, bench.manifest)
    own, differing = bench.sha256 == bench.manifest.sha256, differing_files(bench.manifest, found)
    figures = (
        warnings,
        Figure("the manifest's bundle", "this one" if own else "another", bar="this one", held=own),
        Figure("weight files other than the manifest's", len(differing), bar="0", held=not differing),
    )
    swapped = differing_files(bench.manifest, {role: found[OTHER[role]] for role in found})
    control = Control("checkpoints the other way round", bool(swapped), (Figure("other files", len(swapped)),))
    fault = "" if own and not differing else _fault(bench, bench.manifest, own=own)
    return Finding(figures, (*controls, control), fault)


def _fault(bench: Workbench, manifest: Manifest, *, own: bool) -> str:
    if not own:
        return (
            f"the manifest beside the bundle is that of another one (sha256 {manifest.sha256[:12]}…, the bundle has "
            f"{bench.sha256[:12]}…); put its own beside it, or export it again"
        )
    made = ", ".join(f"{source.role} {source.name}" for source in manifest.sources)
    return (
        f"the bundle was made from {made}, whose weights are not those in {bench.request.target} and "
        f"{bench.request.drafter}; give the checkpoints it was exported from, or export it again"
    )


def _digests(bench: Workbench, manifest: Manifest) -> dict[str, Mapping[str, str]]:
    """sha256 by role and file name of the checkpoints given."""
    directories: Mapping[str, Path] = {names.TARGET: bench.request.target, names.DRAFTER: bench.request.drafter}
    roles = [source.role for source in manifest.sources]
    return {
        role: digest_files(open_checkpoint(directories[role]).files)
        for role in bench.counted("hash checkpoints", roles)
    }


def differing_files(manifest: Manifest, found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Files whose sha256 is not the manifest's, or that only one side has; `found` by role and file name."""
    wanted = {source.role: {file.name: file.sha256 for file in source.files} for source in manifest.sources}
    return [
        name
        for role, files in wanted.items()
        for name in {**found[role], **files}
        if found[role].get(name) != files.get(name)
    ]


def _misfits(bench: Workbench, drafter: DrafterConfig) -> Iterator[Control]:
    """The check of the pair on drafters that do not fit."""
    window = replace(drafter.decoder, sliding_window=drafter.decoder.sliding_window + 1)
    spoilt = {
        "a drafter for a hidden size one larger": replace(
            drafter, backbone_hidden_size=drafter.backbone_hidden_size + 1
        ),
        "a drafter with a window one longer": replace(drafter, decoder=window),
    }
    for name, config in spoilt.items():
        try:
            check_pair(bench.pair.target, config, bench.request.target, bench.request.drafter)
        except PairError:
            yield Control(name, rejected=True)
        else:
            yield Control(name, rejected=False)
