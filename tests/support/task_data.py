"""Made-up data of the configs with several inputs or tasks, in the official layouts."""

from pathlib import Path

from support import street_scenes

FRAMES = [
    (split, 'aachen', f'aachen_00000{number}_000019')
    for split in ('train', 'val')
    for number in range(2)
]
DRIVES = [('train', '2011_09_26_drive_0001_sync'), ('val', '2011_09_26_drive_0002_sync')]


def write(dataset: str, root: Path) -> Path:
    """Write a few scenes of cityscapes or kitti_depth with all their targets; return the root."""
    if dataset == 'kitti_depth':
        street_scenes.write_kitti(root, DRIVES, frames=12, height=32, width=64)
    else:
        street_scenes.write_cityscapes(root, FRAMES, height=64, width=128)
    return root
