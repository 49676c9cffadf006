"""Reports of runs with several tasks: page, curves and comparison."""

import cv2
import pytest

from engine import config
from engine.report import records, report_files
from engine.runs.run_folder import RunFolder
from support import task_records
from support.reported_runs import train

CONFIG = """
network: deeplabv3plus_mobilenetv2_tv_edgeailite
dataset: folder
tasks: [depth, motion]
task_channels: [1, 2]
max_iter: 100
batch_size: 4
"""


@pytest.fixture
def run(tmp_path):
    """The folder of a run of 30 iterations."""
    folder = RunFolder(tmp_path / 'several')
    task_records.train(folder.path)
    (tmp_path / 'tasks.yaml').write_text(CONFIG)
    folder.write_config(config.load(tmp_path / 'tasks.yaml'))
    return folder.path


def test_the_page_has_the_scores_of_each_task(run):
    page = report_files.write_report(run, None)
    for text in (
        'last validation score', '75.00 %', 'last validation ARD of depth', '20.00 %',
        '## Depth at iteration 30', '## Motion at iteration 30', 'within a factor of 1.25, %',
    ):  # fmt: skip
        assert text in page
    picture = cv2.imread(str(run / 'report.png'))
    assert picture.shape[0] > picture.shape[1]  # four parts
    record = records.read_run(run)
    assert [(task.name, task.measure) for task in record.tasks] == [
        ('depth', 'ARD'),
        ('motion', 'mIoU'),
    ]
    assert record.tasks[0].scores == [(10, 40.0), (20, 30.0), (30, 20.0)]
    assert record.scores == [(10, 55.0), (20, 65.0), (30, 75.0)]


def test_runs_of_one_task_and_of_several_are_compared(run, tmp_path):
    other = train(tmp_path / 'single').path
    page = report_files.write_comparison([run, other], tmp_path / 'both.png')
    assert 'last mIoU or score, %' in page
    assert 'last depth ARD, %' in page
    row = next(line for line in page.splitlines() if line.startswith('| single'))
    assert '59.00' in row
    assert (tmp_path / 'both.png').exists()
