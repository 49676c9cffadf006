"""The configs of the project, and a data set on disk for each."""

import pytest
import yaml

from engine import config as configs
from support import programs

FOLDER = programs.PROJECT / 'configs'
NAMES = sorted(path.stem for path in FOLDER.glob('*.yaml'))
SAMPLES = {  # data set -> folder in shared/data
    'camvid': 'camvid',
    'cityscapes': 'samples/cityscapes',
    'voc': 'samples/VOCdevkit/VOC2012',
    'ade20k': 'samples/ADEChallengeData2016',
    'ade20k32': 'samples/ADEChallengeData2016',
    'cocostuff10k': 'samples/cocostuff10k_from164k',
    'cocostuff164k': 'samples/cocostuff164k',
    'cocoseg21': 'samples/coco_instances',
}
# One cheap config of each family, and one of a RegNet, which has a cosine schedule.
CHEAP = (
    'D3Net_T_camvid',
    'DDRNet23slim_cityscapes',
    'DABNet_R18P2_cocostuff10k',
    'CSAIL_resnet18dilated8_c1_deepsup_ade20k',
    'EdgeAILite_unet_aspp_mobilenetv2_tv_cityscapes',
    'EdgeAILite_fpn_aspp_regnetx400mf_ade20k32',
)
WITH_TASKS = tuple(
    f'EdgeAILite_deeplabv3plus_mobilenetv2_tv_{own}'
    for own in ('depth_kitti', 'motion_cityscapes', 'tasks_cityscapes')
)


def all_with_default(default, names=NAMES):
    """Return names as test parameters; those not in ``default`` run with `make test-all`."""
    marks = [pytest.mark.whole_registry, pytest.mark.timeout(900)]
    return [name if name in default else pytest.param(name, marks=marks) for name in names]


def bases_of(path):
    """Return the paths under a config's ``_base_``."""
    bases = yaml.safe_load(path.read_text()).get('_base_', [])
    return [(path.parent / b).resolve() for b in ([bases] if isinstance(bases, str) else bases)]


def load(name, *overrides):
    """Load the config ``name``."""
    return configs.load(FOLDER / f'{name}.yaml', overrides)


def data_root(config, shared):
    """Return the folder of a config's data set."""
    return shared / 'data' / SAMPLES[config['dataset']]
