"""The tests of pages fail when they must, and commands run as in a reader's shell."""

import re
from pathlib import Path

import pytest

from docs import blocks, commands, elsewhere, outputs, page_run, shortened, stage

LOG = '2026-11-27 11:00:01,234 [nnseg][INFO]: '
SMALL = 'python -m engine.config -cfg configs/D3Net_T_camvid.yaml'


@pytest.fixture(autouse=True, scope='module')
def cleared(workshop):
    """Leave no folder to the tests of other modules."""
    yield
    if workshop.folder.exists():
        workshop.clear()


@pytest.fixture
def faults(workshop, monkeypatch):
    """Return a function that runs a page's text and returns its faults."""

    def run(text, *stagers):
        workshop.renew()
        monkeypatch.setitem(stage.STAGE, 'page.md', list(stagers))
        page = blocks.parse(text, 'page.md')
        page_run.PageRun(page.name, workshop, page.faults).run(page.blocks)
        return page.faults

    return run


def fence(language, *lines):
    return '\n'.join([f'```{language}', *lines, '```', ''])


@pytest.mark.parametrize(
    'text, fault',
    [
        (fence('sh', 'ls none'), 'page.md, line 2: ls none\n    ends with status 2, not 0'),
        (fence('sh', f'{SMALL} --none'), 'ends with status 2, not 0\n--- printed:\nerror: .*none'),
        (fence('sh', 'python infer.py -i no.jpg'), 'error: no.jpg'),
        (fence('sh', 'echo 5') + fence('text', '6'), 'page.md, line 4: the page shows\n6'),
        (fence('sh', 'echo 5', 'echo 6') + fence('text', '5'), 'the page shows'),
        (fence('sh', 'echo 5') + fence('text', 'error: x'), 'status 0, not 1 or 2'),
        (fence('python', 'print(5)') + fence('text', '6'), 'page.md, line 4: the page shows\n6'),
        (fence('python', 'x = 1', '', 'x / 0'), 'line 1: .* fails\n.*\n(.*\n)*.*line 4'),
        (fence('bash', 'ls'), "page.md, line 1: the language 'bash' is none of sh, python"),
        (fence('', 'ls'), "the language '' is none"),
        ('Text\n\n    ls\n', 'page.md, line 3: an indented block'),
        ('- Text\n\n  ```sh\n  ls\n  ```\n', 'line 3: write the fence as ``` at the left margin'),
        ('<b>x</b>\n', "line 1: HTML, '<b>'; write &lt;"),
        ('A\n\n<img src="x">\n', 'page.md, line 3: HTML'),
        ('A\n- b\n', 'page.md, line 2: a list without an empty line'),
        ('A\n| b |\n| --- |\n', 'page.md, line 2: a table without an empty line'),
        ('- a\n  - b\n', 'page.md, line 2: an item of a list indented by 2, not 4'),
        ('1. a\n\n   b\n', 'page.md, line 3: a paragraph of a list indented by 3, not 4'),
        ('!!! note\n', 'page.md, line 1: an admonition'),
        ('# A {#b}\n', 'page.md, line 1: a list of attributes'),
        (fence('sh', 'ls  # not run here'), 'line 2: write the mark as "# not run here: REASON"'),
        (fence('sh', '# not run here:', 'ls'), 'line 2: write the mark as'),
        (fence('sh', '# Not run: a GPU', 'ls'), 'line 2: write the mark as'),
        (fence('python', '# not run here:', 'ls'), 'line 1: write the mark as'),
        (fence('yaml', 'lr: 0.1', 'max_itr: 3'), 'error: max_itr: unknown key; .* max_iter'),
        (fence('yaml', 'lr: -1'), 'error: lr: must be greater than 0'),
        (fence('yaml', '_base_: configs/D3Net_T_camvid.yaml', 'crop: 1'), 'error: crop: unknown'),
        (fence('yaml', '# dataset.yaml', 'label_format: x'), 'error: .*label_format must be'),
        (fence('sh', 'pip install x'), 'pip install x: this program; mark it'),
        (fence('sh', 'curl https://example.org/a.jpg'), 'another host; mark it'),
        (fence('sh', 'make cuda'), 'make cuda: it installs packages; mark it'),
        (fence('sh', 'ls', 'ls  # not run here: why') + fence('text', '...'), 'divide it'),
        (fence('sh', 'sleep 9 &', 'ls none'), 'line 3: ls none'),
    ],
)  # fmt: skip
def test_a_page_that_is_not_true_fails(text, fault, faults, monkeypatch):
    monkeypatch.setattr(page_run, 'START_SECONDS', 0.1)
    found = faults(text)
    assert any(re.search(fault, each) for each in found), found


def test_a_true_page_has_no_fault(faults, workshop):
    page = [
        '<!-- a\ncomment -->\n\n- a\n  b\n\n    c\n    - d `<e>`\n- f\n\n1. g\n\n| h |\n| --- |\n',
        '<details><summary>i</summary>\n\nj\n\n</details>\n\nA file. `own/part.py`:\n',
        fence('python', 'print("part", __name__)', 'value = 3'),
        '\nCommands hand on variables and the folder:\n',
        fence('sh', 'export OWN=a#b', 'cd own  # a comment', 'echo "$OWN" \\', ' c', 'ls; cd ..'),
        fence('text', 'a#b c', 'part.py'),
        '\nA plain command of Python, and one that needs a shell:\n',
        fence('sh', 'python own/part.py', 'OWN=1 python own/part.py | tr a-z A-Z'),
        fence('text', 'part __main__', 'PART __MAIN__'),
        '\nMarks:\n',
        fence('sh', 'ls none  # not run here: not there', '# not run here: why', 'ls none'),
        fence('sh', '# not run here: a reason', 'ls none', 'pip install x') + fence('text', 'x'),
        '\nBlocks of Python share their names:\n',
        fence('python', 'from own.part import value', 'print(value)', 'x = value'),
        fence('json', 'part own.part', '3'),
        fence('python', 'import sys', 'x += 1', 'print(x, file=sys.stderr)', 'print("out")'),
        fence('text', '4', 'out'),
        '\nParts of files:\n',
        fence('yaml', 'network: ddrnet23', 'lr: 0.1', 'classes: [no, yes]'),
        fence('yaml', '_base_: configs/D3Net_T_camvid.yaml', 'lr: 0.1'),
        fence('yaml', '# dataset.yaml of two classes', 'classes: {no: [0, 0, 0], yes: [1, 1, 1]}'),
        '\nA mistake:\n',
        fence('sh', f'{SMALL} --set lrr=1'),
        fence('text', 'error: lrr: unknown key; the nearest is ... (--set)'),
    ]  # fmt: skip
    assert faults('\n'.join(page)) == []
    workshop.clear()


def test_a_command_of_the_session_is_that_of_a_new_process(faults, workshop):
    """It has the same arguments, folder and modules; a page may change modules of the project."""
    program = 'import sys, common, __main__; print(sys.argv, sys.path[0], common.__file__)'
    text = [
        '`own.py`:\n', fence('python', *program.split('; ')),
        fence('sh', 'python own.py -a "b c"', 'python own.py -a "b c" | cat'),
    ]  # fmt: skip
    shown = f"['own.py', '-a', 'b c'] {workshop.folder} {workshop.folder}/common/__init__.py"
    assert faults('\n'.join([*text, fence('text', shown, shown)])) == []
    changed = [
        '`common/__init__.py`:\n', fence('python', "__version__ = '9'"),
        fence('sh', 'python -c "import common; print(common.__version__)"', 'python own.py'),
        fence('text', '9', '9'),
        fence('python', 'import common', 'print(common.__version__)') + fence('text', '9'),
    ]  # fmt: skip
    own = ['`own.py`:\n', fence('python', 'import common', 'print(common.__version__)')]
    assert faults('\n'.join([*own, *changed])) == []
    workshop.clear()


def test_a_server_in_the_background_is_reached_and_ended(faults, workshop):
    program = (
        'import http.server, os, sys',
        'server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)',
        'open("port", "w").write(f"PORT={server.server_port} PID={os.getpid()}")',
        'print("http://127.0.0.1", flush=True)',
        'server.serve_forever()',
    )
    text = [
        '`server.py`:\n', fence('python', *program),
        fence('sh', 'python server.py &', 'export $(cat port); cp port ..',
              'curl -s http://127.0.0.1:$PORT/docs/ | grep -c .md'),
        fence('text', 'http://127.0.0.1', '...'),
    ]  # fmt: skip
    assert faults('\n'.join(text)) == []
    pid = (workshop.scratch / 'port').read_text().rpartition('=')[2]
    assert not Path(f'/proc/{pid}').exists()


def test_data_of_a_page_is_staged_in_its_folder_only(faults, workshop):
    text = fence('sh', 'ls photos') + fence('text', 'a.jpg', 'b.jpg', 'c.jpg')
    assert faults(text, stage.photos) == []
    workshop.clear()
    assert 'ls: cannot access' in faults(text)[0]


@pytest.mark.parametrize(
    'shown, printed, same',
    [
        ('a\n', 'a  \n\n', True),
        ('a\n\nb\n', 'a\nb\n', False),
        ('miou 5...\n', 'miou 57.1\n', True),
        ('miou 5...\n', 'miou 57.1\nb\n', False),
        ('a\n...\nb\n', 'a\nb\n', True),
        ('a\n...\nb\n', 'a\n1\n2\nb\n', True),
        ('a\n...\n', 'b\na\n', False),
        ('5.7 (x)\n', '5x7 (x)\n', False),
        ('done\n', f'{LOG}running\ndone\n', True),
        (f'{LOG}running\n', f'{LOG}running\n'.replace('11', '12'), True),
        (f'{LOG}running\n', f'{LOG}stopped\n', False),
        ('3 of 4   5.2\n', '13 of 4  5.1\n', False),
    ],
)
def test_outputs_are_compared(shown, printed, same):
    assert outputs.matches(shown, printed) == same


def test_numbers_of_a_shortened_command_are_any():
    assert outputs.matches('lr 0.1   5 s\n', 'lr 0.01 12 s\n', any_numbers=True)
    assert not outputs.matches('lr 0.1   5 s\n', 'lr 0.1   no s\n', any_numbers=True)
    assert not outputs.matches('lr 0.1 s\n', 'rl 0.1 s\n', any_numbers=True)


def test_options_are_added_to_the_command_that_they_shorten(monkeypatch):
    rule = shortened.options('page.md', r'python train\.py', '-x 1')
    monkeypatch.setattr(shortened, 'RULES', [rule])
    for before, after in (
        ('python train.py -d a', 'python train.py -d a -x 1'),
        ('mpirun -n 2 python train.py && ls', 'mpirun -n 2 python train.py -x 1 && ls'),
        ('python train.py > log', 'python train.py -x 1 > log'),
        ('python train.python', 'python train.python'),
    ):
        assert shortened.shortened('page.md', before) == after
        assert shortened.shortened('other.md', before) == before


def test_what_is_run_elsewhere_is_told():
    assert elsewhere.place('make test') == '.ci/run'
    assert elsewhere.place('make test-all') is None


def test_comments_and_lines_are_those_of_a_shell():
    block = blocks.Block(10, 'sh', "a 'b # c' \\\n  d  # e\n\n# f\ng#h \"#\"\n")
    assert commands.split(block, 'page.md') == [
        commands.Command(11, "a 'b # c' d"), commands.Command(15, 'g#h "#"'),
    ]  # fmt: skip
    assert commands.python_arguments("python a.py 'b *' c=[1,2]") == ['a.py', 'b *', 'c=[1,2]']
    for line in ('python a.py *', 'A=1 python a.py', 'python -c 1', 'python a.py "$A"', 'ls a.py'):
        assert commands.python_arguments(line) is None
