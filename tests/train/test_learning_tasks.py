"""train.py learns depth, segmentation and motion of four scenes, alone and in two processes."""

import json

import pytest

from support import learnable_scenes, mpi_jobs, programs
from support.task_runs import IMPORT

CONFIG = """
network: {network}
dataset: folder
val_split: train
inputs: 2
tasks: [depth, segmentation, motion]
task_channels: [1, 3, 2]
depth_range: [0, 128]
depth_variance_weight: 0.1
augmentation: resize_crop
resize_height: 32
resize_width: 64
image_height: 32
image_width: 64
crop_scales: [1, 1]
flip: 0
test_size: [32, 64]
max_iter: {iterations}
solver: adam
lr: {lr}
schedule: step
milestones: [{milestone}]
gamma: 0.05
"""
EDGEAI_LITE = """
aspp_dil: [1, 2, 3]
decoder_chan: 16
aspp_chan: 16
"""


def learn(tmp_path, config, processes=1):
    """At the low rate of the last part the running statistics reach those of the weights."""
    learnable_scenes.write(tmp_path / 'own')
    (tmp_path / 'scenes.yaml').write_text(config)
    options = [
        *IMPORT, '-d', tmp_path / 'own', '-cfg', tmp_path / 'scenes.yaml', '-c', 'cpu',
        '-o', tmp_path / 'run', '--workers', 0, '--set', f'batch_size={4 // processes}',
    ]  # fmt: skip
    if processes == 1:
        process = programs.run('train.py', *options, OMP_NUM_THREADS='1')
    else:
        process = mpi_jobs.run(processes, 'train.py', *options, OMP_NUM_THREADS='1')
    assert process.returncode == 0, process.stderr
    (entry,) = json.loads((tmp_path / 'run' / 'validation.json').read_text())
    depth, segmentation, motion = entry['tasks'].values()
    assert depth['ard'] < 30
    assert segmentation['miou'] > 70
    assert motion['miou'] > 70


@pytest.mark.parametrize('processes', [1, 2])
def test_a_network_of_three_tasks_learns_four_scenes(processes, tmp_path):
    config = CONFIG.format(network='own_tasks', iterations=120, lr=0.02, milestone=90)
    learn(tmp_path, config, processes)


@pytest.mark.long
@pytest.mark.whole_registry
@pytest.mark.timeout(900)
def test_a_network_of_edgeai_lite_learns_them(tmp_path):
    config = CONFIG.format(
        network='deeplabv3plus_mobilenetv2_tv_edgeailite', iterations=160, lr=0.005, milestone=110
    )
    learn(tmp_path, config + EDGEAI_LITE)
