"""The core of the tests, which `make test-fast` runs in under a minute on two cores.

It is defined here and nowhere else. tests/conftest.py gives these tests the marker ``fast``.
"""

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
# Folders, files and tests below tests/. A test stands for all its parameters, unless they follow.
CORE = (
    'test_core_tests.py',
    # configs
    'engine/config',
    # layers
    'layers/test_build.py',
    'layers/test_functions.py',
    'layers/test_graph.py',
    'layers/test_initializers.py',
    'layers/test_norms.py',
    # D3Net against the reference numbers of Sony's, and in its plain form
    'd3net/test_family.py',
    'd3net/test_network.py',
    'd3net/test_reference.py::test_names_outputs_and_activations_equal_sonys[d3net_s]',
    # one network of each other family against its reference
    'models/test_csail.py::test_computes_what_the_reference_computes[resnet18dilated8_c1_deepsup]',
    'models/test_dabnet.py::test_computes_what_the_reference_computes[dabnet_r18_p1]',
    'models/test_ddrnet.py::test_computes_what_the_reference_computes[ddrnet23_slim]',
    'models/test_edgeailite.py::test_computes_what_the_original_computes[fpn_aspp_regnetx400mf',
    # images and labels
    'datasets/loading/augmentations',
    'datasets/loading/test_resample.py',
    'datasets/loading/test_transforms.py',
    'datasets/readers/test_label_files.py',
    # losses, schedules, updates, metrics
    'engine/training/losses',
    'engine/training/test_schedules.py',
    'engine/training/test_optimizer.py',
    'engine/evaluation/test_metrics.py',
    # a training of a tiny network with train.py, and a segmentation with infer.py
    'train/test_run_folder.py::test_the_best_weights_have_the_scores_of_evaluate',
    'test_infer.py::test_one_image_from_any_folder',
)
# The -m expression of `make test-fast`; test_core_tests.py compares it with the Makefile.
MARK_EXPRESSION = 'fast and not long and not whole_registry'
COLLECTED = pytest.StashKey[list[str]]()  # node ids of all tests of a run, before any is deselected


def missing_paths() -> list[str]:
    """Return the entries of ``CORE`` whose file or folder does not exist."""
    return [entry for entry in CORE if not _path(entry).exists()]


def in_core(path: Path) -> bool:
    """Return whether a file has tests of the core, or a folder has such files."""
    return any(
        path.is_relative_to(_path(entry)) or _path(entry).is_relative_to(path) for entry in CORE
    )


def is_core(nodeid: str) -> bool:
    """Return whether a test belongs to the core."""
    return any(_selects(entry, nodeid) for entry in CORE)


def collects_whole_core(arguments: list[str], folder: Path) -> bool:
    """Return whether pytest's arguments name every file of the core, and none in part.

    Args:
        arguments: Files, folders and node ids of a run, relative to ``folder``.
        folder: The working directory of pytest.
    """
    if any('::' in argument for argument in arguments):
        return False
    paths = [(folder / argument).resolve() for argument in arguments]
    return all(any(_path(entry).is_relative_to(path) for path in paths) for entry in CORE)


def unused_entries(nodeids: list[str]) -> list[str]:
    """Return the entries of ``CORE`` that select none of the tests of a run of the whole core."""
    return [entry for entry in CORE if not any(_selects(entry, nodeid) for nodeid in nodeids)]


def _selects(entry: str, nodeid: str) -> bool:
    if '::' in entry:
        return nodeid.startswith(f'tests/{entry}')
    return _file(nodeid).is_relative_to(_path(entry))


def _file(nodeid: str) -> Path:
    return TESTS.parent / nodeid.partition('::')[0]


def _path(entry: str) -> Path:
    return TESTS / entry.partition('::')[0]
