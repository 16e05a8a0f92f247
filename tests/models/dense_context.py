"""The context encoder written with N x N matrices, as the papers write it: the oracle of the sparse one.

It shares the parameters of a `ContextEncoder` and nothing of its way of computing: affinities of all pairs, a mask
from the neighbour lists, a masked softmax over whole rows, a dense product with the values.
"""

import math

import torch


def mask_of(graph, rows):
    """M of MagFormer's eq. 4: both ways among the k nearest, oneself included."""
    chosen = torch.eye(rows, dtype=torch.bool)
    for row in range(rows):
        for other in graph.neighbours[row].tolist():
            chosen[row, other] = True
    return chosen & chosen.T


def normalised(landmarks, norm):
    if norm == "row":
        return landmarks / landmarks.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    if norm == "matrix":
        return landmarks / torch.linalg.svdvals(landmarks).amax(dim=-1)[:, None, None].clamp_min(1e-12)
    return landmarks


def dense_maps(layer, rows, chosen, mask):
    """Attention of every map over all pairs: (S, N, N)."""
    settings, maps = layer.settings, layer.maps
    query = layer.query(rows).unflatten(1, (maps, -1)).transpose(0, 1)  # (S, N, E)
    key = layer.key(rows).unflatten(1, (maps, -1)).transpose(0, 1)
    if settings.diff_pairs == "crossed" and settings.diff_mode != "off":
        key = key[[at ^ 1 for at in range(maps)]]
    marks = rows[chosen].mean(dim=1)  # (P, D)
    if settings.landmarks == "learned":
        marks = layer.landmarks
    mark_query = layer.query(marks).unflatten(1, (maps, -1)).transpose(0, 1)
    mark_key = layer.key(marks).unflatten(1, (maps, -1)).transpose(0, 1)
    if settings.diff_pairs == "crossed" and settings.diff_mode != "off":
        mark_key = mark_key[[at ^ 1 for at in range(maps)]]
    if settings.logits == "exact":
        affinity = query @ key.transpose(1, 2)
    else:
        left = query @ normalised(mark_key, settings.landmark_norm).transpose(1, 2)  # (S, N, P)
        right = key @ normalised(mark_query, settings.landmark_norm).transpose(1, 2)
        if settings.magnitude == "one":
            left = left * layer.magnitude[:, None]
        if settings.magnitude == "two":
            left, right = left * layer.key_magnitude[:, None], right * layer.magnitude[:, None]
        affinity = left @ right.transpose(1, 2)
    affinity = affinity / math.sqrt(settings.width if settings.logit_scale == "model" else settings.width // maps)
    if settings.softmax_sign == "minus":
        affinity = -affinity
    return torch.softmax(affinity.masked_fill(~mask, -math.inf), dim=2)


def dense_layer(layer, rows, chosen, mask):
    settings, heads = layer.settings, layer.heads
    maps = dense_maps(layer, rows, chosen, mask)
    if settings.diff_mode == "off":
        mixed = maps
    else:
        weight = layer.difference()
        pairs = maps.unflatten(0, (heads, 2))  # (H, 2, N, N)
        if settings.diff_mode == "clean":
            mixed = pairs[:, 0] - weight * pairs[:, 1]
        else:
            first = (1 - weight) * pairs[1, 0] - weight * pairs[0, 1]
            second = pairs[1, 0] + (1 - 2 * weight) * pairs[1, 1] - pairs[0, 1]
            mixed = torch.stack([first, second])
    values = layer.value(rows).unflatten(1, (heads, -1)).transpose(0, 1)  # (H, N, V)
    head = (mixed @ values).transpose(0, 1)  # (N, H, V)
    if settings.head_norm:
        norm = layer.head_norm
        head = head / torch.sqrt((head**2).mean(dim=-1, keepdim=True) + norm.eps) * norm.gain * norm.share
    rows = layer.norm1(rows + layer.out(head.flatten(1)))
    return layer.norm2(rows + layer.narrow(torch.nn.functional.gelu(layer.widen(rows), approximate="tanh")))


def dense_context(model, features, graph, landmarks):
    rows, mask = model.prepared(features), mask_of(graph, len(features))
    for layer, chosen in zip(model.layers, landmarks, strict=True):
        rows = dense_layer(layer, rows, chosen, mask)
    return rows
