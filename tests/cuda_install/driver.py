"""Build a stand-in for NVIDIA's driver library with gcc.

With it, NNabla's CUDA extension and the CUDA libraries can be loaded on any machine. Its functions
return 0 and do nothing.
"""

import re
import subprocess
from pathlib import Path

# Functions of the driver begin with cu and a capital letter; those of other libraries have longer
# prefixes (cublasCreate, cudaMalloc).
DRIVER_FUNCTION = re.compile(r'\bU (cu[A-Z]\w+)')


def build(site_packages: Path, folder: Path) -> Path:
    """Build ``libcuda.so.1`` with every function that the installed libraries import from it."""
    patterns = ('nnabla_ext/cuda/*.so', 'nvidia/*/lib/*.so*')
    libraries = [path for pattern in patterns for path in site_packages.glob(pattern)]
    listing = subprocess.run(
        ['nm', '-D', '--undefined-only', *map(str, libraries)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = sorted(set(DRIVER_FUNCTION.findall(listing)))
    source, target = folder / 'driver.c', folder / 'libcuda.so.1'
    source.write_text(''.join(f'int {name}(void) {{ return 0; }}\n' for name in names))
    options = ['-shared', '-fPIC', '-w', f'-Wl,-soname,{target.name}']
    subprocess.run(['gcc', *options, '-o', str(target), str(source)], check=True)
    return target
