"""Runs of infer.py in this process, and videos to write and read."""

import cv2
import nnabla as nn

import infer
from common.command import run_command
from support import programs

CAMVID = ['-cfg', 'configs/D3Net_T_camvid.yaml', '-c', 'cpu', '--backend', 'nnabla']
INFER = programs.PROJECT / 'infer.py'
STREET = programs.PROJECT / 'resources' / 'street.jpg'


def started(*arguments):
    """Run infer.py in this process; return the exit status."""
    nn.clear_parameters()
    return run_command(infer.build_parser, infer.main, [str(a) for a in arguments])


def refused(capsys, *arguments):
    """Run infer.py, assert that it fails with status 2, and return its one-line error."""
    assert started(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    assert len(errors) == 1, lines
    return errors[0]


def write_video(path, frames, api=cv2.CAP_FFMPEG):
    """Write BGR frames to a video with 12.5 frames per second."""
    writer = cv2.VideoWriter(
        path, api, cv2.VideoWriter_fourcc(*'MJPG'), 12.5, frames[0].shape[1::-1]
    )
    for frame in frames:
        writer.write(frame)
    writer.release()


def read_video(path):
    """Return the rate and the frames of a video."""
    capture = cv2.VideoCapture(str(path))
    rate, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        there, frame = capture.read()
        if not there:
            return rate, frames
        frames.append(frame)
