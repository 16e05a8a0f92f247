"""The context encoder against its dense form, in double precision, and its switches, symmetries and wrong inputs."""

import pytest
import torch
from dense_context import dense_context, dense_maps
from torch.utils._python_dispatch import TorchDispatchMode

from passerby.errors import ConfigError, DataError
from passerby.models.context import ContextEncoder, build_context_encoder
from passerby.models.context_config import PRESETS, SWITCHES, ContextConfig, config_from, context_config
from passerby.models.context_layer import ContextLayer, Lists, Memory


def people(rows, width=16, seed=0, each=6):
    """Rows around one direction per person."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(rows // each + 1, width, generator=generator, dtype=torch.float64)
    owner = torch.arange(rows) // each
    return directions[owner] + 0.7 * torch.randn(rows, width, generator=generator, dtype=torch.float64)


def model_of(name="magformer", width=16, seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"layers": 2, "k": 5, "landmark_count": 3, "dropout": 0.0, "attention_dropout": 0.0, **settings}
    model = ContextEncoder(context_config(name, width, 7, **settings)).double()
    with torch.no_grad():  # away from the values at which a term would not show
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


SETS = {
    "ordinary": people(40),
    "k above the rows": people(4),
    "one row": people(1),
    "copies": torch.cat([people(1).expand(9, -1), people(11, seed=1)]),
    "a row of zeros": torch.cat([people(12), torch.zeros(2, 16, dtype=torch.float64)]),
}


def both_ways(model, features):
    """Forward and all gradients, sparse and dense: [(sparse, dense), ...]."""
    graph, landmarks = model.graph(features), model.choose_landmarks(features)
    weight = torch.randn(features.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    results = []
    for forward in (
        lambda leaf: model(leaf, graph, landmarks),
        lambda leaf: dense_context(model, leaf, graph, landmarks),
    ):
        model.zero_grad()
        leaf = features.clone().requires_grad_()
        rows = forward(leaf)
        (rows * weight).sum().backward()
        gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
        results.append((rows.detach(), {"features": leaf.grad.clone(), **gradients}))
    return results


def assert_same(model, features):
    (sparse, sparse_gradients), (dense, dense_gradients) = both_ways(model, features)
    torch.testing.assert_close(sparse, dense, rtol=0, atol=1e-12)
    assert set(sparse_gradients) == set(dense_gradients)
    for name, gradient in sparse_gradients.items():
        torch.testing.assert_close(gradient, dense_gradients[name], rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("mode", ["clean", "off"])
@pytest.mark.parametrize("which", SETS)
def test_sparse_equals_dense(which, heads, mode):
    assert_same(model_of(heads=heads, diff_mode=mode), SETS[which])


@pytest.mark.parametrize("name", PRESETS)
def test_named_models_equal_their_dense_form(name):
    assert_same(model_of(name), SETS["ordinary"])


#: Those of the graph have a test of their own: there it is made inside the model.
ONE_BY_ONE = [
    (field, value) for field in SWITCHES for value in SWITCHES[field] if field not in ("graph", "reciprocity")
]


@pytest.mark.parametrize(("field", "value"), ONE_BY_ONE)
def test_every_switch_equals_its_dense_form(field, value):
    assert_same(model_of(**{field: value}), SETS["ordinary"])


@pytest.mark.parametrize("field", [field for field in SWITCHES if field != "reciprocity"])
def test_every_switch_changes_something(field):
    features, values = people(30) * 3, SWITCHES[field]
    results = []
    for value in values:
        model = model_of(**{field: value, "landmark_count": 3}).eval()
        results.append(model(features).detach())
    for at, one in enumerate(results):
        for two in results[at + 1 :]:
            assert field == "input_norm" or not torch.allclose(one, two)
    if field == "input_norm":  # in evaluation "repo" is "l2", in training "none"
        torch.testing.assert_close(results[values.index("repo")], results[values.index("l2")])


def test_repo_mode_is_the_closed_form_of_the_release():
    """Row sums 1 - 2 lambda, and a first map of the first head that nothing reads (I-10 of the specification)."""
    model = model_of(diff_mode="repo")
    layer = model.layers[0]
    with torch.no_grad():
        share, weight = layer.combined(), layer.difference()
    expected = torch.tensor([[0, -weight, 1 - weight, 0], [0, -1, 1, 1 - 2 * weight]], dtype=torch.float64)
    torch.testing.assert_close(share, expected)
    torch.testing.assert_close(share.sum(dim=1), (1 - 2 * weight).expand(2))
    features = SETS["ordinary"]
    (model(features)).sum().backward()
    assert layer.query.weight.grad[: 16 // 4].abs().max() == 0


def test_affinity_graph_equals_a_mask_of_all_pairs():
    """Each map's own k nearest by affinity, both ways, as eq. 3 and 4 say; against the full matrix."""
    for reciprocity in ("row", "column"):
        model = model_of(graph="affinity", reciprocity=reciprocity, layers=1).eval()
        features = people(30)
        landmarks = model.choose_landmarks(features)
        layer, rows = model.layers[0], model.prepared(features)
        everything = torch.ones(30, 30, dtype=torch.bool)
        affinity = dense_maps(layer, rows, landmarks[0], everything).log()  # up to a constant of each row
        frame = layer.frame(rows[landmarks[0]].mean(dim=1))
        absolute = torch.einsum("nsr,msr->snm", layer.factors(rows, frame), layer.remember(rows, frame).keys)
        torch.testing.assert_close(affinity, absolute.log_softmax(dim=2))
        ranked = absolute if reciprocity == "row" else absolute.transpose(1, 2)
        own = torch.eye(30, dtype=torch.bool)
        near = torch.zeros_like(absolute, dtype=torch.bool).scatter(
            2, absolute.masked_fill(own, -torch.inf).topk(4).indices, True
        )
        theirs = torch.zeros_like(near).scatter(2, ranked.masked_fill(own, -torch.inf).topk(4).indices, True)
        mask = (near & theirs.transpose(1, 2)) | own
        maps = torch.softmax(absolute.masked_fill(~mask, -torch.inf), dim=2)
        weight = layer.difference()
        mixed = maps.unflatten(0, (2, 2))
        mixed = mixed[:, 0] - weight * mixed[:, 1]
        heads = (mixed @ layer.value(rows).unflatten(1, (2, -1)).transpose(0, 1)).transpose(0, 1)
        after = layer.norm1(rows + layer.out(layer.head_norm(heads).flatten(1)))
        expected = layer.norm2(after + layer.narrow(torch.nn.functional.gelu(layer.widen(after), approximate="tanh")))
        torch.testing.assert_close(model(features, landmarks=landmarks), expected, rtol=0, atol=1e-12)


def test_blocks_without_gradient_equal_one_piece(monkeypatch):
    model, features = model_of().eval(), people(53)
    whole = model(features).detach()
    monkeypatch.setattr("passerby.models.context.ROWS", 7)
    before = features.clone()
    with torch.no_grad():
        torch.testing.assert_close(model(features), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(features, before, rtol=0, atol=0)


def test_order_of_pictures_does_not_matter():
    model, features = model_of().eval(), people(40)
    landmarks = model.choose_landmarks(features)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    place = order.argsort()
    moved = model(features[order], landmarks=place[landmarks])
    torch.testing.assert_close(moved[place], model(features, landmarks=landmarks), rtol=0, atol=1e-11)


def test_no_difference_and_no_magnitude_is_plain_landmark_attention():
    """lambda = 0 and m = 1 leave the first map of each head (the specification's test 4)."""
    model = model_of(magnitude="one", layers=1)
    layer = model.layers[0]
    with torch.no_grad():
        layer.difference.query1.zero_(), layer.difference.query2.zero_()
        layer.difference.start = 0.0
        layer.magnitude.fill_(1.0)
    features = people(20)
    graph, landmarks = model.graph(features), model.choose_landmarks(features)
    rows = model.prepared(features)
    frame = layer.frame(rows[landmarks[0]].mean(dim=1))
    memory = layer.remember(rows, frame)
    lists = Lists(graph.neighbours[:, None], graph.reciprocal[:, None])
    weights = layer.weights(rows, frame, memory, memory, lists)
    torch.testing.assert_close(torch.einsum("hs,nsm->nhm", layer.combined(), weights), weights[:, ::2])
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(20, 4, dtype=torch.float64))


def test_weights_lie_on_reciprocal_pairs_alone():
    model, features = model_of(layers=1), people(20)
    graph, landmarks = model.graph(features), model.choose_landmarks(features)
    assert not graph.reciprocal.all()
    layer, rows = model.layers[0], model.prepared(features)
    frame = layer.frame(rows[landmarks[0]].mean(dim=1))
    memory = layer.remember(rows, frame)
    weights = layer.weights(rows, frame, memory, memory, Lists(graph.neighbours[:, None], graph.reciprocal[:, None]))
    inside = graph.reciprocal[:, None].expand(-1, 4, -1)
    assert (weights[:, :, 1:][inside] > 0).all()
    assert (weights[:, :, 1:][~inside] == 0).all()


def test_attention_is_what_the_layers_used():
    """Figures 5 and 6 of the report: before the difference rows sum to 1, after it to 1 - lambda."""
    model, features = model_of().eval(), people(20)
    layers = list(model.attention(features))
    assert len(layers) == 2
    for layer, (before, after) in zip(model.layers, layers, strict=True):
        torch.testing.assert_close(before.sum(dim=2), torch.ones(20, 4, dtype=torch.float64))
        expected = (1 - layer.difference()).detach().expand(20, 2)
        torch.testing.assert_close(after.sum(dim=2), expected)
    landmarks, rows = model.choose_landmarks(features), model.prepared(features)
    mask = torch.eye(20, dtype=torch.bool)
    graph = model.graph(features)
    mask[graph.reciprocal.nonzero()[:, 0], graph.neighbours[graph.reciprocal]] = True
    maps = dense_maps(model.layers[0], rows, landmarks[0], mask).transpose(0, 1)  # (N, S, N)
    torch.testing.assert_close(layers[0][0][:, :, 0], maps.diagonal(dim1=0, dim2=2).T.detach())


class Largest(TorchDispatchMode):
    """The most numbers that any tensor has which an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.untyped_storage().nbytes() // one.element_size())
        return result


@pytest.mark.parametrize("gradient", [False, True])
def test_nothing_of_n_times_n_is_ever_made(gradient):
    model, features = model_of().float(), people(4000).float()
    with torch.set_grad_enabled(gradient), Largest() as largest:
        rows = model(features)
        if gradient:
            rows.sum().backward()
    assert 4000 * 16 < largest.numbers < 4000 * 4000 / 4


def test_layers_start_apart_or_alike():
    apart, alike = model_of(seed=3), ContextEncoder(context_config("magformer-release", 16, 7))
    assert not torch.equal(apart.layers[0].query.weight, apart.layers[1].query.weight)
    assert torch.equal(alike.layers[0].query.weight, alike.layers[1].query.weight)
    assert alike.layers[0].query.weight is not alike.layers[1].query.weight


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_finite(dtype):
    model, features = model_of("nformer").float(), people(40).float() * 30
    with torch.autocast("cpu", dtype):
        rows = model(features)
        loss = model.classify(model.embed(rows)).float().square().mean()
    loss.backward()
    assert torch.isfinite(rows).all()
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)


def test_configuration_makes_the_same_model_again():
    model = model_of(diff_mode="off", landmarks="fps").eval()
    again = build_context_encoder(model.config, classes=7).double().eval()
    again.load_state_dict(model.state_dict())
    features = people(20)
    torch.testing.assert_close(again(features), model(features), rtol=0, atol=0)
    assert again.embedding_dim == 16


def test_every_layer_and_memory_has_its_part():
    layer = ContextLayer(ContextConfig(8, 3), 0)
    rows = torch.randn(6, 8)
    memory = layer.remember(rows, layer.frame(rows[:5]))
    part = memory.part(slice(2, 4))
    assert isinstance(part, Memory)
    torch.testing.assert_close(part.values, memory.values[:, 2:4])
    assert part.keys.shape == (2, 4, 5)


WRONG_SETTINGS = {
    "k": (0, "context.k is 0"),
    "width": (15, "cannot be cut into 4 attention maps"),
    "classes": (0, "context.classes is 0"),
    "diff_mode": ("cleen", "Did you mean 'clean'"),
    "landmarks": ("best", "context.landmarks is 'best'"),
    "dropout": (1.0, "expected 0 to below 1"),
    "layers": (True, "context.layers is True"),
}


@pytest.mark.parametrize("field", WRONG_SETTINGS)
def test_wrong_settings_are_refused(field):
    value, words = WRONG_SETTINGS[field]
    with pytest.raises(ConfigError, match=words):
        ContextConfig(**{"width": 16, "classes": 7, field: value})


def test_other_wrong_configurations_are_refused():
    with pytest.raises(ConfigError, match="works with exactly 2"):
        ContextConfig(16, 7, heads=4, diff_mode="repo")
    with pytest.raises(ConfigError, match="Did you mean 'magformer'"):
        context_config("magformr", 16, 7)
    with pytest.raises(ConfigError, match="Did you mean 'landmarks'"):
        config_from({"width": 16, "classes": 7, "landmark": "fps"})
    with pytest.raises(ConfigError, match=r"context.classes is missing"):
        config_from({"width": 16})
    with pytest.raises(ConfigError, match="tells 7 identities apart, the data has 751"):
        build_context_encoder(ContextConfig(16, 7).to_dict(), classes=751)


def test_wrong_features_are_refused():
    model, features = model_of().eval(), people(12)
    features[3, 2] = torch.nan
    with pytest.raises(DataError, match="row 3 holds NaN"):
        model(features)
    with pytest.raises(ConfigError, match="features of width 8 for a context encoder of width 16"):
        model(people(12, 8))
    with pytest.raises(ConfigError, match="a graph of 12 rows for 13 features"):
        model(people(13), model.graph(people(12)))
    with pytest.raises(DataError, match="no features"):
        model(people(12)[:0])
