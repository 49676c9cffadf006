"""A family of networks: a function that builds the graph, a table of variants, and facts.

To add your own network, write a file that defines a family and registers it:

    import models
    from layers import functions as L

    def graph(x, build, *, num_classes, channels):
        x = L.bn_relu(L.convolution(x, channels, 3, 'stem', build, stride=4), 'stem', build)
        return [L.convolution(x, num_classes, 1, 'logits', build)]

    def info(hyper):
        return models.NetworkInfo(num_classes=hyper['num_classes'], paper='ours')

    variants = {'my_net': dict(num_classes=19, channels=64)}
    models.register(models.Family(name='mine', graph=graph, variants=variants, info=info))

With ``--import my_net.py`` every command accepts ``network: my_net`` in a config. :class:`Family`
documents the optional fields: config keys for the hyper-parameters, published files, the original
in PyTorch.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nnabla as nn

from common.class_maps import MAX_CLASSES, check_num_classes
from common.sections import Section, config_key
from common.tasks import CLASSES, SEGMENTATION, Task, class_count
from models.structure import SINGLE, Structure

Statistics = Mapping[str, Any]  # mean, std and channel_order of a network's input
Hyper = Mapping[str, Any]  # hyper-parameters by name

# The input statistics of most networks: those of ImageNet's images.
IMAGENET: dict[str, Any] = {
    'mean': (123.675, 116.28, 103.53),
    'std': (58.395, 57.12, 57.375),
    'channel_order': 'rgb',
}
# Training data of published files, for Published.task.
CITYSCAPES = 'Cityscapes, 19 classes'
IMAGENET_ENCODER = 'ImageNet, encoder only'


@dataclass(frozen=True, kw_only=True)
class NetworkKeys(Section):
    """Config keys that apply to the networks of every family."""

    network: str = config_key('d3net', 'name of the network; `python -m models` lists them')
    num_classes: int | None = config_key(
        None,
        'number of classes; label 255 marks ignored pixels',
        least=1,
        most=MAX_CLASSES,
        default_text="the reference network's",
    )
    mean: tuple[float, float, float] | None = config_key(
        None,
        'mean of each input channel, 0 to 255, in channel_order',
        default_text="the weights', else the family's",
    )
    std: tuple[float, float, float] | None = config_key(
        None,
        'standard deviation of each input channel, 0 to 255, in channel_order',
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
        None, 'weights for infer.py, evaluate.py and engine.export: a file, or a published name'
    )
    pretrained: str | None = config_key(
        None,
        'initial weights for train.py: a file, or a published name',
        default_text='random values',
    )


@dataclass(frozen=True, kw_only=True)
class NetworkInfo:
    """Facts about a network that its callers need.

    Attributes:
        num_classes: Number of classes: of the first task that has classes, or 1 if all tasks are
            depth.
        mean: Mean of each channel of a picture, 0 to 255, in ``channel_order``. It holds for every
            picture of a scene.
        std: Standard deviation of each channel, on the same scale, in ``channel_order``.
        channel_order: Order of the input channels, ``rgb`` or ``bgr``.
        size_divisor: Height and width of the input must be multiples of this number of pixels.
        smallest_size: Minimum height and width of the input in pixels.
        paper: Authors, venue and arXiv number of the paper.
        inputs: Number of pictures of a scene, which the network takes stacked over channels.
        tasks: The tasks, in the order of the network's outputs; by default segmentation alone.

    Raises:
        SectionError: Class maps cannot hold so many classes.
        ValueError: ``num_classes`` is not that of the tasks.
    """

    num_classes: int
    mean: tuple[float, ...] = IMAGENET['mean']
    std: tuple[float, ...] = IMAGENET['std']
    channel_order: str = IMAGENET['channel_order']
    size_divisor: int = 1
    smallest_size: int = 1
    paper: str
    inputs: int = 1
    tasks: tuple[Task, ...] = ()

    def __post_init__(self) -> None:
        check_num_classes(self.num_classes)
        if {task.name for task in self.tasks} <= {SEGMENTATION}:  # follows replace(num_classes=...)
            alone = Task(SEGMENTATION, CLASSES, self.num_classes)
            object.__setattr__(self, 'tasks', (alone,))
        if self.num_classes != class_count(self.tasks):
            raise ValueError(f'num_classes is {self.num_classes}, not that of {self.tasks}')

    @property
    def structure(self) -> Structure:
        """Inputs and channels of the tasks; ``SINGLE`` for segmentation of one picture."""
        if self.inputs == 1 and [task.name for task in self.tasks] == [SEGMENTATION]:
            return SINGLE
        return Structure(self.inputs, tuple(task.channels for task in self.tasks))


@dataclass(frozen=True)
class Published:
    """A file of weights that the authors of a network published.

    Attributes:
        file: File name, with its folder if the name alone is ambiguous. If the authors' page names
            no file, its title there.
        network: Names or name patterns of networks, separated by blanks. A file for several
            networks holds the parameters that they share.
        task: Training data and number of classes.
        mirrors: Base addresses, tried in turn; empty if a plain request cannot download the file.
        page: Web page for a download by hand.
        size: File size in bytes, if known.
        sha256: Checksum, if known. Without one, the first download is trusted, and later downloads
            must be identical to it (:mod:`common.downloading.download`).
        num_classes: Number of classes, if it differs from the network's.
        halves: Names of all files of the network in the same folder, if there are several.
        obstacle: Reason why this project cannot load the file, if there is one.
        statistics: Input statistics of the training, a name in
            :data:`models.registry.STATISTICS`; None for the network's own.
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


# Regular expressions and their replacements, applied in turn.
Renaming = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


@dataclass(frozen=True, kw_only=True)
class Original:
    """Facts about the PyTorch checkpoints of a family's original implementation.

    Attributes:
        encoder: Pattern for the start of the original's parameter names that belong to the encoder.
        structure: Function from the shapes of a checkpoint by name to its inputs and tasks; None
            if all have one input and one task.
        initial_names: Function from NNabla's name of a parameter of a network with several inputs
            or tasks to other names; :func:`models.weights.initialise` starts it from the first of
            them that a file has.
        renamings: Tables that turn the names of other implementations into the original's.
        statistics: Name -> input statistics, for checkpoints that were not trained with the
            family's own. ``--input-statistics`` accepts the names.
        statistics_of_names: Start of a checkpoint's file or folder name -> name of its input
            statistics.
        unknown_statistics: Warning for a checkpoint whose name has none of these prefixes; '' if
            the statistics are always known.
    """

    encoder: re.Pattern[str]
    structure: Callable[[Mapping[str, tuple[int, ...]]], Structure] | None = None
    initial_names: Callable[[str], Sequence[str]] | None = None
    renamings: tuple[Renaming, ...] = ()
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    statistics_of_names: Mapping[str, str] = field(default_factory=dict)
    unknown_statistics: str = ''


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks that share a graph function, with their variants and facts.

    Attributes:
        name: Name of the family.
        graph: ``graph(x, build, **hyper)`` returns the list of logits: one for each of the tasks,
            then auxiliary ones. x is the normalised image, (N, 3, H, W), or (N, H, W, 3) with
            ``build.channel_last``; several pictures of a scene are stacked over channels.
        variants: Hyper-parameters by network name; the config must set those that are missing here.
        info: Function from hyper-parameters to :class:`NetworkInfo`.
        keys: Config section of the hyper-parameters, apart from num_classes. A family whose graph
            takes several inputs or tasks derives it from :class:`common.tasks.TaskKeys`.
        complete: Function that takes the checked values of variant and config and fills in the
            defaults that depend on others. It raises :class:`common.sections.SectionError` for
            values that contradict each other.
        momentum_form: Form of the momentum in the original's solver, ``nnabla`` or ``pytorch``; see
            :class:`engine.training.optimizer.Optimizer`.
        original: Facts about the original's checkpoints; None if there are none to convert.
        published: Published weights that :func:`models.weights.find` finds by name.
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
