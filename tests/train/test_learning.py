"""train.py overfits a few real images, alone and in two processes."""

import json
import shutil

import pytest

from support import mpi_jobs, programs

CONFIG = """
dataset: camvid
val_split: train
num_classes: 11
num_init_features: 16
num_layers: [2, 2]
n_blocks: [1, 1]
dens_k: [12, 16]
block_comp: [0.5, 0.5]
intermediate_out_ch: [16, 24]
channels: 48
dense_n_out_layer_block: [2, 2]
augmentation: resize_crop
resize_height: 48
resize_width: 64
image_height: 48
image_width: 64
crop_scales: [1, 1]
flip: 0
test_size: [48, 64]
batch_size: 4
max_iter: 72
solver: adam
lr: 0.02
"""


@pytest.mark.parametrize('processes', [1, 2])
def test_a_small_network_overfits_real_images(processes, shared, tmp_path):
    """A D3Net of 20 000 parameters learns four images of CamVid."""
    for folder in ('train', 'trainannot'):
        (tmp_path / 'camvid' / folder).mkdir(parents=True)
        for path in sorted((shared / 'data' / 'camvid' / folder).iterdir())[::9]:
            shutil.copy(path, tmp_path / 'camvid' / folder)
    (tmp_path / 'overfitted.yaml').write_text(CONFIG)
    options = [
        '-d', tmp_path / 'camvid', '-cfg', tmp_path / 'overfitted.yaml', '-c', 'cpu',
        '-o', tmp_path / 'run', '--workers', 1, '--set', f'batch_size={4 // processes}',
    ]  # fmt: skip
    if processes == 1:
        process = programs.run('train.py', *options)
    else:
        process = mpi_jobs.run(processes, 'train.py', *options, OMP_NUM_THREADS='1')
    assert process.returncode == 0, process.stderr
    (entry,) = json.loads((tmp_path / 'run' / 'validation.json').read_text())
    assert entry['pixel_accuracy'] > 90
