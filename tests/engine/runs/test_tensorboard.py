"""TensorBoard reads all events, which are written without a thread."""

import io
import os
import threading

import numpy as np
from PIL import Image

from engine.runs import series
from engine.runs.logger import RunLogger
from engine.runs.tensorboard import EventWriter
from support import stand_ins
from support.logged_runs import NO_SCORES, REPORT, events


def test_tensorboard_reads_all_events_during_the_run(tmp_path):
    picture = stand_ins.image(20, 30)
    with RunLogger(tmp_path, log_interval=2, max_iter=4, active=True, memory=lambda: 5.0) as logger:
        logger.step(1, 1.0, 0.5, 0.25, 1.0)
        logger.step(2, 2.0, 0.5, 0.75, 3.0)
        logger.validation(2, REPORT)
        logger.pictures(2, {'street': picture})
        read = events(tmp_path)
        logger.validation(3, NO_SCORES)
    expected = {
        'train/loss': 1.5,
        'train/learning_rate': 0.5,
        'train/data_seconds': 0.5,
        'train/step_seconds': 2.0,
        'train/memory_mib': 5.0,
        'val/miou': 41.25,
        'val/pixel_accuracy': 80.5,
        'val/iou/road / way': 82.5,
    }
    assert {t: [e.value for e in read.Scalars(t)] for t in read.Tags()['scalars']} == {
        tag: [value] for tag, value in expected.items()
    }
    (image,) = read.Images('val/street')
    assert (image.step, image.height, image.width) == (2, 20, 30)
    rgb = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert np.array_equal(rgb, picture[..., ::-1])
    assert series.read_validations(tmp_path)[-1]['miou'] is None


def test_writers_start_no_thread_and_overwrite_no_file(tmp_path):
    before = threading.active_count()
    for _ in range(3):
        writer = EventWriter(tmp_path, 0)
        assert threading.active_count() == before
        writer.close()
    assert len(os.listdir(tmp_path)) == 3
