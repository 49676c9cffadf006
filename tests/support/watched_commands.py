"""Run commands in a process that refuses every connection, and every file outside its folders.

    python tests/support/watched_commands.py FOLDER

FOLDER has ``work``, ``home`` and ``tmp``. What was refused is written to FOLDER/refused, by child
processes, too. The project is not imported before the watch begins.
"""

import importlib.util
import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
LOOK_UPS = ('socket.getaddrinfo', 'socket.gethostbyname', 'socket.gethostbyaddr', 'urllib.Request')
CONNECTIONS = ('socket.connect', 'socket.sendto', 'socket.sendmsg')  # (socket, address)
NEW_FILES = ('os.mkdir', 'os.rename', 'os.link', 'os.symlink', 'shutil.move')
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def watch(folder: Path):
    """Refuse look-ups, connections and new files elsewhere in this process and its forks."""
    cache = folder / 'home' / '.cache'
    places = tuple(f'{place}/' for place in (folder / 'work', folder / 'tmp', cache / 'nnseg'))
    record = os.open(folder / 'refused', os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def refuse(event: str, what: object):
        os.write(record, f'{event} {what}\n'.encode())
        raise PermissionError(f'{event} {what}')

    def hook(event: str, args: tuple):
        if event in LOOK_UPS:
            refuse(event, args)
        elif event in CONNECTIONS and not isinstance(args[1], (str, bytes)):  # not a Unix socket
            refuse(event, args[1])
        elif event in NEW_FILES or (event == 'open' and (args[2] or 0) & WRITING):
            path = (
                os.path.abspath(os.fsdecode(args[0])) if not isinstance(args[0], int) else '/dev/'
            )
            needed = event == 'os.mkdir' and path == str(cache)
            if not needed and not f'{path}/'.startswith((*places, '/dev/')):
                refuse(event, path)

    sys.addaudithook(hook)


def run_commands(folder: Path):
    """Train, draw the run's curves, segment in float32 and in 8 bits, and export."""
    sys.path[:0] = [str(PROJECT), str(PROJECT / 'tests')]
    import cv2

    import infer
    import train
    from common.command import run_command
    from engine.export import __main__ as export
    from engine.report import __main__ as report
    from support import mpi_training
    from support.tiny_config import write_tiny_config

    mpi_training.write_data(folder / 'data')
    photo = cv2.imread(str(PROJECT / 'resources' / 'street.jpg'))
    for name in ('a.png', 'b.png'):
        (folder / 'photos').mkdir(exist_ok=True)
        cv2.imwrite(str(folder / 'photos' / name), cv2.resize(photo, (96, 64)))
    shape = dict(image_height=24, image_width=40, batch_size=2, max_iter=1, lr=0.01)
    config = ('-cfg', write_tiny_config(folder, 'folder', 5, **shape))
    segment = (infer, '-i', 'photos', *config, '-c', 'cpu', '--backend', 'openvino', '-o')
    commands = [
        (train, *config, '-c', 'cpu', '-d', 'data', '-o', 'run', '--workers', '0'),
        (report, 'run'),
        (*segment, 'float32'),
        (export, *config, '-o', 'tiny.onnx', '--size', '64x96', '--output', 'labels'),
    ]
    if importlib.util.find_spec('nncf'):
        commands.append((*segment, 'int8', '--precision', 'int8', '--calibration', 'photos'))
    for command, *arguments in commands:
        status = run_command(command.build_parser, command.main, [str(a) for a in arguments])
        assert status == 0, (command, status)


if __name__ == '__main__':
    whole = Path(sys.argv[1]).resolve()
    os.chdir(whole / 'work')
    watch(whole)
    run_commands(whole / 'work')
