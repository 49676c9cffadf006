"""python -m engine.config: the effective config with its origins, and the reference of all keys."""

import re

import yaml
from markdown_it import MarkdownIt

from engine.config import loading as config
from engine.config import reference, schema
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


def test_the_markdown_reference_has_every_key_of_the_text_with_its_facts():
    process = programs.run('-m', 'engine.config', '--reference', '--markdown')
    assert process.returncode == 0, process.stderr
    tokens = MarkdownIt('commonmark').enable('table').parse(process.stdout)
    headings, cells = [], []  # of each row, as a reader sees them
    for token, following in zip(tokens, tokens[1:]):
        if token.type == 'heading_open':
            headings.append(following.content)
        elif token.type in ('tr_open', 'td_open'):
            cells += [[]] if token.type == 'tr_open' else []
            if token.type == 'td_open':
                assert not any(child.type == 'html_inline' for child in following.children)
                text = ''.join(child.content for child in following.children)
                cells[-1].append(text)
    rows = [row for row in cells if row]
    text = reference.as_text()
    expected = re.findall(r'^  (\w+): (.*); default: (.*)\n      (.*)$', text, re.MULTILINE)
    plain = [tuple(cell.replace('`', '') for cell in row) for row in expected]
    assert [tuple(row) for row in rows] == plain
    titles = [title.partition(': a ')[0] for title in re.findall(r'^\S.*', text, re.MULTILINE)]
    assert headings == titles


def test_markdown_is_of_the_reference_only():
    message = programs.error_line(programs.run('-m', 'engine.config', '--markdown'))
    assert message == 'error: --markdown belongs to --reference: pass both'
