"""Torch operators of our own, so that tracing sees one node where plain torch has a handful.

litert-torch retraces a graph several times on its way down, which is most of what an export computes, and the norms
are a third of a Gemma graph. How each operator is lowered stands in `edge_mtp.convert.lowerings`.
"""

import torch
from torch import Tensor


@torch.library.custom_op("edge_mtp::rms_norm", mutates_args=())
def rms_norm(x: Tensor, epsilon: float) -> Tensor:
    """x [..., width] float32 over its root mean square along the last axis, `epsilon` inside the root."""
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + epsilon)


@rms_norm.register_fake
def _(x: Tensor, epsilon: float) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("edge_mtp::rotate", mutates_args=())
def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [1, T, heads, head_dim] float32, rotated by halves; cos, sin [1, T, 1, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


@rotate.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("edge_mtp::scale", mutates_args=())
def scale(x: Tensor, factor: Tensor) -> Tensor:
    """x [..., width] float32 times factor [1] float32, which stays a weight as it is: the GPU reshapes no constants."""
    return x * factor


@scale.register_fake
def _(x: Tensor, factor: Tensor) -> Tensor:
    return torch.empty_like(x)
