"""Programs that check the parts of YAML files that pages show; each gets the path of a part."""

import re
from textwrap import indent

# A part has no network of its own, or not all of its hyper-parameters, so only keys and values are
# checked.
PART = """
from pathlib import Path
from common.reading import yaml_text
from engine.config import loading
path = Path(sys.argv[1])
values = yaml_text.read(path, loading.reading.NAME_KEYS)
loading._check_keys(values, dict.fromkeys(values, path))
"""
WHOLE = """
from engine import config
config.load(sys.argv[1])
"""
DATA = """
import tempfile
from pathlib import Path
import yaml
from common.reading import yaml_text
from datasets.readers import folder_description
part = yaml_text.read(Path(sys.argv[1]), ('classes',))
with tempfile.TemporaryDirectory() as folder:
    for key in ('images', 'labels'):
        (Path(folder) / part.get(key, key)).mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({'classes': ['first', 'second'], **part})
    (Path(folder) / 'dataset.yaml').write_text(text)
    folder_description.read(Path(folder))
"""


FRAME = """
import sys
from common.errors import UserError
try:
{}
except UserError as error:
    sys.exit(f'error: {{error}}')
"""


def program(code: str) -> str:
    """Return the program that checks a part: of a config, of ``dataset.yaml``, or a whole config.

    A config with bases is whole. A comment ``# dataset.yaml`` marks the other file.
    """
    if re.search(r'^# dataset\.yaml\b', code, re.MULTILINE):
        body = DATA
    else:
        body = WHOLE if re.search(r'^_base_:', code, re.MULTILINE) else PART
    return FRAME.format(indent(body.strip(), '    '))
