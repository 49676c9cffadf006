"""python -m engine.config: the effective config with its origins, and the reference of all keys."""

import yaml

from engine.config import loading as config
from engine.config import schema
from support import programs


def test_the_effective_config_is_printed_with_its_origins(tmp_path):
    base, own = tmp_path / 'base.yaml', tmp_path / 'own.yaml'
    base.write_text('lr: 0.5\nmin_lr: 0.1\n')
    own.write_text(f'_base_: [{config.DEFAULT_CONFIG}, base.yaml]\nmin_lr: 0.2\n')
    process = programs.run('-m', 'engine.config', '-cfg', own, '--set', 'batch_size=3')
    assert process.returncode == 0, process.stderr
    expected = dict(config.load(own, ['batch_size=3']))
    assert yaml.safe_load(process.stdout) == yaml.safe_load(yaml.safe_dump(expected))
    lines = process.stdout.splitlines()
    assert f'lr: 0.5  # {base}' in lines
    assert f'min_lr: 0.2  # {own}' in lines
    assert 'batch_size: 3  # --set' in lines
    assert len(lines) == len(expected)


def test_the_reference_lists_every_key_of_the_configs():
    process = programs.run('-m', 'engine.config', '--reference')
    assert process.returncode == 0, process.stderr
    listed = {
        line.split(':')[0].strip()
        for line in process.stdout.splitlines()
        if line.startswith('  ') and not line.startswith('   ')
    }
    used = set().union(*(config.load(path) for path in programs.PROJECT.glob('configs/*.yaml')))
    assert used - schema.FIXED_VALUES.keys() <= listed
    assert '  lr: number, greater than 0; default: required for training\n' in process.stdout
    assert '  power: number, greater than 0; default: 0.9\n' in process.stdout
