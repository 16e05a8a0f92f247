"""The recipe of an alignment: its pairs, its model, and the losses that pull pictures and sentences together.

Each loss is a key of `objectives` with a weight and options of its own; a key that is not there is not computed. Every
name here has its module in `passerby.training.objectives`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from passerby.errors import ConfigError
from passerby.models.itself_options import LocalOptions
from passerby.training.recipe import OptimisationConfig, Recipe, Section
from passerby.training.tasks.dual_encoder_recipe import TokenizerConfig, TowerConfig

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
_SMALLEST_HALF = 2.0**-14  # the smallest number that fp16 holds with all its digits


class PairDataConfig(Section):
    """Which pairs of a picture and a caption come together in a batch."""

    image_size: tuple[Annotated[int, Field(ge=16, le=2048)], Annotated[int, Field(ge=16, le=2048)]] = (384, 128)
    """(height, width) in pixels."""
    train_split: str = "train"
    sampler: Literal["pairs", "identity", "shuffled", "identities"] = "pairs"
    """`pairs`: every caption with its picture, in any order. `identity`: people with `pairs_each` pairs of each.
    `shuffled` and `identities`: every picture once an epoch, as a dual encoder's samplers do it."""
    pairs_each: Annotated[int, Field(ge=1, le=64)] = 2
    """K, the pairs of each person in a batch of the sampler `identity`."""


class PictureChanges(Section):
    """Random changes of the training pictures beyond those of `augmentation`."""

    pad: Annotated[int, Field(ge=0, le=64)] = 0
    """Black border in pixels, from which a crop of the picture's size is taken."""
    largest_erased: Annotated[float, Field(gt=0.02, le=1)] = 0.4
    """Largest share of a picture that `augmentation.erase` fills."""
    drawn: Annotated[int, Field(ge=0, le=6)] = 0
    """Changes drawn with replacement from TBPS-CLIP's six for each picture; 0 for none."""


class CaptionChanges(Section):
    """Random changes of the training captions, token by token; see `passerby.training.captions`."""

    touch: Share = 0.0
    """Probability that a word is touched."""
    mask: Share = 0.6
    """Share of touched words that become the mask token."""
    replace: Share = 0.2
    """Share of touched words that become any other word."""
    delete: Share = 0.2
    """Share of touched words that are left out; what remains of 1 is touched and stays as it is."""
    at_least_one: bool = False
    """Whether a caption none of whose words is touched has its first one masked, as in IRRA."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.mask + self.replace + self.delete > 1 + 1e-9:
            raise ValueError(
                f"mask + replace + delete is {self.mask + self.replace + self.delete:g}; expected 1 at most"
            )
        return self


Three = tuple[Share, Share, Share]


class PixelConfig(Section):
    """How pictures are read where a release does it otherwise than its CLIP; what is left out stays as it is."""

    mean: Three | None = None
    """Of red, green, blue on the scale 0 to 1."""
    std: tuple[Positive, Positive, Positive] | None = None
    """On the same scale."""
    interpolation: Literal["bilinear", "bicubic"] | None = None
    """Of the resize to `data.image_size`."""


class AlignmentModel(Section):
    """A CLIP from a source, a model of ours to go on from, or two towers by name; each may get a local branch."""

    clip: str | None = None
    """A CLIP of which everything is taken, its projections too: a folder, or ``org/name`` on the hub."""
    stride: Annotated[int, Field(ge=0)] = 0
    """Pixels from one patch of that CLIP to the next; 0 is the patch's side, less lets patches overlap."""
    pixels: PixelConfig = PixelConfig()
    """How that CLIP reads pictures from now on; the checkpoint remembers it."""
    start: str | None = None
    """A trained dual encoder of ours that is gone on from, its tokenizer and projections too: a name, a folder or
    ``hf:org/name``."""
    image: TowerConfig | None = None
    text: TowerConfig | None = None
    tokenizer: TokenizerConfig = TokenizerConfig(context_length=77)
    embedding_dim: Annotated[int, Field(ge=8, le=8192)] = 512
    """Width of the shared space; a `clip` has its own."""
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.07
    """Initial temperature, learned from there; losses with a fixed one say so."""
    text_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of attention weights dropped in the text tower in training."""
    freeze_patches: bool = False
    """Whether the first layer of the image tower stays as it is."""
    local: dict[str, Any] | None = None
    """Options of the local branch, see `passerby.models.itself_options.LocalOptions`; {} for its defaults."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        towers = [self.image, self.text]
        given = [self.clip is not None, self.start is not None, any(towers)]
        if sum(given) != 1 or (given[2] and not all(towers)):
            raise ValueError("give either model.clip, or model.start, or both model.image and model.text")
        if self.clip is None and self.pixels != PixelConfig():
            raise ValueError("pixels says how a model.clip reads pictures, and there is none")
        if self.local is not None:
            try:
                LocalOptions.from_dict(self.local)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return self


class Objective(Section):
    """What every loss has."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    branches: Literal["all", "global", "local"] = "all"
    """Which vectors the loss looks at; `all` adds up those that the model has."""


class ContrastiveObjective(Objective):
    """Contrast by identity with the learned temperature; see `passerby.losses.identity_contrastive`."""


class SdmObjective(Objective):
    """See `passerby.losses.sdm`."""

    temperature: Positive = 0.02
    """Fixed."""
    epsilon: Positive = 1e-8


class TalObjective(Objective):
    """See `passerby.losses.tal`."""

    temperature: Positive = 0.015
    margin: Annotated[float, Field(ge=0)] = 0.1
    reduction: Literal["sum", "mean"] = "sum"
    """The papers sum over the batch, which goes with Adam's epsilon of 1e-3."""


class CidObjective(Objective):
    """See `passerby.losses.cid`."""

    instance: bool = True
    """Whether each vector is classified by itself too."""
    batch_max: bool = False
    """The released label of wrong pairs, which is nearly always a real person; to compare with."""


class IdObjective(Objective):
    """See `passerby.losses.id`."""


class MlmObjective(Objective):
    """See `passerby.losses.mlm`; on tokens, so it has no branches."""

    branches: Literal["global"] = "global"  # type: ignore[assignment]
    words: Literal["own", "shared"] = "own"
    """`own` masks the caption again for this loss. `shared` tells the words that `captions` touched, so that all other
    losses see masked captions too: IRRA's release did, by a shared array."""
    probability: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Of a word to be masked under `own`: 80 % the mask token, 10 % another word, 10 % as it is."""
    layers: Annotated[int, Field(ge=1, le=24)] = 4
    heads: Annotated[int, Field(ge=1)] = 8


class NItcObjective(Objective):
    """See `passerby.losses.n_itc`."""

    softness: Share = 0.5
    """Share of the model's own distribution in the target, reached after `ramp` epochs."""
    ramp: Annotated[float, Field(ge=0)] = 1.0
    second_view: bool = False
    """Whether a second picture of other random changes is compared too, and the mean taken (TBPS-CLIP's MVS-I)."""


class RItcObjective(Objective):
    """See `passerby.losses.r_itc`."""

    epsilon: Positive = 1e-2


class CItcObjective(Objective):
    """See `passerby.losses.c_itc`."""


class SsObjective(Objective):
    """See `passerby.losses.ss`; on two strongly changed views of each picture, so it has no branches."""

    branches: Literal["global"] = "global"  # type: ignore[assignment]
    temperature: Positive = 0.1
    width: Annotated[int, Field(ge=8)] = 128
    """Channels of the perceptron's middle layer."""
    out: Annotated[int, Field(ge=8)] = 512
    """Channels that it gives."""


class ObjectivesConfig(Section):
    """The losses, by name; those that are not there are not computed."""

    contrastive: ContrastiveObjective | None = None
    sdm: SdmObjective | None = None
    tal: TalObjective | None = None
    cid: CidObjective | None = None
    id: IdObjective | None = None
    mlm: MlmObjective | None = None
    n_itc: NItcObjective | None = None
    r_itc: RItcObjective | None = None
    c_itc: CItcObjective | None = None
    ss: SsObjective | None = None

    @property
    def chosen(self) -> dict[str, Objective]:
        """Name -> options of the losses that are computed."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


class ConsensusConfig(Section):
    """Confident consensus division (RDE): pairs that two branches find noisy are left out of an epoch."""

    every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two divisions."""
    first: Annotated[int, Field(ge=0)] = 0
    """Epochs before the first division; a model that starts from scratch knows nothing to divide by."""


class AlignmentOptimisation(OptimisationConfig):
    """How the parameters move, with the rates of what is new in the model."""

    epsilon: Positive = 1e-8
    """Of Adam and AdamW; 1e-3 goes with losses that are summed over the batch."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Of Adam and AdamW."""
    head_rate: Positive = 1.0
    """Factor of the learning rate for the heads of losses: classifiers and cross-modal layers, not what joins pairs."""
    local_rate: Positive = 1.0
    """Factor of the learning rate for the local branch."""
    bias_rate: Positive = 1.0
    """Factor of the learning rate for biases of everything else."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "pure_fp16"] = "auto"  # type: ignore[assignment]
    """Of every recipe, and `pure_fp16`: weights that are fp16 numbers and are moved in fp16, without scaling the loss,
    as the released IRRA, RDE and ITSELF do it; to compare with. See `passerby.training.half_weights`."""

    @model_validator(mode="after")
    def _movable_in_half(self) -> Self:
        if self.precision != "pure_fp16":
            return self
        if self.optimiser == "muon":
            raise ValueError(
                "precision=pure_fp16 moves weights as PyTorch's own optimisers move fp16 parameters, and muon is none "
                "of them; take optimiser=adam, as the releases do, or precision=fp16"
            )
        if self.optimiser != "sgd" and self.epsilon < _SMALLEST_HALF:
            raise ValueError(
                f"precision=pure_fp16 with epsilon={self.epsilon:g}, which fp16 rounds towards zero, so that a step "
                f"divides by nothing; give at least {_SMALLEST_HALF:.1e}, or 1e-3 as the releases do"
            )
        return self


class AlignmentRecipe(Recipe):
    """Everything that decides an alignment except the data set's place."""

    data: PairDataConfig = PairDataConfig()
    model: AlignmentModel
    objectives: ObjectivesConfig
    pictures: PictureChanges = PictureChanges()
    captions: CaptionChanges = CaptionChanges()
    consensus: ConsensusConfig | None = None
    """None trains on all pairs alike."""
    optimisation: AlignmentOptimisation = AlignmentOptimisation()  # type: ignore[assignment]

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        chosen = self.objectives.chosen
        if not chosen:
            raise ValueError(f"objectives are empty; choose among {', '.join(ObjectivesConfig.model_fields)}")
        mlm = self.objectives.mlm
        if mlm is not None and mlm.words == "shared" and (self.captions.touch == 0 or self.captions.delete > 0):
            raise ValueError(
                "objectives.mlm.words=shared tells the words that captions.touch masked; set captions.touch above 0 "
                "and captions.delete to 0"
            )
        if self.consensus is not None and (self.objectives.tal is None or self.model.local is None):
            raise ValueError(
                "consensus divides pairs by what tal says of two branches; set objectives.tal and model.local"
            )
        if self.data.sampler == "identity" and self.optimisation.batch_size % self.data.pairs_each:
            raise ValueError(
                f"optimisation.batch_size={self.optimisation.batch_size} is no multiple of data.pairs_each="
                f"{self.data.pairs_each}"
            )
        return self
