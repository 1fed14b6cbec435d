"""What the exporter writes drafts on the GPU, by all that lint can see; one attribute changed, and it does not."""

from dataclasses import replace

import pytest

from edge_mtp import names
from edge_mtp.bundle.contents import Contents, read_contents
from edge_mtp.bundle.gpu import check_gpu
from edge_mtp.bundle.gpu_graph import CACHE_UPDATE, RUNTIME_BMM
from edge_mtp.bundle.inspection import inspect_bundle
from edge_mtp.bundle.operators import Operator
from tests.export.recipes import CLUSTERED


@pytest.mark.parametrize("recipe", [None, CLUSTERED], ids=["dense", "clustered"])
def test_an_exported_bundle_says_yes_on_both(exported, recipe):
    inspection = inspect_bundle(exported(recipe))
    assert inspection.mtp.possible
    assert (inspection.gpu.possible, inspection.gpu.missing, inspection.gpu.doubts) == (True, (), ())
    assert inspection.findings == ()


def spoilt(contents: Contents, section: str, key: str, old: Operator, new: Operator) -> Contents:
    """The contents with one operator of one signature replaced."""
    model = contents.models[section]
    graph = model.graphs[key]
    operators = tuple(new if one is old else one for one in graph.operators)
    graphs = {**model.graphs, key: replace(graph, operators=operators)}
    return replace(contents, models={**contents.models, section: replace(model, graphs=graphs)})


def first(contents: Contents, section: str, key: str, name: str) -> Operator:
    """The signature's first operator of that name, or of MASK what writes the first softmax's operand."""
    graph = contents.models[section].graphs[key]
    found = next(one for one in graph.operators if one.name == ("SOFTMAX" if name == MASK else name))
    return graph.producers[found.inputs[0]] if name == MASK else found


MASK = "mask"
SPOILS = [
    (names.DRAFTER, names.DRAFT, RUNTIME_BMM, {"attributes": {"is_global": False, "is_src": False}}, "gpu-composite"),
    (names.DRAFTER, names.DRAFT, RUNTIME_BMM, {"name": "BATCH_MATMUL", "is_builtin": True}, "gpu-kv-read"),
    (names.DRAFTER, names.DRAFT, MASK, {"name": "ADD"}, "gpu-mask"),
    (names.TARGET, names.VERIFY, CACHE_UPDATE, {"name": "DYNAMIC_UPDATE_SLICE", "is_builtin": True}, "gpu-kv-write"),
    (names.TARGET, names.DECODE, "GELU", {"name": "SCATTER_ND"}, "gpu-operator"),
]


@pytest.mark.parametrize(("section", "key", "name", "changes", "code"), SPOILS)
def test_one_operator_changed_is_found_in_the_real_graph(exported, section, key, name, changes, code):
    contents = read_contents(exported())
    assert check_gpu(contents) == []
    old = first(contents, section, key, name)
    found = check_gpu(spoilt(contents, section, key, old, replace(old, **changes)))
    assert {finding.code for finding in found} >= {code}
    assert all(finding.where == f"{section}: {key}" for finding in found)
