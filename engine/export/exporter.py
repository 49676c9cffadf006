"""Export a network of :func:`models.create` with the registered parameters."""

import os
from collections.abc import Mapping
from pathlib import Path

import nnabla as nn

from common import files
from common.errors import UserError
from common.memory import memory_errors_as
from common.writing import write_targets
from engine.backends.errors import BackendError
from engine.export import checks, writers
from engine.export.metadata import describe_file
from engine.export.spec import LOGITS, ExportSpec, build_graph, check_size
from models import Network

MISMATCH = '.mismatch'  # appended to the name of a file whose results differ from the network's


def export(
    network: Network,
    size: tuple[int, int],
    path: Path,
    spec: ExportSpec = LOGITS,
    *,
    metadata: Mapping[str, object] | None = None,
    check: bool = True,
) -> str:
    """Write a network to a file in the format of its ending: .onnx, .nnp or .nnb.

    The file replaces an older one atomically.

    Args:
        network: Network whose parameters are registered.
        size: Height and width of the images.
        path: File to write.
        spec: Specification of input and output.
        metadata: Further facts to store in the file's metadata.
        check: Whether to run the file on a photo and compare it with NNabla, if its runtime is
            installed.

    Returns:
        A sentence that describes the check.

    Raises:
        UserError: The export is impossible, the memory does not suffice for the check, the runtime
            refuses the file, or its results differ from the network's. In the last two cases the
            file is kept as ``FILE.mismatch``.
    """
    path = Path(path)
    spec.check(path)
    check_size(network.name, network.info, size)
    context = nn.Context(['cpu:float'], 'CpuCachedArray', '0')
    with nn.context_scope(context), files.replacing(path) as temporary:
        image, output = build_graph(network, size, spec)
        facts = describe_file(network, size, spec, metadata or {})
        beside = writers.WRITERS[path.suffix.lower()](temporary, image, output, spec, facts)
        report = _check(temporary, network, size, spec) if check else checks.NOT_CHECKED
        if not report.matches:
            rejected = path.with_name(path.name + MISMATCH)
            os.replace(temporary, write_targets.target_of(rejected))
            raise UserError(f'{path}: not written, {report}; it is kept as {rejected}')
        if beside is not None:
            with files.replacing(writers.description_of(path)) as description:
                description.write_text(beside, encoding='utf-8')
    return str(report)


def _check(
    path: Path, network: Network, size: tuple[int, int], spec: ExportSpec
) -> checks.ExportCheck:
    lacking = (
        f'not enough memory to run {network.name} on {size[0]}x{size[1]} pixels; export it for a '
        'smaller --size, or leave more memory to this program'
    )
    try:
        with memory_errors_as(UserError, lacking):
            return checks.check_file(path, network, size, spec)
    except BackendError as error:
        return checks.ExportCheck(False, error.what)
