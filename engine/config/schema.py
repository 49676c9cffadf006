"""The keys of a config: which there are, and what each may hold."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """What a key may hold. type: a Python type, ``[type]`` for a list of it, ``[[type]]`` for a
    list of lists.
    """

    type: object
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf  # the value is greater than this
    length: int | None = None  # of a list, or of each list in a list
    choices: tuple[str, ...] = ()  # of a text


KEYS = {
    # what is trained, and on what
    'network': Key(str),
    'dataset': Key(str),
    'weights': Key(str),
    'num_classes': Key(int, least=1, most=255),  # 255 marks pixels to be ignored
    'classes': Key([str]),
    'palette': Key([[int]], least=0, most=255, length=3),
    'mean': Key([float], length=3),
    'std': Key([float], above=0, length=3),
    'channel_order': Key(str, choices=('rgb', 'bgr')),
    # where the data is, and how it is evaluated (see engine/inference/test_time.py)
    'data_dir': Key(str),
    'val_split': Key(str),
    'test_size': Key([int], least=1, length=2),
    'test_scales': Key([float], above=0, most=16),
    'test_flip': Key(bool),
    'test_window': Key([int], least=1, length=2),
    'test_stride': Key([int], least=1, length=2),
    'test_short_sides': Key([int], least=1),
    'test_max_size': Key(int, least=1),
    # augmentation (see datasets/loading/transforms.py)
    'augmentation': Key(str),
    'crop_scales': Key([float], above=0, length=2),
    'base_size': Key([int], least=1, length=2),
    'category_ratio': Key(float, above=0, most=1),
    'flip': Key(float, least=0, most=1),
    'photometric_distortion': Key(bool),
    'pad_label': Key(int, least=0, most=255),
    'resize_height': Key(int, least=1),
    'resize_width': Key(int, least=1),
    'rotation': Key(float, least=0, most=180),
    'interpolation': Key(str, choices=('area', 'linear')),
    'short_sides': Key([int], least=1),
    'max_side': Key(int, least=1),
    'size_multiple': Key(int, least=1),
    # training: data and length; batch_size is per process (see engine/training/trainer.py)
    'train_split': Key(str),
    'pretrained': Key(str),
    'batch_size': Key(int, least=1),
    'accumulation': Key(int, least=1),
    'image_height': Key(int, least=1),
    'image_width': Key(int, least=1),
    'max_iter': Key(int, least=1),
    'epochs': Key(int, least=1),
    'reference_batch': Key(int, least=1),
    'save_interval': Key(int, least=1),
    'save_minutes': Key(float, above=0),
    'val_interval': Key(int, least=1),
    'keep_checkpoints': Key(int, least=1),
    'recompute': Key(str, choices=('none', 'bn_relu', 'convolution', 'blocks')),
    # the learning rate (see engine/training/schedules.py)
    'schedule': Key(str, choices=('poly', 'cosine', 'step', 'one_cycle', 'constant')),
    'lr': Key(float, above=0),
    'min_lr': Key(float, least=0),
    'power': Key(float, above=0),
    'milestones': Key([int], least=1),
    'milestone_epochs': Key([int], least=1),
    'gamma': Key(float, above=0, most=1),
    'warmup_iter': Key(int, least=0),
    'warmup_epochs': Key(int, least=0),
    'warmup_factor': Key(float, least=0, most=1),
    # the solver (see engine/training/optimizer.py)
    'solver': Key(str, choices=('momentum', 'nesterov', 'adam', 'adamw')),
    'momentum': Key(float, least=0, most=1),
    'momentum_form': Key(str, choices=('nnabla', 'pytorch')),
    'beta1': Key(float, least=0, most=1),
    'beta2': Key(float, least=0, most=1),
    'epsilon': Key(float, above=0),
    'weight_decay': Key(float, least=0),
    'gradient_reduction': Key(str, choices=('mean', 'sum')),
    'clip_norm': Key(float, above=0),
    'ema_decay': Key(float, above=0, most=1),
    'lr_factors': Key([str]),
    'no_decay': Key([str]),
    'freeze': Key([str]),
    'freeze_statistics': Key(bool),
    # the loss (see engine/training/losses/criterion.py)
    'loss': Key(str, choices=('cross_entropy', 'ohem')),
    'loss_mean': Key(str, choices=('valid', 'all')),
    'loss_at': Key(str, choices=('input', 'logits')),
    'class_weights': Key([float], least=0),
    'label_smoothing': Key(float, least=0, most=1),
    'ohem_threshold': Key(float, above=0, most=1),
    'ohem_min_kept': Key(int, least=1),
    'main_weight': Key(float, least=0),
    'aux_weights': Key([float], least=0),
    'dice_weight': Key(float, least=0),
    'lovasz_weight': Key(float, least=0),
}
# Keys of the published files of which only the published value is implemented.
ONE_VALUE = {
    'dilation': True,
    'input_transform': 'resize_concat',
    'kernel_size': 1,
    'num_convs': 1,
    'concat_input': False,
    'dropout_ratio': -1,
    'align_corners': False,
}


def convert(value, key: Key, type_):
    """``value`` as ``type_``, in the key's range; raises ``ValueError`` with what it must be."""
    if isinstance(type_, list):
        if not isinstance(value, list) or not value:
            raise ValueError('must be a list')
        if key.length is not None and not isinstance(type_[0], list) and len(value) != key.length:
            raise ValueError(f'must be a list of {key.length} values')
        return [convert(item, key, type_[0]) for item in value]
    if type_ is float and isinstance(value, str):  # YAML 1.1 reads 1e-4, without a point, as text
        try:
            value = float(value)
        except ValueError:
            raise ValueError('must be a number') from None
    wrong_bool = isinstance(value, bool) and type_ is not bool
    if wrong_bool or not isinstance(value, (int, float) if type_ is float else type_):
        raise ValueError(
            {
                int: 'must be a whole number',
                float: 'must be a number',
                str: 'must be text',
                bool: 'must be true or false',
            }[type_]
        )
    if key.choices and value not in key.choices:
        raise ValueError(f'must be {", ".join(key.choices[:-1])} or {key.choices[-1]}')
    if type_ in (int, float):
        if not math.isfinite(value):
            raise ValueError('must be finite')
        if not key.least <= value <= key.most or not value > key.above:
            raise ValueError(_range(key))
        value = type_(value)
    return value


def _range(key: Key) -> str:
    bounds = [f'at least {key.least:g}'] * (key.least > -math.inf) + [f'at most {key.most:g}'] * (
        key.most < math.inf
    )
    bounds += [f'greater than {key.above:g}'] * (key.above > -math.inf)
    return 'must be ' + ' and '.join(bounds)
