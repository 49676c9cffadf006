"""The configs against the hyper-parameters that their projects published."""

import nnabla as nn
import numpy as np
import pytest

import models
from engine.inference.predictor import Predictor
from engine.training.optimizer import Optimizer, SolverKeys
from support import mpi_training, stand_ins
from support.config_files import FOLDER, NAMES, bases_of, data_root, load

# Facts from the originals' files: those that all networks of a project share, then those of each.

CITYSCAPES = dict(dataset='cityscapes', num_classes=19)
DDRNET = CITYSCAPES | dict(
    batch_size=8, epochs=484, image_height=1024, image_width=1024,
    solver='momentum', lr=0.01, momentum=0.9, weight_decay=5e-4, schedule='poly', power=0.9,
    min_lr=0,
    loss='ohem', ohem_threshold=0.9, ohem_min_kept=131072, main_weight=0.4, aux_weights=[1.0],
)  # fmt: skip
DABNET = dict(
    loss_mean='all', aux_weights=[0.4, 0.4], crop_scales=[0.5, 2.0], category_ratio=0.75, flip=0.5,
    photometric_distortion=True, schedule='poly', power=0.9, min_lr=1e-4,
)  # fmt: skip
DABNET_DATA = {
    'cityscapes': CITYSCAPES | dict(image_height=1024, image_width=1024, max_iter=80000),
    'camvid': dict(
        num_classes=11, image_height=768, image_width=960, test_size=[768, 960], max_iter=10000,
        base_size=[768, 1536], batch_size=2, train_split='trainval', val_split='test',
    ),
    'cocostuff10k': dict(
        num_classes=171, image_height=512, image_width=512, test_size=[640, 640], max_iter=80000,
        base_size=[512, 2048], batch_size=8,
    ),
    'cocostuff164k': dict(
        num_classes=171, image_height=512, image_width=512, test_size=[640, 640], max_iter=160000,
        base_size=[512, 2048], batch_size=8,
    ),
}  # fmt: skip
DABNET_SGD = dict(
    solver='momentum', momentum=0.9, weight_decay=5e-4, warmup_iter=1000, warmup_factor=0.1
)
DABNET_ADAM = dict(solver='adam', lr=0.001, beta1=0.5, beta2=0.999, weight_decay=0)
CSAIL_SIZES = [300, 375, 450, 525, 600]
CSAIL = dict(
    dataset='ade20k', num_classes=150, batch_size=2, short_sides=CSAIL_SIZES, max_side=1000,
    test_short_sides=CSAIL_SIZES, test_max_size=1000, solver='momentum', lr=0.02, momentum=0.9,
    weight_decay=1e-4, schedule='poly', power=0.9, min_lr=0, loss_mean='valid', loss_at='logits',
    photometric_distortion=False, flip=0.5,
)  # fmt: skip
CSAIL_EPOCHS = {
    'resnet18dilated8_c1_deepsup': 20,
    'resnet18dilated8_ppm_deepsup': 20,
    'resnet50dilated8_ppm_deepsup': 20,
    'resnet101dilated8_ppm_deepsup': 25,
    'resnet50_upernet': 30,
    'resnet101_upernet': 40,
}
TI = dict(
    augmentation='resize_crop', crop_scales=[1.0, 2.0], rotation=5, flip=0.5, loss_mean='all',
    warmup_epochs=5, warmup_factor=0.001,
)  # fmt: skip
TI_ADAM = dict(
    solver='adam', lr=4e-4, weight_decay=1e-4, schedule='step', milestone_epochs=[100, 200],
    gamma=0.25, epochs=250, batch_size=6,
)  # fmt: skip
TI_SGD = dict(solver='momentum', momentum=0.9, schedule='cosine', min_lr=0)
TI_REGNETX = TI_SGD | dict(lr=0.1, weight_decay=1e-4, epochs=250, batch_size=4)
TI_60 = TI_SGD | dict(weight_decay=4e-5, epochs=60, batch_size=8)
TI_DATA = {  # network: size, crop
    'cityscapes': {
        'deeplabv3plus_mobilenetv2_tv': ((384, 768), (384, 768)),
        'unet_aspp_mobilenetv2_tv': ((384, 768), (384, 768)),
        'fpn_aspp_mobilenetv2_tv': ((384, 768), (384, 768)),
        'fpn_aspp_mobilenetv2_tv_fd': ((768, 1536), (512, 1024)),
        'fpn_aspp_regnetx400mf': ((384, 768), (384, 768)),
        'fpn_aspp_regnetx800mf': ((384, 768), (384, 768)),
        'fpn_aspp_regnetx1p6gf': ((512, 1024), (512, 1024)),
        'fpn_aspp_regnetx3p2gf': ((512, 1024), (512, 1024)),
    },
    'ade20k32': {
        'deeplabv3plus_mobilenetv2_tv': ((512, 512), (512, 512)),
        'unet_aspp_mobilenetv2_tv': ((512, 512), (512, 512)),
        'fpn_aspp_mobilenetv2_tv': ((512, 512), (512, 512)),
        'fpn_aspp_mobilenetv2_tv_1p4': ((512, 512), (512, 512)),
        'fpn_aspp_regnetx400mf': ((384, 384), (384, 384)),
        'fpn_aspp_regnetx800mf': ((512, 512), (512, 512)),
    },
    'cocoseg21': {
        'deeplabv3plus_mobilenetv2_tv': ((512, 512), (512, 512)),
        'unet_aspp_mobilenetv2_tv': ((512, 512), (512, 512)),
        'fpn_aspp_mobilenetv2_tv': ((512, 512), (512, 512)),
        'fpn_aspp_regnetx800mf': ((512, 512), (512, 512)),
    },
    'voc': {'deeplabv3plus_mobilenetv2_tv': ((512, 512), (512, 512))},
}
TI_TASK = TI | dict(
    solver='adam', lr=1e-4, weight_decay=1e-4, schedule='step', milestone_epochs=[100, 200],
    gamma=0.5, epochs=250, batch_size=8, resize_height=384, resize_width=768, image_height=384,
    image_width=768, test_size=[384, 768], dataset='cityscapes', inputs=2, aspp_dil=[2, 4, 6],
)  # fmt: skip
TI_TASKS = {  # the scripts train_depth_main, train_motion_segmentation_main, train_pixel2pixel_...
    'EdgeAILite_deeplabv3plus_mobilenetv2_tv_depth_kitti': {
        key: value for key, value in TI_TASK.items() if key not in ('inputs', 'aspp_dil')
    } | dict(
        # 31, 12 and 25 of all images are 250, 100 and 200 epochs of an eighth.
        dataset='kitti_depth', tasks=['depth'], depth_range=[0, 128], batch_size=16, lr=4e-4,
        gamma=0.25, epochs=31, milestone_epochs=[12, 25], warmup_epochs=1,
    ),
    'EdgeAILite_deeplabv3plus_mobilenetv2_tv_motion_cityscapes': TI_TASK | dict(
        tasks=['motion'], task_channels=[2],
    ),
    'EdgeAILite_deeplabv3plus_mobilenetv2_tv_tasks_cityscapes': TI_TASK | dict(
        tasks=['depth', 'segmentation', 'motion'], task_channels=[1, 19, 2],
        task_weighting='learned', depth_l1_weight=1, depth_scale_weight=1, depth_variance_weight=0,
    ),
}  # fmt: skip
TI_CLASSES = {'cityscapes': 19, 'ade20k32': 32, 'cocoseg21': 21, 'voc': 21}


def load_checked(name, network, facts):
    """Load a config and compare its network and keys with the published ones."""
    config = load(name)
    assert config['network'] == network
    for key, value in facts.items():
        assert config[key] == value, f'{name}: {key}'
    return config


def files_of(project):
    """Return the names of a project's configs."""
    return {name for name in NAMES if name.startswith(project)}


def test_ddrnet():
    names = {'23slim': '23_slim', '23': '23', '39': '39'}
    for own, theirs in names.items():
        config = load_checked(f'DDRNet{own}_cityscapes', f'ddrnet{theirs}_aux', DDRNET)
        assert config['crop_scales'] == [0.5 + step / 10 for step in (0, 16)]
        assert sum(config['class_weights']) == pytest.approx(19, abs=2e-4)
        assert config['class_weights'][::6] == [0.8373, 0.9754, 1.1116, 1.0507]
    assert files_of('DDRNet') == {f'DDRNet{own}_cityscapes' for own in names}


def test_dabnet():
    runs = {f'R18P{patch}_cityscapes': dict(lr=0.025, batch_size=8) for patch in (1, 2, 4, 8, 16)}
    runs |= {f'R18P2_{data}': dict(lr=0.005) for data in ('cocostuff10k', 'cocostuff164k')}
    runs |= {'R18P2_camvid': {}, 'E_cityscapes': dict(batch_size=4)}
    runs |= {'E_camvid': {}, 'E_cocostuff10k': {}}
    for run_name, own in runs.items():
        network, data = run_name.split('_')
        facts = DABNET | DABNET_DATA[data] | (DABNET_ADAM if network == 'E' else DABNET_SGD) | own
        name = 'dabnet_e' if network == 'E' else f'dabnet_r18_{network[3:].lower()}'
        load_checked(f'DABNet_{run_name}', name, facts | {'dataset': data})
    assert files_of('DABNet') == {f'DABNet_{run_name}' for run_name in runs}


def test_csail():
    for network, epochs in CSAIL_EPOCHS.items():
        upernet = network.endswith('upernet')
        own = dict(max_iter=5000 * epochs, size_multiple=32 if upernet else 8)
        name = f'CSAIL_{network}_ade20k'
        config = load_checked(name, f'csail_{network}', CSAIL | own)
        assert config.get('aux_weights') == (None if upernet else [0.4])
        older = load(f'CSAIL_baseline_{network}_ade20k')
        differing = {key for key in {*older, *config} if older.get(key) != config.get(key)}
        assert differing == {'mean', 'std', 'channel_order'}
        assert older['mean'] == [102.9801, 115.9465, 122.7717]
        assert (older['std'], older['channel_order']) == ([1, 1, 1], 'bgr')
    kinds = ('CSAIL', 'CSAIL_baseline')
    assert files_of('CSAIL') == {f'{k}_{network}_ade20k' for k in kinds for network in CSAIL_EPOCHS}


@pytest.mark.parametrize(
    'network', ['csail_resnet18dilated8_ppm_deepsup', 'csail_resnet18_upernet']
)
def test_csail_decays_the_weights_of_convolutions_only(network):
    """The original's group_weight decays exactly these."""
    with stand_ins.zero_parameters():
        Predictor(models.create(network))
    parameters = nn.get_parameters()
    for parameter in parameters.values():
        parameter.d = parameter.g = 1
    config = load('CSAIL_resnet18dilated8_ppm_deepsup_ade20k')
    optimizer = Optimizer(parameters, SolverKeys.of(config))
    optimizer.update(lr=1)
    for name, parameter in parameters.items():
        decay = 1e-4 if name.endswith('/conv/W') else 0
        assert parameter.d.ravel()[0] == pytest.approx(-decay, abs=1e-6), name


def test_edgeailite():
    for data, networks in TI_DATA.items():
        for network, (size, crop) in networks.items():
            regnet = 'regnetx' in network
            if data in ('ade20k32', 'cocoseg21'):
                recipe = TI_60 | dict(lr=0.1 if regnet else 0.05)
            else:
                recipe = TI_REGNETX if regnet else TI_ADAM
            sizes = dict(
                resize_height=size[0], resize_width=size[1], test_size=list(size),
                image_height=crop[0], image_width=crop[1],
            )  # fmt: skip
            facts = TI | recipe | sizes | dict(dataset=data, num_classes=TI_CLASSES[data])
            config = load_checked(f'EdgeAILite_{network}_{data}', f'{network}_edgeailite', facts)
            info = models.create(config).info
            assert (info.mean, info.std) == ((128,) * 3, (64,) * 3)
            assert (config.get('class_weights') is None) == (data in ('cocoseg21', 'voc'))
    assert files_of('EdgeAILite') == {
        f'EdgeAILite_{network}_{data}' for data, networks in TI_DATA.items() for network in networks
    } | set(TI_TASKS)


@pytest.mark.parametrize('name', TI_TASKS)
def test_edgeailite_with_tasks(name):
    """The defaults of the three scripts, for one of two processes."""
    config = load_checked(name, 'deeplabv3plus_mobilenetv2_tv_edgeailite', TI_TASKS[name])
    info = models.create(config).info
    assert (info.mean, info.std) == ((128,) * 3, (64,) * 3)
    assert [(task.name, task.channels) for task in info.tasks] == list(
        zip(config['tasks'], config.get('task_channels', [1]))
    )


def test_edgeailite_class_weights_equal_the_mean_of_the_originals(shared):
    """The original uses its weights in a fifth of the batches.

    For ADE20K they are the mean share of all classes divided by the share of the class.
    """
    table = data_root({'dataset': 'ade20k32'}, shared) / 'objectInfo150.txt'
    shares = [float(line.split()[1]) for line in table.read_text().splitlines()[1:]]
    shares = [1 - sum(shares) + sum(shares[31:]), *shares[:31]]
    expected = [0.8 + 0.2 * np.mean(shares) / share for share in shares]
    ade = load('EdgeAILite_fpn_aspp_regnetx800mf_ade20k32')['class_weights']
    assert ade == pytest.approx(expected, abs=1e-4)
    cityscapes = load('EdgeAILite_fpn_aspp_regnetx800mf_cityscapes')['class_weights']
    road, traffic_light = 0.05570516, 5.29974114
    assert cityscapes[0] == pytest.approx(0.8 + 0.2 * road, abs=1e-4)
    assert cityscapes[12] == pytest.approx(0.8 + 0.2 * traffic_light, abs=1e-4)


@pytest.mark.parametrize(
    ('name', 'samples', 'processes', 'batch', 'length', 'rates'),
    [
        ('DDRNet39_cityscapes', 2975, 2, 16, 89994, {0: 0.01, 45000: 0.01 * 0.49997**0.9}),
        ('DABNet_R18P8_cityscapes', 2975, 4, 32, 80000, {0: 0.0025, 79999: 0.0001}),
        ('DABNet_E_cityscapes', 2975, 4, 16, 80000, {0: 0.001, 79999: 0.0001}),
        ('DABNet_R18P2_camvid', 468, 4, 8, 10000, {0: 0.000625, 9999: 0.0001}),
        ('DABNet_E_cocostuff10k', 9000, 4, 32, 80000, {0: 0.001}),
        ('CSAIL_resnet50_upernet_ade20k', 20210, 8, 16, 150000, {0: 0.02, 75000: 0.02 * 0.5**0.9}),
        (
            'EdgeAILite_fpn_aspp_mobilenetv2_tv_cityscapes', 2975, 2, 12, 61980,
            {0: 4e-7, 620: 2e-4, 1240: 4e-4, 24790: 4e-4, 24793: 1e-4, 49600: 2.5e-5},
        ),
        (
            'EdgeAILite_fpn_aspp_regnetx800mf_cityscapes', 2975, 4, 16, 46485,
            {0: 1e-4, 23242: 0.05, 46484: 0},
        ),
        (
            'EdgeAILite_fpn_aspp_mobilenetv2_tv_ade20k32', 20210, 4, 32, 37894,
            {0: 5e-5, 18947: 0.025, 37893: 0},
        ),
    ],
)  # fmt: skip
def test_batch_length_and_learning_rates_are_the_published_ones(
    name, samples, processes, batch, length, rates
):
    """They are derived from the published number of processes and the real number of images."""
    hyperparameters = mpi_training.hyperparameters_of(load(name), samples, processes)
    assert hyperparameters.batch_size * hyperparameters.accumulation * processes == batch
    assert hyperparameters.max_iter == length
    for iteration, rate in rates.items():
        assert hyperparameters.rate(iteration) == pytest.approx(rate, rel=1e-3, abs=2e-6), iteration


@pytest.mark.parametrize('name', NAMES)
def test_the_comment_names_the_source_and_every_key_has_an_effect(name):
    """The commit is in the file or in its bases.

    Each key belongs to the chosen solver, schedule or loss.
    """
    config = load(name)
    seen, queue = '', [FOLDER / f'{name}.yaml']
    while queue:
        path = queue.pop()
        text = path.read_text()
        assert text.startswith('# '), path
        seen += text
        queue += bases_of(path)
    sources = ('bc0e193e', '8ad62f02', '8f27c9b9', 'f85ec314', 'd3net/semantic-segmentation')
    assert any(source in seen for source in sources) or name == 'D3Net_T_camvid'
    assert ('beta1' in config) <= (config.get('solver') == 'adam')
    assert ('momentum' in config) <= (config.get('solver', 'momentum') == 'momentum')
    assert ('power' in config) <= (config.get('schedule', 'poly') == 'poly')
    for key in ('gamma', 'milestone_epochs'):
        assert (key in config) <= (config.get('schedule') == 'step')
    for key in ('ohem_threshold', 'ohem_min_kept'):
        assert (key in config) <= (config.get('loss') == 'ohem')


def test_every_base_file_is_used():
    bases = set(FOLDER.resolve().glob('bases/*.yaml'))
    users_base = FOLDER.resolve() / 'bases/own_data.yaml'  # of the config in docs/own-data.md
    used = {base for path in FOLDER.rglob('*.yaml') for base in bases_of(path)}
    assert bases - {users_base} <= used
    assert users_base in bases
