"""A family of networks: a function that builds the graph, a table of variants, and facts.

A network of your own is a file with a family and its registration:

    import models
    from layers import functions as L

    def graph(x, build, *, num_classes, channels):
        x = L.bn_relu(L.convolution(x, channels, 3, 'stem', build, stride=4), 'stem', build)
        return [L.convolution(x, num_classes, 1, 'logits', build)]

    def info(hyper):
        return models.NetworkInfo(num_classes=hyper['num_classes'], paper='ours')

    variants = {'my_net': dict(num_classes=19, channels=64)}
    models.register(models.Family(name='mine', graph=graph, variants=variants, info=info))

With ``--import my_net.py`` every command knows it by ``network: my_net``. :class:`Family` says what
else a family may have: keys of a config for its hyper-parameters, published files, an original in
PyTorch.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nnabla as nn

from common.sections import Section, config_key

Statistics = Mapping[str, Any]  # of a network's input: mean, std and channel_order
Hyper = Mapping[str, Any]  # hyper-parameters by name

# How most networks want their input: the statistics of ImageNet's images.
IMAGENET: dict[str, Any] = {
    'mean': (123.675, 116.28, 103.53),
    'std': (58.395, 57.12, 57.375),
    'channel_order': 'rgb',
}
# What files of several families were trained for, see Published.
CITYSCAPES = 'Cityscapes, 19 classes'
IMAGENET_ENCODER = 'ImageNet, encoder only'


@dataclass(frozen=True, kw_only=True)
class NetworkKeys(Section):
    """Which network a config is of, and what holds for networks of every family."""

    network: str = config_key('d3net', 'name of the network; `python -m models` lists them')
    num_classes: int | None = config_key(
        None,
        'number of classes; 255 marks pixels to be ignored',
        least=1,
        most=255,
        default_text="the reference network's",
    )
    mean: tuple[float, float, float] | None = config_key(
        None,
        'mean of the input, 0 to 255, by channel_order',
        default_text="the weights', else the family's",
    )
    std: tuple[float, float, float] | None = config_key(
        None,
        'deviation of the input, 0 to 255, by channel_order',
        above=0,
        default_text="the weights', else the family's",
    )
    channel_order: str | None = config_key(
        None,
        'order of the input channels',
        choices=('rgb', 'bgr'),
        default_text="the weights', else the family's",
    )
    weights: str | None = config_key(
        None, 'what infer.py, evaluate.py and engine.export load: a file, or a published name'
    )
    pretrained: str | None = config_key(
        None, 'what train.py starts from: a file, or a published name', default_text='random values'
    )


@dataclass(frozen=True, kw_only=True)
class NetworkInfo:
    """Facts about a network that its surroundings need.

    Attributes:
        num_classes: Number of classes.
        mean: Of the input's channels, on the scale 0 to 255, in ``channel_order``.
        std: Their standard deviation, in the same way.
        channel_order: ``rgb`` or ``bgr``.
        size_divisor: Height and width of an image are multiples of it, in pixels.
        smallest_size: Height and width are at least this, in pixels.
        paper: Who described the network, and where.
    """

    num_classes: int
    mean: tuple[float, ...] = IMAGENET['mean']
    std: tuple[float, ...] = IMAGENET['std']
    channel_order: str = IMAGENET['channel_order']
    size_divisor: int = 1
    smallest_size: int = 1
    paper: str


@dataclass(frozen=True)
class Published:
    """A file of weights that the authors of a network published.

    Attributes:
        file: Its name, with folders where the name alone would not tell; where the authors' page
            has none, their title.
        network: Names, or patterns of names, with blanks between them; a file for several holds
            what they have in common.
        task: What it was trained for.
        mirrors: Base addresses, tried in turn; none where a plain request does not get the file.
        page: Where a person gets it then.
        size: In bytes, where known.
        sha256: Where known. The first download of a file without is trusted, and later it must be
            what it was then (:mod:`common.download`).
        num_classes: Where not the network's own.
        halves: Names of all files of the network in the same folder, where there are several.
        obstacle: Why nothing here can take the file, if so.
        statistics: Of the input that it was trained on, a name in
            :data:`models.registry.STATISTICS`; None: the network's own.
    """

    file: str
    network: str
    task: str
    mirrors: tuple[str, ...] = ()
    page: str | None = None
    size: int | None = None
    sha256: str | None = None
    num_classes: int | None = None
    halves: tuple[str, ...] = ()
    obstacle: str | None = None
    statistics: str | None = None


# A table of regular expressions and of what takes the place of what they match.
Renaming = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


@dataclass(frozen=True, kw_only=True)
class Original:
    """What is known of the checkpoints of a family's original, which is written in PyTorch.

    Attributes:
        encoder: Matches the start of the names, as the original has them, of the parameters that a
            file of the encoder alone has.
        renamings: By what tables the names of other implementations become the original's.
        statistics: Of other inputs than the family's own that checkpoints were trained on, by the
            names of ``--input-statistics``.
        statistics_of_names: Name of the statistics by how the name of a checkpoint or of its folder
            begins.
        unknown_statistics: What to tell a user when names do not tell the statistics; '' where
            there is no doubt.
    """

    encoder: re.Pattern[str]
    renamings: tuple[Renaming, ...] = ()
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    statistics_of_names: Mapping[str, str] = field(default_factory=dict)
    unknown_statistics: str = ''


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks that share a graph function, and all that belongs to them.

    Attributes:
        name: Of the family.
        graph: ``graph(x, build, **hyper)`` takes the normalised image, (N, 3, H, W) or what
            ``build.channel_last`` makes of it, and returns the list of logits, the main ones first.
        variants: Network name -> hyper-parameters; those that it lacks must be given.
        info: Hyper-parameters -> :class:`NetworkInfo`.
        keys: The section of the hyper-parameters that a config may set, besides num_classes.
        complete: Takes the checked values of variant and config, fills in the defaults that follow
            from others, and raises :class:`common.sections.SectionError` for values that do not go
            together.
        momentum_form: Of the original's solver, ``nnabla`` or ``pytorch``; see
            :class:`engine.training.optimizer.Optimizer`.
        original: What checkpoints to convert are like; None where there are none.
        published: Files of weights that :func:`models.weights.find` finds by name.
    """

    name: str
    graph: Callable[..., list[nn.Variable]]
    variants: Mapping[str, Hyper]
    info: Callable[[Hyper], NetworkInfo]
    keys: type[Section] = Section
    complete: Callable[[dict[str, Any]], Hyper] = dict
    momentum_form: str = 'pytorch'
    original: Original | None = None
    published: tuple[Published, ...] = ()
