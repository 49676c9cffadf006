"""train.py learns depth, segmentation and motion of four scenes, alone and in two processes."""

import json

import pytest

from support import learnable_scenes, mpi_jobs, programs

CONFIG = """
network: deeplabv3plus_mobilenetv2_tv_edgeailite
dataset: folder
val_split: train
inputs: 2
tasks: [depth, segmentation, motion]
task_channels: [1, 3, 2]
depth_range: [0, 128]
depth_variance_weight: 0.1
aspp_dil: [1, 2, 3]
decoder_chan: 16
aspp_chan: 16
augmentation: resize_crop
resize_height: 32
resize_width: 64
image_height: 32
image_width: 64
crop_scales: [1, 1]
flip: 0
test_size: [32, 64]
max_iter: 160
solver: adam
lr: 0.005
schedule: step
milestones: [110]
gamma: 0.05
"""


@pytest.mark.parametrize('processes', [1, 2])
def test_a_network_of_three_tasks_learns_four_scenes(processes, tmp_path):
    """At the low rate of the last third the running statistics reach those of the weights."""
    learnable_scenes.write(tmp_path / 'own')
    (tmp_path / 'scenes.yaml').write_text(CONFIG)
    options = [
        '-d', tmp_path / 'own', '-cfg', tmp_path / 'scenes.yaml', '-c', 'cpu',
        '-o', tmp_path / 'run', '--workers', 0, '--set', f'batch_size={4 // processes}',
    ]  # fmt: skip
    if processes == 1:
        process = programs.run('train.py', *options, OMP_NUM_THREADS='1')
    else:
        process = mpi_jobs.run(processes, 'train.py', *options, OMP_NUM_THREADS='1')
    assert process.returncode == 0, process.stderr
    (entry,) = json.loads((tmp_path / 'run' / 'validation.json').read_text())
    depth, segmentation, motion = entry['tasks'].values()
    print(depth['ard'], segmentation['miou'], motion['miou'])
    assert depth['ard'] < 30
    assert segmentation['miou'] > 70
    assert motion['miou'] > 70
