"""The training loop both models share: Muon for matrices, AdamW for the rest, warm-up, linear decay."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

Step = Callable[[int], Tensor]
WARM_UP_STEPS = 30


def run(name: str, model: nn.Module, step: Step, steps: int, learning_rate: float) -> float:
    """Call step(index) -> loss and follow its gradient, step by step; returns the mean of the last 50."""
    optimizers = _optimizers(model, learning_rate)
    schedulers = [torch.optim.lr_scheduler.LambdaLR(o, lambda i: _rate(i, steps)) for o in optimizers]
    losses: list[float] = []
    start_s = time.monotonic()
    for index in range(steps):
        loss = step(index)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        losses.append(loss.item())
        if index % 25 == 24 or index + 1 == steps:
            elapsed_s = time.monotonic() - start_s
            mean = sum(losses[-25:]) / len(losses[-25:])
            rate = (index + 1) / elapsed_s
            print(f"{name} step {index + 1}/{steps} loss {mean:.3f} {rate:.2f} steps/s", flush=True)
    return sum(losses[-50:]) / len(losses[-50:])


def round_to_bf16(model: nn.Module) -> None:
    """Round every weight to bfloat16, kept in float32: what is stored is what is measured."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(tensor.bfloat16().float())


def _optimizers(model: nn.Module, learning_rate: float) -> list[torch.optim.Optimizer]:
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim == 2 and id(p) not in tables]
    rest = [p for p in trained if p.ndim != 2 or id(p) in tables]
    return [
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(index: int, steps: int) -> float:
    return min((index + 1) / WARM_UP_STEPS, max(steps - index, 0) / max(steps - WARM_UP_STEPS, 1), 1.0)
