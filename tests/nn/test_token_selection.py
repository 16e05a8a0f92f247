"""Rollout, selectors, ratios and the local head, against naive loops over rows, heads and entries."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from passerby.errors import ConfigError
from passerby.nn.attention_rows import WatchedLayers, attention_rows, mean_attention
from passerby.nn.generalised_pooling import GeneralisedPooling
from passerby.nn.grab import GrabHead, TokenGroup
from passerby.nn.masked_norm import MaskedBatchNorm
from passerby.nn.rollout import discard_smallest, residual_map, rollout_rows
from passerby.nn.selection_ratio import annealed_ratio, scheduled_ratio, token_count
from passerby.nn.token_selection import (
    SELECTORS,
    Selector,
    default_layers,
    gather_tokens,
    select_diverse,
    select_tokens,
)
from passerby.nn.transformer import Stack

CLOSE = {"rtol": 0, "atol": 1e-6}


def naive_attention(query, key, mask=None, causal=False):
    """Softmax of every row of every head by itself, then the mean over heads."""
    query, key = query.numpy().astype(np.float64), key.numpy().astype(np.float64)
    count, heads, tokens, width = query.shape
    maps = np.zeros((count, tokens, tokens))
    for b in range(count):
        for i in range(tokens):
            allowed = [j for j in range(tokens) if (not causal or j <= i) and (mask is None or mask[b, j])]
            for h in range(heads):
                scores = np.array([query[b, h, i] @ key[b, h, j] / np.sqrt(width) for j in allowed])
                weights = np.exp(scores - scores.max())
                maps[b, i, allowed] += weights / weights.sum() / heads
    return maps


def naive_rollout(maps, share, norm="l1"):
    """The whole product, one sample and one entry at a time."""
    count, tokens = maps[0].shape[:2]
    results = []
    for b in range(count):
        result = np.eye(tokens)
        for one in maps:
            flat = one[b].astype(np.float64).ravel().copy()
            for place in np.argsort(flat, kind="stable")[: int(share * flat.size)]:
                if place != 0:
                    flat[place] = 0
            step = (flat.reshape(tokens, tokens) + np.eye(tokens)) / 2
            if norm == "l1":
                step /= step.sum(axis=1, keepdims=True)
            elif norm == "softmax":
                step = np.exp(step) / np.exp(step).sum(axis=1, keepdims=True)
            result = step @ result
        results.append(result)
    return np.stack(results)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_maps_and_rows_equal_a_loop(causal, masked):
    torch.manual_seed(0)
    query, key = torch.randn(3, 2, 7, 4), torch.randn(3, 2, 7, 4)
    mask = torch.arange(7) < torch.tensor([7, 4, 2])[:, None] if masked else None
    expected = naive_attention(query, key, mask, causal)
    np.testing.assert_allclose(mean_attention(query, key, mask, causal).numpy(), expected, atol=1e-6)
    at = torch.tensor([6, 3, 1])
    rows = attention_rows(query, key, at, mask, causal)
    np.testing.assert_allclose(rows.numpy(), expected[np.arange(3), at.numpy()], atol=1e-6)
    weights = torch.rand(3, 7)
    mixed = attention_rows(query, key, weights, mask, causal)
    np.testing.assert_allclose(mixed.numpy(), np.einsum("bn,bnm->bm", weights.numpy(), expected), atol=1e-5)


@pytest.mark.parametrize("norm", ["l1", "softmax", "none"])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.6])
def test_rollout_rows_equal_the_rows_of_the_whole_product(norm, share):
    torch.manual_seed(1)
    maps = [torch.rand(3, 6, 6).softmax(dim=-1) for _ in range(3)]
    whole = naive_rollout([one.numpy() for one in maps], share, norm)
    at = torch.tensor([0, 5, 2])
    np.testing.assert_allclose(rollout_rows(maps, at, share, norm).numpy(), whole[range(3), at], atol=1e-6)
    weights = torch.rand(3, 6)
    expected = np.einsum("bn,bnm->bm", weights.numpy(), whole)
    np.testing.assert_allclose(rollout_rows(maps, weights, share, norm).numpy(), expected, atol=1e-5)


def test_discarding_takes_the_smallest_of_the_whole_map_and_never_the_first_entry():
    maps = torch.arange(16.0).view(1, 4, 4) + 1
    kept = discard_smallest(maps, 0.5)
    assert kept.flatten().tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 9, 10, 11, 12, 13, 14, 15, 16]
    assert discard_smallest(maps, 0.01) is maps


def test_of_equal_entries_exactly_as_many_go_as_were_asked_for():
    maps = torch.full((2, 4, 4), 0.25)
    kept = discard_smallest(maps, 0.25)
    gone = (kept == 0).flatten(1).sum(dim=1)
    assert ((gone == 4) | (gone == 3)).all()  # one fewer where the exempt first entry was among them


def test_discarding_changes_nothing_in_a_causal_map():
    """The smallest quarter of a causal map are its zeros, so the text side of MARS knows no discarding."""
    torch.manual_seed(2)
    maps = [mean_attention(torch.randn(2, 2, 9, 4), torch.randn(2, 2, 9, 4), causal=True) for _ in range(2)]
    at = torch.tensor([8, 5])
    torch.testing.assert_close(rollout_rows(maps, at, 0.25), rollout_rows(maps, at, 0.0), **CLOSE)


class NothingRead(TorchDispatchMode):
    """Refuses what makes a program wait for a number that is computed on a device, or for how many there are."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select"), name
        return func(*args, **(kwargs or {}))


def test_the_guard_itself_notices():
    for read in (lambda one: one.sum().item(), lambda one: bool(one.any()), lambda one: one.nonzero()):
        with pytest.raises(AssertionError), NothingRead():
            read(torch.ones(3))


def naive_discard(one, share, among, own):
    """One map, one entry at a time: groups of entries that are counted, and the smallest of each set to zero."""
    kept, tokens = one.astype(np.float64).copy(), range(len(one))
    entries = [(i, j) for i in tokens for j in tokens if own[i] and own[j]]
    groups = [[place for place in entries if place[0] == i] for i in tokens]
    if among == "nonzero":
        groups = [[place for place in entries if one[place] > 0]]
    for group in groups:
        for place in sorted(group, key=lambda place: one[place])[: int(share * len(group))]:
            if place != (0, 0):
                kept[place] = 0
    return kept


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("among", ["row", "nonzero"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.7])
def test_discarding_within_rows_or_among_what_is_not_zero_equals_a_loop(share, among, masked, causal):
    torch.manual_seed(11)
    own = torch.arange(7) < torch.tensor([7, 4, 1])[:, None] if masked else None
    maps = mean_attention(torch.randn(3, 2, 7, 4), torch.randn(3, 2, 7, 4), None if causal else own, causal)
    found = discard_smallest(maps, share, among, own)
    counted = torch.ones(3, 7, dtype=torch.bool) if own is None else own
    for one, kept, mine in zip(maps.numpy(), found.numpy(), counted.numpy(), strict=True):
        np.testing.assert_allclose(kept, naive_discard(one, share, among, mine), atol=1e-7)
    if among == "nonzero" and share == 0.25:
        assert ((found == 0) & (maps > 0)).flatten(1).any(dim=1)[0], "in a causal map too something goes"


def test_discarding_counts_no_padding_and_leaves_the_device_alone():
    torch.manual_seed(12)
    query, key = torch.randn(2, 2, 9, 4), torch.randn(2, 2, 9, 4)
    at, own = torch.tensor([4, 3]), torch.arange(9) <= torch.tensor([4, 3])[:, None]
    for among in ("row", "nonzero"):
        cropped, whole = (
            rollout_rows([mean_attention(query[:, :, :n], key[:, :, :n], causal=True)] * 2, at, 0.4, "l1", among, own_)
            for n, own_ in ((5, own[:, :5]), (9, own))
        )
        torch.testing.assert_close(whole[:, :5], cropped, **CLOSE)
        plain = rollout_rows([mean_attention(query, key, causal=True)] * 2, at, 0.0)
        assert not torch.allclose(whole, plain, atol=1e-4), f"{among} discards in a causal map"
        with NothingRead():
            discard_smallest(torch.rand(2, 9, 9), 0.4, among, own)
    full = [torch.rand(2, 6, 6).softmax(dim=-1)]
    torch.testing.assert_close(
        rollout_rows(full, at, 0.4, "l1", "nonzero"), rollout_rows(full, at, 0.4), **CLOSE
    )  # one and the same where nothing is zero


def naive_diverse(scores, eligible, count, tokens, weight):
    """One row and one token at a time."""
    results = []
    for s, allowed, t in zip(scores.numpy(), eligible.numpy(), tokens.numpy().astype(np.float64), strict=True):
        left, found = [i for i in range(len(s)) if allowed[i]], []
        low, high = s[left].min(), s[left].max()
        while left and len(found) < count:

            def value(i, found=found, s=s, t=t, low=low, high=high):
                likeness = [t[i] @ t[j] / np.linalg.norm(t[i]) / np.linalg.norm(t[j]) for j in found]
                return (1 - weight) * (s[i] - low) / (high - low or 1) - weight * max(likeness, default=0)

            found.append(max(left, key=value))
            left.remove(found[-1])
        results.append(found)
    return results


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.9])
def test_diverse_tokens_equal_a_loop(weight):
    torch.manual_seed(13)
    scores, tokens = torch.rand(6, 11) / 100, torch.randn(6, 11, 3)
    eligible = torch.arange(11) < torch.tensor([11, 5, 2, 8, 11, 9])[:, None]
    eligible[:, 0] = False
    places, taken = select_diverse(scores, eligible, 6, tokens, weight)
    assert [row[mine].tolist() for row, mine in zip(places, taken, strict=True)] == naive_diverse(
        scores, eligible, 6, tokens, weight
    )
    assert all(len(set(row)) == 6 for row in places.tolist()), "no place comes twice, not even to fill up"
    if weight == 0:
        plain, _ = select_tokens(scores, eligible, 6)
        assert places[eligible.sum(dim=1) > 5].tolist() == plain[eligible.sum(dim=1) > 5].tolist()


def test_diversity_leaves_out_what_was_taken_already():
    tokens = torch.tensor([[[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]], requires_grad=True)
    scores, every = torch.tensor([[0.5, 0.45, 0.1]]), torch.ones(1, 3, dtype=torch.bool)
    assert select_tokens(scores, every, 2)[0].tolist() == [[0, 1]]
    assert select_diverse(scores, every, 2, tokens, 0.6)[0].tolist() == [[0, 2]]
    assert Selector().pick(scores, every, 2, tokens)[0].tolist() == [[0, 1]]
    assert Selector(diversity=0.6).pick(scores, every, 2, tokens)[0].tolist() == [[0, 2]]
    with torch.autocast("cpu", torch.bfloat16):
        assert select_diverse(scores, every, 2, tokens, 0.6)[0].tolist() == [[0, 2]]
    equal, nobody = torch.full((1, 3), 0.5), torch.zeros(1, 3, dtype=torch.bool)
    assert select_diverse(equal, every, 2, tokens, 0.5)[1].all()
    places, taken = select_diverse(scores, nobody, 9, tokens, 0.5)
    assert sorted(places[0].tolist()) == [0, 1, 2]
    assert not taken.any()
    with NothingRead():
        select_diverse(scores, every, 2, tokens, 0.5)


def test_watched_layers_see_what_the_layers_compute():
    torch.manual_seed(3)
    stack = Stack(3, 8, 2).eval()
    tokens = torch.randn(2, 5, 8)
    attention = [block.attention for block in stack]
    with WatchedLayers(attention, (0, 2)) as seen:
        output = stack(tokens)
    entered = tokens
    for layer, block in enumerate(stack):
        query, key, _ = attention[layer].qkv(block.norm1(entered)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        if layer != 1:
            torch.testing.assert_close(seen.query_key(layer)[0], query.detach())
            torch.testing.assert_close(seen.query_key(layer)[1], key.detach())
        entered = block(entered)
    torch.testing.assert_close(output, entered)
    assert not attention[0].qkv._forward_hooks, "nothing stays behind"
    with pytest.raises(ConfigError, match="layers 0 to 2"):
        WatchedLayers(attention, (3,))


@pytest.mark.parametrize("name", [name for name in SELECTORS if name != "none"])
def test_each_selector_ranks_by_what_it_says(name):
    torch.manual_seed(4)
    depth, tokens = 4, 6
    stack = Stack(depth, 8, 2).eval()
    for parameter in stack.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    attention = [block.attention for block in stack]
    selector = Selector(name, (2,) if name == "layer" else ())
    with WatchedLayers(attention, range(depth)) as seen:
        stack(torch.randn(3, tokens, 8))
    maps = np.stack([naive_attention(*seen.query_key(layer)) for layer in range(depth)])  # (L, B, N, N)
    expected = {
        "A": -maps.mean(axis=0), "B": maps.mean(axis=0), "C": -maps.std(axis=0), "D": maps.std(axis=0),
        "last": maps[-1], "layer": maps[2],
        "mars": naive_rollout([maps[layer].astype(np.float32) for layer in default_layers(depth)], 0.25),
    }[name][:, 0]  # fmt: skip
    scores = selector.scores(seen, depth, torch.zeros(3, dtype=torch.int64))
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)
    assert not scores.requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        mixed = selector.scores(seen, depth, torch.zeros(3, dtype=torch.int64))
    assert torch.equal(mixed, scores), "tokens are ranked in single precision whatever the precision around"


def test_layers_of_the_paper_and_in_proportion():
    assert default_layers(12) == (4, 11)
    assert default_layers(24) == (9, 23)
    assert default_layers(1) == (0,)
    for depth in range(1, 40):
        assert all(0 <= layer < depth for layer in default_layers(depth))
    assert Selector("B").reads(3) == (0, 1, 2)
    assert Selector("none").reads(3) == ()
    assert Selector("mars", (1, 2)).reads(12) == (1, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "marsh"}, "Did you mean 'mars'"),
        ({"norm": "l2"}, "normalisation"),
        ({"discard": 1.0}, "selector.discard"),
        ({"discard": -0.1}, "selector.discard"),
        ({"among": "rows"}, "Did you mean 'row'"),
        ({"diversity": 1.0}, "selector.diversity is 1.0; expected a weight from 0 to below 1"),
        ({"diversity": -0.2}, "selector.diversity"),
        ({"layers": (3, 1)}, "ascending"),
        ({"layers": (-1,)}, "from 0"),
        ({"name": "layer"}, "one layer"),
        ({"name": "layer", "layers": (1, 2)}, "one layer"),
    ],
)
def test_selectors_that_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Selector(**options)


def test_other_wrong_input():
    with pytest.raises(ConfigError, match="no layers"):
        rollout_rows([], torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ConfigError, match="Did you mean 'softmax'"):
        residual_map(torch.rand(1, 2, 2), "soft-max")
    with pytest.raises(ConfigError, match="Did you mean 'nonzero'"):
        discard_smallest(torch.rand(1, 2, 2), 0.0, "nonzeros")
    with pytest.raises(ConfigError, match="no scores"):
        Selector("none").scores(WatchedLayers([], ()), 1, torch.zeros(1, dtype=torch.int64))


def test_selected_tokens_are_the_best_eligible_ones():
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
    eligible = torch.tensor([[False, True, True, True], [False, True, False, False]])
    places, taken = select_tokens(scores, eligible, 2)
    assert places[0].tolist() == [1, 3]
    assert taken.tolist() == [[True, True], [True, False]]
    assert places[1, 0] == 1
    assert select_tokens(scores, eligible, 9)[0].shape == (2, 4)
    tokens = torch.randn(2, 4, 3, requires_grad=True)
    gathered = gather_tokens(tokens, places)
    torch.testing.assert_close(gathered[0, 1], tokens[0, 3])
    gathered.sum().backward()
    assert tokens.grad is not None
    assert tokens.grad[0, 0].abs().sum() == 0


# -- how many -------------------------------------------------------------------------------------------------------

RSTP = 145  # steps of an epoch


@pytest.mark.parametrize(
    ("step", "image", "text"), [(0, 124, 48), (724, 109, 42), (1449, 96, 37), (5000, 96, 37)]
)  # the table of itself.md 3.2, whose steps count from 1
def test_numbers_of_tokens_are_those_of_the_published_code(step, image, text):
    ratio = scheduled_ratio("step", step=step, steps_per_epoch=RSTP)
    assert (token_count(ratio, 192), token_count(ratio, 75)) == (image, text)


def test_fixed_ratio_and_epochs():
    assert token_count(scheduled_ratio("none", step=10**6, steps_per_epoch=RSTP), 192) == 76
    assert token_count(scheduled_ratio("none", step=0, steps_per_epoch=RSTP), 75) == 30
    by_epoch = [scheduled_ratio("epoch", step=step, steps_per_epoch=10) for step in range(120)]
    assert by_epoch[0] == by_epoch[9] == 0.65
    assert len(set(by_epoch)) == 11
    assert by_epoch[100] == pytest.approx(0.5)
    by_step = [scheduled_ratio("step", step=step, steps_per_epoch=10) for step in range(120)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(by_step))
    assert by_step[-1] == pytest.approx(0.5)
    assert annealed_ratio(0) == 0.65
    assert token_count(1e-6, 10) == 1


@pytest.mark.parametrize("options", [{"level": "steps"}, {"level": "none", "fixed": 0}, {"level": "step", "end": 1.2}])
def test_schedules_that_are_refused(options):
    with pytest.raises(ConfigError, match="ratio"):
        scheduled_ratio(**{"step": 0, "steps_per_epoch": 1, **options})


# -- the head -------------------------------------------------------------------------------------------------------


def naive_head(head, tokens, taken):
    """One row and one token at a time, the statistics over the tokens that count."""
    rows = [(b, k) for b in range(tokens.shape[0]) for k in range(tokens.shape[1]) if taken[b, k]]
    unit = {place: tokens[place] / tokens[place].norm() for place in rows}
    hidden = {place: head.widen(unit[place]) for place in rows}
    stacked = torch.stack(list(hidden.values()))
    mean, variance = stacked.mean(dim=0), stacked.var(dim=0, unbiased=False)
    norm = head.between
    embedded = {
        place: head.narrow(((value - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias).relu())
        + head.shortcut(unit[place])
        for place, value in hidden.items()
    }
    pooled = []
    for b in range(tokens.shape[0]):
        values = torch.stack([embedded[place] for place in rows if place[0] == b])
        pooled.append(values.max(dim=0).values if head.pooling == "max" else values.mean(dim=0))
    return torch.stack(pooled)


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_the_head_equals_a_loop_over_tokens(pooling):
    torch.manual_seed(5)
    head = GrabHead(6, 8, pooling).train()
    tokens = torch.randn(4, 5, 6)
    taken = torch.arange(5) < torch.tensor([5, 1, 3, 2])[:, None]
    expected = naive_head(head, tokens, taken)
    torch.testing.assert_close(head([TokenGroup(tokens, taken)]), expected, rtol=0, atol=1e-5)
    wild = torch.where(taken.unsqueeze(-1), tokens, torch.tensor(1e4))
    torch.testing.assert_close(head([TokenGroup(wild, taken)]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "mean", "gpo"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_padding_changes_no_vector(pooling, norm):
    torch.manual_seed(6)
    head = GrabHead(6, 8, pooling, norm).train()
    tokens = torch.randn(3, 4, 6)
    taken = torch.arange(4) < torch.tensor([4, 2, 3])[:, None]
    longer = torch.cat([tokens, torch.randn(3, 3, 6)], dim=1)
    wide = torch.cat([taken, torch.zeros(3, 3, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(head([TokenGroup(longer, wide)]), head([TokenGroup(tokens, taken)]), rtol=0, atol=1e-5)
    full = torch.ones_like(taken)
    torch.testing.assert_close(head([TokenGroup(tokens, full)]), head([TokenGroup(tokens)]), rtol=0, atol=1e-5)


def test_padding_may_enter_the_statistics_as_in_the_release():
    torch.manual_seed(7)
    head = GrabHead(6, 8).train()
    tokens, taken = torch.randn(2, 4, 6), torch.tensor([[True, True, False, False]] * 2)
    assert not torch.allclose(
        head([TokenGroup(tokens, taken)]), head([TokenGroup(tokens, taken, torch.ones_like(taken))])
    )


def test_gradients_of_the_head_and_the_poolings():
    torch.manual_seed(8)
    taken = torch.tensor([[True, True, False], [True, True, True]])
    tokens = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    pooling = GeneralisedPooling(4, 4).double()
    # Positions are coded in float32, so the codes are cast where the perceptron is in float64.
    pooling._codes = lambda places, codes=pooling._codes: codes(places).double()
    assert torch.autograd.gradcheck(lambda values: pooling(values, taken), tokens)
    for kind in ("max", "mean"):
        head = GrabHead(4, 6, kind, "layer").double()
        assert torch.autograd.gradcheck(lambda values, head=head: head([TokenGroup(values, taken)]), tokens)


def test_masked_statistics_are_those_of_the_rows_that_count():
    torch.manual_seed(9)
    ours, theirs = MaskedBatchNorm(5).train(), torch.nn.BatchNorm1d(5).train()
    values, keep = torch.randn(12, 5) * 3 + 1, torch.rand(12) < 0.6
    torch.testing.assert_close(ours(values, keep)[keep], theirs(values[keep]), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours(values), theirs(values))
    torch.testing.assert_close(ours.eval()(values, keep), theirs.eval()(values), rtol=0, atol=1e-5)
    nothing = MaskedBatchNorm(5).train()(values, torch.zeros(12, dtype=torch.bool))
    assert nothing.isfinite().all()


def test_masked_statistics_are_no_coarser_in_mixed_precision():
    """Means far from zero: in bfloat16 the mean square less the squared mean is off by a fifth of the variance."""
    torch.manual_seed(9)
    plain, mixed = MaskedBatchNorm(5).train(), MaskedBatchNorm(5).train()
    values, keep = torch.randn(40, 5) + 6, torch.rand(40) < 0.6
    expected = plain(values, keep)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mixed(values, keep), expected)
    assert torch.equal(mixed.running_var, plain.running_var)


def test_generalised_pooling_holds_maximum_and_mean():
    pooling = GeneralisedPooling()
    for parameter in pooling.parameters():
        torch.nn.init.zeros_(parameter)
    values, taken = torch.randn(2, 4, 3), torch.tensor([[True] * 4, [True, False, True, False]])
    mean = torch.stack([values[0].mean(dim=0), values[1, [0, 2]].mean(dim=0)])
    torch.testing.assert_close(pooling(values, taken), mean)


@pytest.mark.parametrize("options", [{"pooling": "maxx"}, {"norm": "group"}])
def test_heads_that_are_refused(options):
    with pytest.raises(ConfigError, match="known"):
        GrabHead(4, 4, **options)
