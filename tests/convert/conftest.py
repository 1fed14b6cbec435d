import os

import pytest

from tests.convert.small_model import OUT, VOCABULARY, WIDTH

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def lower(tmp_path_factory):
    """(signature -> (module, sample inputs)) -> a weightless `.tflite`'s bytes; weights are `weights_<name>`."""
    import litert_torch
    import torch
    from litert_torch.backend.experimental import torch_tfl  # noqa: F401 (registers tfl operators)
    from torch.func import functional_call

    class WeightsAsInputs(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self._module = [module]

        def forward(self, weights, **inputs):
            return functional_call(self._module[0], dict(weights), (), inputs)

    def run(signatures):
        converter = litert_torch
        for name, (module, samples) in signatures.items():
            weights = {key: value.to("meta") for key, value in module.state_dict().items()}
            inputs = {key: value.to("meta") for key, value in samples.items()}
            traced = WeightsAsInputs(module.eval()).eval()
            converter = converter.signature(name, traced, None, {"weights": weights, **inputs})
        path = tmp_path_factory.mktemp("lowered") / "graph.tflite"
        converter.convert().export(str(path))
        return path.read_bytes()

    return run


@pytest.fixture(scope="session")
def lowered(lower):
    """Two signatures over the same weights, one weight that neither reads."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unread = torch.nn.Linear(WIDTH, 24, bias=False)
            self.linear = torch.nn.Linear(WIDTH, OUT, bias=False)
            self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
            self.norm = torch.nn.Parameter(torch.ones(WIDTH))
            self.slots = torch.nn.Parameter(torch.zeros(2, dtype=torch.int32), requires_grad=False)

        def forward(self, ids):
            rows = self.embedding(ids)
            return {"rows": rows, "out": self.linear(rows * self.norm), "next": ids[:1] + self.slots}

    def ids(length):
        return {"ids": torch.zeros(length, dtype=torch.int32)}

    return lower({"decode": (Model(), ids(1)), "prefill": (Model(), ids(4))})


@pytest.fixture(scope="session")
def lowered_gather(lower):
    """Rows of raw codes times x times their scales, the form of a clustered head."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.codes = torch.nn.Parameter(torch.zeros(VOCABULARY, WIDTH, dtype=torch.int8), requires_grad=False)
            self.scales = torch.nn.Parameter(torch.zeros(VOCABULARY), requires_grad=False)

        def forward(self, ids, x):
            rows = torch.ops.tfl.gather(self.codes, ids, 0).to(torch.float32)
            return {"out": (rows * x).sum(-1) * torch.ops.tfl.gather(self.scales, ids, 0)}

    samples = {"ids": torch.zeros(6, dtype=torch.int32), "x": torch.zeros(1, WIDTH)}
    return lower({"run": (Model(), samples)})


@pytest.fixture(scope="session", params=["e2b-like", "e4b-like"])
def lowered_pair(request, tmp_path_factory):
    """A `LoweredPair` of each shape in turn."""
    import torch

    from tests.convert.lowered_pair import lower_pair

    torch.set_num_threads(1)
    return lower_pair(request.param, tmp_path_factory.mktemp("lowered_pair"))
