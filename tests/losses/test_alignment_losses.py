"""The losses of text-to-person alignment against loops in double precision, their gradients, and what they refuse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.errors import ConfigError, DataError
from passerby.losses.c_itc import c_itc
from passerby.losses.cid import cross_modal_identity, hardest_of_others, instance_identity
from passerby.losses.id import check_identities, identity_classification
from passerby.losses.identity_contrastive import identity_contrastive
from passerby.losses.info_nce import info_nce
from passerby.losses.mlm import masked_words
from passerby.losses.n_itc import n_itc
from passerby.losses.pairs import Candidates, identity_target
from passerby.losses.r_itc import r_itc
from passerby.losses.sdm import sdm
from passerby.losses.similarity_divergence import similarity_divergence
from passerby.losses.soft_target import soft_target
from passerby.losses.ss import self_supervision
from passerby.losses.tal import tal


def pairs_of(rows, people, seed, width=5):
    """Unit vectors in double precision, and identities with gaps between their numbers."""
    generator = torch.Generator().manual_seed(seed)
    images, texts = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    ids = 7 * torch.randint(0, people, (rows,), generator=generator) + 3
    return torch.nn.functional.normalize(images, dim=1), torch.nn.functional.normalize(texts, dim=1), ids


def softmax(row):
    top = max(row)
    exps = [math.exp(one - top) for one in row]
    return [one / sum(exps) for one in exps]


def dots(left, right):
    return [[float(a @ b) for b in right] for a in left]


def target_of(ids, i):
    same = [float(other == ids[i]) for other in ids]
    return [one / sum(same) for one in same]


def naive_divergence(table, ids, scale, epsilon):
    total = 0.0
    for i, row in enumerate(table):
        p, q = softmax([scale * s for s in row]), target_of(ids, i)
        total += sum(a * (math.log(a) - math.log(b + epsilon)) for a, b in zip(p, q, strict=True) if a > 0)
    return total / len(table)


def naive_tal(table, ids, temperature, margin):
    found = []
    for i, row in enumerate(table):
        positive = [j for j in range(len(row)) if ids[j] == ids[i]]
        negative = [j for j in range(len(row)) if ids[j] != ids[i]]
        if not negative:
            found.append(0.0)
            continue
        share = softmax([row[j] / temperature for j in positive])
        top = max(row[j] for j in negative)
        soft = top + temperature * math.log(sum(math.exp((row[j] - top) / temperature) for j in negative))
        found.append(max(0.0, margin - sum(a * row[j] for a, j in zip(share, positive, strict=True)) + soft))
    return found


def naive_soft_entropy(table, ids, scale, softness):
    total = 0.0
    for i, row in enumerate(table):
        p, q = softmax([scale * s for s in row]), target_of(ids, i)
        total -= sum((softness * a + (1 - softness) * b) * math.log(a) for a, b in zip(p, q, strict=True) if a > 0)
    return total / len(table)


sizes = {"rows": st.integers(1, 9), "people": st.integers(1, 4), "seed": st.integers(0, 999)}


@settings(max_examples=30, deadline=None)
@given(**sizes, scale=st.floats(1, 60))
def test_divergences_equal_loops(rows, people, seed, scale):
    images, texts, ids = pairs_of(rows, people, seed)
    table = dots(images, texts)
    columns = [list(column) for column in zip(*table, strict=True)]
    for epsilon in (1e-8, 1e-2):
        expected = naive_divergence(table, ids, scale, epsilon) + naive_divergence(columns, ids, scale, epsilon)
        assert float(sdm(images, texts, ids, scale, epsilon=epsilon)) == pytest.approx(expected, abs=1e-8)
        assert float(r_itc(images, texts, ids, scale, epsilon=epsilon)) == pytest.approx(expected / 2, abs=1e-8)


def test_the_target_is_divided_by_rows():
    query, candidates = torch.tensor([4]), torch.tensor([4, 4, 9])
    assert identity_target(query, candidates, torch.ones(1)).tolist() == [[0.5, 0.5, 0.0]]


@settings(max_examples=30, deadline=None)
@given(**sizes, temperature=st.sampled_from([0.015, 0.1]), margin=st.sampled_from([0.0, 0.1, 0.5]))
def test_triplet_alignment_equals_loops(rows, people, seed, temperature, margin):
    images, texts, ids = pairs_of(rows, people, seed)
    table = dots(images, texts)
    columns = [list(column) for column in zip(*table, strict=True)]
    both = zip(naive_tal(table, ids, temperature, margin), naive_tal(columns, ids, temperature, margin), strict=True)
    found = tal(images, texts, ids, temperature=temperature, margin=margin)
    assert found.tolist() == pytest.approx([a + b for a, b in both], abs=1e-9)


def test_the_choice_among_positives_has_no_gradient():
    images, texts, ids = pairs_of(8, 3, 5)
    ours = images.clone().requires_grad_()
    tal(ours, texts, ids, temperature=0.1).sum().backward()
    held = images.clone().requires_grad_()
    same = ids[:, None] == ids[None]
    total = torch.zeros((), dtype=torch.float64)
    for table, constant in ((held @ texts.T, images @ texts.T), (texts @ held.T, texts @ images.T)):
        share = (constant / 0.1).masked_fill(~same, -torch.inf).softmax(dim=1)
        soft = 0.1 * (table / 0.1).masked_fill(same, -torch.inf).logsumexp(dim=1)
        total = total + (0.1 - (share * table).sum(dim=1) + soft).clamp_min(0).sum()
    total.backward()
    torch.testing.assert_close(ours.grad, held.grad)


def test_a_batch_of_one_identity_costs_nothing_and_has_a_gradient_of_nought():
    images, texts, ids = pairs_of(4, 1, 0)
    images.requires_grad_()
    loss = tal(images, texts, ids)
    assert loss.tolist() == [0.0] * 4
    loss.sum().backward()
    assert images.grad.tolist() == torch.zeros(4, 5).tolist()


def test_triplet_alignment_is_bounded_by_the_hardest_negative():
    images, texts, ids = pairs_of(12, 12, 1)
    ids = torch.arange(12)
    table = (images @ texts.T).masked_fill(torch.eye(12, dtype=torch.bool), -torch.inf)
    own = (images * texts).sum(dim=1)
    hinge = (0.1 - own + table.amax(dim=1)).clamp_min(0) + (0.1 - own + table.amax(dim=0)).clamp_min(0)
    assert (tal(images, texts, ids) >= hinge - 1e-12).all()
    torch.testing.assert_close(tal(images, texts, ids, temperature=1e-6), hinge, atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(**sizes, softness=st.sampled_from([0.0, 0.3, 1.0]))
def test_soft_contrast_equals_loops(rows, people, seed, softness):
    images, texts, ids = pairs_of(rows, people, seed)
    table = dots(images, texts)
    columns = [list(column) for column in zip(*table, strict=True)]
    expected = naive_soft_entropy(table, ids, 14.0, softness) + naive_soft_entropy(columns, ids, 14.0, softness)
    assert float(n_itc(images, texts, ids, 14.0, softness=softness)) == pytest.approx(expected / 2, abs=1e-8)
    if softness == 0:
        other = identity_contrastive(images, texts, ids, 14.0)
        assert float(other) == pytest.approx(expected / 2, rel=1e-4, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(**sizes)
def test_the_cycle_equals_loops(rows, people, seed):
    images, texts, ids = pairs_of(rows, people, seed)
    total = 0.0
    for i in range(rows):
        for j in range(rows):
            total += float(images[i] @ images[j] - texts[i] @ texts[j]) ** 2
            total += float(images[i] @ texts[j] - images[j] @ texts[i]) ** 2
    assert float(c_itc(images, texts, ids)) == pytest.approx(total / 4 / rows**2, abs=1e-10)
    assert float(c_itc(images, images, ids)) == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 6), seed=st.integers(0, 999))
def test_self_supervision_equals_loops(rows, seed):
    first, second, _ = pairs_of(rows, 1, seed)
    views = torch.cat([first, second])
    total = 0.0
    for i in range(2 * rows):
        others = [j for j in range(2 * rows) if j != i]
        p = softmax([float(views[i] @ views[j]) / 0.1 for j in others])
        total -= math.log(p[others.index((i + rows) % (2 * rows))])
    assert float(self_supervision(first, second)) == pytest.approx(total / (2 * rows), abs=1e-8)


# -- identities -----------------------------------------------------------------------------------------------------


def heads(width, classes, seed=0):
    """The layers of the pair's classifier, and the same as one function of a joined pair."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(width, 2 * width, generator=generator, dtype=torch.float64)
    bias = torch.randn(width, generator=generator, dtype=torch.float64)
    out = torch.randn(classes + 1, width, generator=generator, dtype=torch.float64)

    def project(rows):
        return rows @ weight[:, :width].T + bias, rows @ weight[:, width:].T

    def classify(state):
        return torch.nn.functional.gelu(state) @ out.T

    return project, classify, lambda first, second: classify(torch.cat([first, second]) @ weight.T + bias)


def naive_cid(images, texts, ids, joined, mismatch):
    pairs = []
    alike = torch.nn.functional.normalize(images, dim=1) @ torch.nn.functional.normalize(texts, dim=1).T
    for i in range(len(ids)):
        pairs.append((images[i], texts[i], int(ids[i])))
        others = [j for j in range(len(ids)) if ids[j] != ids[i]]
        if others:
            pairs.append((images[max(others, key=lambda j: alike[j, i])], texts[i], mismatch))
            pairs.append((images[i], texts[max(others, key=lambda j: alike[i, j])], mismatch))
    total = 0.0
    for image, text, label in pairs:
        for logits in (joined(image, text), joined(text, image)):
            total -= math.log(softmax(logits.tolist())[label]) / 2
    return total / len(pairs)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 7), people=st.integers(1, 4), seed=st.integers(0, 99), batch_max=st.booleans())
def test_pairs_and_hardest_wrong_pairs_equal_loops(rows, people, seed, batch_max):
    images, texts, _ = pairs_of(rows, people, seed)
    images, texts = images * 3.0, texts * torch.arange(1, rows + 1)[:, None]  # lengths must not matter to the mining
    ids = torch.randint(0, people, (rows,), generator=torch.Generator().manual_seed(seed))
    project, classify, joined = heads(5, 6, seed)
    expected = naive_cid(images, texts, ids, joined, int(ids.max()) + 1 if batch_max else 6)
    found = cross_modal_identity(images, texts, ids, project, classify, 6, batch_max=batch_max)
    assert float(found) == pytest.approx(expected, abs=1e-8)


def test_gathered_pairs_give_the_same_loss_and_gradient():
    images, texts, _ = pairs_of(6, 3, 2)
    ids = torch.tensor([0, 0, 1, 1, 2, 2])
    project, classify, _ = heads(5, 3)
    alone, gathered = images.clone().requires_grad_(), images.clone().requires_grad_()
    cross_modal_identity(alone, texts, ids, project, classify, 3).backward()
    cross_modal_identity(gathered, texts, ids, project, classify, 3, Candidates(gathered, texts, ids)).backward()
    torch.testing.assert_close(alone.grad, gathered.grad)


def test_the_hardest_is_never_of_the_same_identity():
    images, texts, ids = pairs_of(30, 4, 3)
    assert (ids[hardest_of_others(images, texts, ids, ids)] != ids).all()


def test_identity_losses_equal_loops():
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 2, 3, 0])
    costs = [
        [-math.log(softmax(row.tolist())[y]) for row, y in zip(part, labels, strict=True)] for part in (left, right)
    ]
    both = sum(sum(part) / 6 for part in costs)
    assert float(identity_classification(left, right, labels)) == pytest.approx(both / 2)
    assert float(instance_identity(left, right, labels)) == pytest.approx(both)


def test_masked_words_are_averaged_over_their_places():
    logits, labels = torch.randn(3, 7, dtype=torch.float64), torch.tensor([1, 6, 0])
    costs = [-math.log(softmax(row.tolist())[y]) for row, y in zip(logits, labels, strict=True)]
    assert float(masked_words(logits, labels)) == pytest.approx(sum(costs) / 3)
    assert float(masked_words(logits, labels, total=6.0)) == pytest.approx(sum(costs) / 6)
    assert float(masked_words(logits[:0], labels[:0])) == 0.0


# -- gradients, half precision, wrong inputs ------------------------------------------------------------------------

SMOOTH = {
    "sdm": lambda v, t, ids: sdm(v, t, ids, 5.0),
    "r_itc": lambda v, t, ids: r_itc(v, t, ids, 5.0),
    "n_itc": lambda v, t, ids: n_itc(v, t, ids, 5.0),
    "c_itc": c_itc,
    "ss": lambda v, t, ids: self_supervision(v, t, 0.5),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_equal_differences(name):
    images, texts, ids = pairs_of(5, 3, 4)
    assert torch.autograd.gradcheck(
        lambda v, t: SMOOTH[name](v, t, ids), (images.requires_grad_(), texts.requires_grad_())
    )


@pytest.mark.parametrize("name", [*SMOOTH, "tal"])
def test_half_precision_is_computed_in_full(name):
    images, texts, ids = (one.bfloat16() if one.is_floating_point() else one for one in pairs_of(5, 3, 4))
    loss = {**SMOOTH, "tal": lambda v, t, ids: tal(v, t, ids).sum()}[name]
    assert loss(images, texts, ids).dtype == torch.float32
    torch.testing.assert_close(loss(images, texts, ids), loss(images.float(), texts.float(), ids))


@pytest.mark.parametrize(
    "loss",
    [
        lambda v, t, ids: identity_contrastive(v, t, ids, 50.0),
        lambda v, t, ids: info_nce(v, t, 50.0),
        lambda v, t, ids: soft_target(16 * v, 16 * t),
        lambda v, t, ids: similarity_divergence((v, t), (v, t), (t, v), (t, v)),
        lambda v, t, ids: tal(v, t, ids).sum(),
        lambda v, t, ids: sdm(v, t, ids),
    ],
)
def test_autocast_changes_nothing(loss):
    """Mixed precision is on where training asks for a loss, and would round the scores to three digits."""
    images, texts, ids = (one.float() if one.is_floating_point() else one for one in pairs_of(8, 3, 4, width=32))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(images, texts, ids)
    assert torch.equal(found, loss(images, texts, ids))


@pytest.mark.parametrize("name", ["sdm", "r_itc", "n_itc", "c_itc", "tal", "cid"])
def test_shapes_that_disagree_are_refused(name):
    images, texts, ids = pairs_of(5, 3, 4)
    project, classify, _ = heads(5, 3)
    losses = {
        **SMOOTH,
        "tal": tal,
        "cid": lambda v, t, ids: cross_modal_identity(v, t, ids, project, classify, 3),
    }
    with pytest.raises(ConfigError, match=rf"{name}: images \(4, 5\), texts \(5, 5\).*expected \(Q, D\)"):
        losses[name](images[:4], texts, ids)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v, t, y: sdm(v, t, y, epsilon=0.0), "an epsilon of 0.0"),
        (lambda v, t, y: tal(v, t, y, temperature=0.0), "tal: the temperature is 0.0"),
        (lambda v, t, y: n_itc(v, t, y, 1.0, softness=1.5), "n_itc: a softness of 1.5"),
        (lambda v, t, y: self_supervision(v, t[:3]), r"ss: views \(5, 5\) and \(3, 5\)"),
        (lambda v, t, y: self_supervision(v, t, -1.0), "ss: temperature -1.0"),
        (lambda v, t, y: self_supervision(v, t, 0.1, v, t, 2), "rows 2 to 7 of 5"),
        (lambda v, t, y: identity_classification(v, t[:3], y), "id: logits"),
        (lambda v, t, y: masked_words(v, y[:3]), "mlm: logits"),
    ],
)
def test_wrong_inputs_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call(*pairs_of(5, 3, 4))


def test_identities_without_a_class_are_refused():
    check_identities(3, 0, 2)
    with pytest.raises(DataError, match="identities from 0 to 7 for 3 classes"):
        check_identities(3, 0, 7)
