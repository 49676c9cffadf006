"""Runs of evaluate.py in this process, and a small CamVid."""

import cv2
import nnabla as nn

import evaluate
from common.command import run_command

CAMVID = ['-cfg', 'configs/D3Net_T_camvid.yaml', '-c', 'cpu', '--backend', 'nnabla']
CUT_CAMVID = [*CAMVID, '--scale', '1']  # its images are a part of CamVid's, and not larger


def cut_camvid(camvid, folder):
    """Write a CamVid test set of four images, cut to 120x90, that a test can modify."""
    for kind in ('test', 'testannot'):
        (folder / kind).mkdir(parents=True)
        for path in sorted((camvid / kind).iterdir())[:4]:
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[180:270, 200:320]
            cv2.imwrite(str(folder / kind / path.name), image)
    return folder


def started(*arguments):
    """Run evaluate.py in this process; return the exit status."""
    nn.clear_parameters()
    return run_command(evaluate.build_parser, evaluate.main, [str(a) for a in arguments])


def refused(capsys, *arguments):
    """Run evaluate.py, assert that it fails with status 2, and return its one-line error."""
    assert started(*arguments) == 2
    errors = [e for e in capsys.readouterr().err.splitlines() if e.startswith('error: ')]
    assert len(errors) == 1
    return errors[0]
