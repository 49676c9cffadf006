"""Arrays of checkpoints are matched with networks: groups, prefixes, other names, encoders."""

import re

import numpy as np
import pytest

import models
from models.convert import checkpoints, matching
from support import conversions
from support.checkpoint_writer import Call, Checkpoint, Global, opcodes, write_archive
from support.conversions import (
    assert_refused,
    batch_norm,
    linear,
    reference_shapes,
    save,
    seeded,
)

ARRAY = np.random.RandomState(0).randn(3, 4, 2).astype(np.float32)


@pytest.mark.parametrize('legacy', [False, True])
def test_the_network_is_found_among_other_objects(tmp_path, legacy):
    """Configurations, also of classes that are not installed, numpy scalars, optimizers."""
    checkpoint = Checkpoint()
    namespace = Call(Global('argparse', 'Namespace'), (), {'lr': 0.1}, new=True)
    config = Call(Global('no.such.package', 'Config'), (), {'depth': 18}, new=True)
    text = Call(Global('_codecs', 'encode'), ('abcdefgh', 'latin1'))
    scalar = Call(
        Global('numpy.core.multiarray', 'scalar'),
        (Call(Global('numpy', 'dtype'), ('f8', False, True), (3, '<', None)), text),
    )
    factory = (Global('__builtin__', 'list'),)
    tree = {
        'args': namespace,
        'cfg': config,
        'best': scalar,
        'device': Call(Global('torch', 'device'), ('cpu',)),
        'type': Global('torch', 'float16'),
        'size': Call(Global('torch', 'Size'), ((1, 2),)),
        'lists': Call(Global('collections', 'defaultdict'), factory),
        'epoch': 3,
        'state_dict': Call(
            Global('collections', 'OrderedDict'), (), {'_metadata': {'': {'version': 1}}}
        ),
        'model': checkpoint.state({'a.weight': ARRAY, 'b.weight': ARRAY}),
        'optimizer': {'state': {0: checkpoint.state(dict.fromkeys('abcde', ARRAY))}},
        'other': checkpoint.state({'c.weight': ARRAY}),
    }
    path = checkpoint.save(tmp_path / 'a.pth', tree, legacy)
    groups = matching.states(checkpoints.read(path))
    assert [(keys, list(group)) for keys, group in groups] == [
        ('model', ['a.weight', 'b.weight']),
        ('other', ['c.weight']),
    ]
    found = checkpoints.read_arrays(groups[0][1], path)
    assert np.array_equal(found['a.weight'], ARRAY)


def test_a_checkpoint_without_tensors_is_refused(tmp_path):
    path = Checkpoint().save(tmp_path / 'a.pth', {'state_dict': {}, 'epoch': 3})
    with pytest.raises(models.ModelError, match='no named tensors'):
        matching.states(checkpoints.read(path))


def test_a_dictionary_that_contains_itself_is_searched_once(tmp_path):
    """A thousand references would otherwise mean a thousand million visits."""
    items = b''.join(opcodes(f'k{i}') + b'h\x00' for i in range(1000))
    records = {'data.pkl': b'\x80\x02}q\x00(' + items + b'u.'}
    assert_refused(write_archive(tmp_path / 'a.pth', records), 'no named tensors')


def assert_converts_encoder(tmp_path, capsys, name, path, arrays, prefix):
    """Assert that ``path`` converts to a network's encoder without --partial; return the output."""
    target = tmp_path / 'out.h5'
    status = conversions.convert('--network', name, '-i', path, '-o', target)
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert '(implies --partial)' in printed.out
    state = {prefix + n: a for n, a in arrays.items()}
    conversions.assert_holds(target, models.convert.from_pytorch(name, state))
    return printed.out


CSAIL = ('csail_resnet18dilated8_ppm_deepsup', 'encoder.', linear('fc', 1000, 512))
MOBILENET = {
    'features.18.0.weight': np.ones((1280, 320, 1, 1)),
    **batch_norm('features.18.1', 1280),
    **linear('classifier.1', 1000, 1280),
}
TIMM = {
    'conv_head.weight': np.ones((1280, 320, 1, 1)),
    **batch_norm('bn2', 1280),
    **linear('classifier', 1000, 1280),
}


@pytest.mark.parametrize(
    ('name', 'prefix', 'classifier', 'wrapper'),
    [
        (*CSAIL, None),
        pytest.param(
            'csail_resnet50_upernet',
            'encoder.',
            linear('fc', 1000, 2048),
            None,
            marks=pytest.mark.whole_registry,
        ),
        ('dabnet_r18_p2', 'backbone.backbone.', linear('fc', 1000, 512), 'state_dict'),
        ('dabnet_e', 'backbone.backbone.', TIMM, None),
        ('unet_aspp_mobilenetv2_tv_edgeailite', 'encoder.', MOBILENET, None),
        (
            'fpn_aspp_regnetx400mf_edgeailite',
            'encoder.features.',
            linear('head.fc', 1000, 384),
            'model_state',
        ),
    ],
)
def test_a_classifier_of_imagenet_converts_to_an_encoder(
    shared, tmp_path, capsys, name, prefix, classifier, wrapper
):
    arrays = seeded(reference_shapes(shared, name, prefix))
    path = save(tmp_path / 'a.pth', arrays | classifier, wrapper)
    printed = assert_converts_encoder(tmp_path, capsys, name, path, arrays, prefix)
    assert ('fpn_aspp_regnetx400mf_bgr_edgeailite takes' in printed) == ('regnetx' in name)


@pytest.mark.parametrize(
    'name', ['ddrnet23_slim', pytest.param('ddrnet39_aux', marks=pytest.mark.whole_registry)]
)
def test_a_classifier_of_ddrnet_converts_to_an_encoder(shared, tmp_path, capsys, name):
    """It has both branches and their connections, but neither pyramid pooling nor heads."""
    shapes = reference_shapes(shared, name)
    heads = re.compile('(spp|final_layer|seghead_extra)[.]')
    arrays = seeded({n: s for n, s in shapes.items() if not heads.match(n)})
    classifier = {
        'down5.0.weight': np.ones((8, 8, 3, 3)),
        **batch_norm('down5.1', 8),
        **batch_norm('last_layer.0', 8),
        **linear('linear', 1000, 2048),
    }
    path = save(tmp_path / 'a.pth', arrays | classifier, 'state_dict', 'module.')
    assert_converts_encoder(tmp_path, capsys, name, path, arrays, '')


def as_torchvision(name):
    """Translate pycls's name of a parameter of RegNetX to torchvision's."""
    name = name.replace('stem.conv.', 'stem.0.').replace('stem.bn.', 'stem.1.')
    block = re.match(r's(\d)\.b(\d+)\.(.*)', name)
    if block:
        stage, number, rest = block.groups()
        rest = re.sub(r'^f\.([abc])\.', r'f.\1.0.', rest)
        rest = re.sub(r'^f\.([abc])_bn\.', r'f.\1.1.', rest)
        rest = re.sub(r'^bn\.', 'proj.1.', re.sub(r'^proj\.', 'proj.0.', rest))
        name = f'trunk_output.block{stage}.block{stage}-{int(number) - 1}.{rest}'
    return name


def test_torchvisions_names_of_regnet_are_translated(shared, tmp_path, capsys):
    name, prefix = 'fpn_aspp_regnetx800mf_edgeailite', 'encoder.features.'
    arrays = seeded(reference_shapes(shared, name, prefix))
    theirs = {as_torchvision(n): a for n, a in arrays.items()}
    # Written from torchvision's documentation of its modules, not derived.
    assert {
        'stem.0.weight',
        'stem.1.running_var',
        'trunk_output.block1.block1-0.proj.0.weight',
        'trunk_output.block1.block1-0.proj.1.bias',
        'trunk_output.block4.block4-4.f.c.1.running_mean',
        'trunk_output.block3.block3-6.f.b.0.weight',
    } <= theirs.keys()
    path = save(tmp_path / 'a.pth', theirs | linear('fc', 1000, 672))
    assert_converts_encoder(tmp_path, capsys, name, path, arrays, prefix)
