"""Balanced k-means: equal clusters of tokens for the drafter's clustered head."""

import torch
import torch.nn.functional as F
from torch import Tensor


def balanced(embedding: Tensor, clusters: int, rounds: int, seed: int) -> Tensor:
    """embedding [vocab, H] -> token ids [vocab] sorted by cluster, vocab / clusters of them each.

    Greedy assignment: the closest (token, centroid) pairs first, each centroid until it is full.
    """
    points = F.normalize(embedding.float(), dim=1)
    size = len(points) // clusters
    chance = torch.Generator().manual_seed(seed)
    centroids = points[torch.randperm(len(points), generator=chance)[:clusters]]
    owner = torch.empty(0, dtype=torch.long)
    for _ in range(rounds):
        owner = _assign(points @ centroids.T, size)
        centroids = F.normalize(torch.stack([points[owner == c].mean(0) for c in range(clusters)]), dim=1)
    return torch.argsort(owner, stable=True)


def _assign(similarity: Tensor, size: int) -> Tensor:
    """similarity [points, clusters] -> cluster of each point, `size` points a cluster."""
    points, clusters = similarity.shape
    owner = [-1] * points
    room = [size] * clusters
    for pair in similarity.flatten().argsort(descending=True, stable=True).tolist():
        point, cluster = divmod(pair, clusters)
        if owner[point] < 0 and room[cluster]:
            owner[point] = cluster
            room[cluster] -= 1
    return torch.tensor(owner)
