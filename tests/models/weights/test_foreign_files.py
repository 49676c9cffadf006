"""Files that hold no NNabla weights: what they are, and how to come to weights."""

import json
import shlex
import zipfile

import numpy as np
import onnx
import pytest

import models
from engine.runs import checkpoints
from models import weights
from models.weights.foreign_files import MAX_METADATA_BYTES
from support.checkpoint_writer import Checkpoint
from support.conversions import SAMPLE, convert
from support.training_states import make_state


def refusal(path, network, num_classes=19):
    """Return the message for weights of a network, without the path it begins with."""
    with pytest.raises(models.ModelError) as caught:
        weights.find_for(network, num_classes, path)
    message = str(caught.value)
    assert message.startswith(f'{path} ')
    assert '\n' not in message
    return message.removeprefix(f'{path} ')


def checkpoint(path):
    writer = Checkpoint()
    return writer.save(path, writer.state({'a.weight': np.ones((2, 2), np.float32)}))


def test_a_checkpoint_is_refused_with_the_command_for_its_network(tmp_path):
    path = checkpoint(tmp_path / 'x.pth')
    start = 'is a checkpoint of PyTorch; convert it first: '
    for classes, option in ((19, ''), (11, ' --num-classes 11')):
        assert refusal(path, 'ddrnet23_slim_aux', classes) == (
            f'{start}python -m models.convert --network ddrnet23_slim_aux{option} -i {path} '
            f'-o {path.with_suffix(".h5")}'
        )
    renamed = path.rename(tmp_path / 'pytorch_model.bin')
    assert refusal(renamed, 'ddrnet23').startswith(start)
    assert 'd3net has none; choose the config of its network with -cfg' in refusal(renamed, 'd3net')
    published = checkpoint(tmp_path / 'best_val_smaller.pth')
    assert '--network ddrnet23_slim_aux -i' in refusal(published, 'ddrnet39')


def test_an_exported_file_is_refused_with_the_weights_it_was_exported_from(tmp_path):
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, {'weights': 'mine.h5'})
    (tmp_path / 'a.onnx').write_bytes(model.SerializeToString())
    with zipfile.ZipFile(tmp_path / 'a.nnp', 'w') as archive:
        archive.writestr('metadata.json', json.dumps({'weights': 'mine.h5'}))
    (tmp_path / 'a.nnb').write_bytes(bytes(40))
    (tmp_path / 'a.nnb.json').write_text(json.dumps({'weights': 'mine.h5'}))
    for name, what in (('onnx', 'an ONNX'), ('nnp', 'an NNP'), ('nnb', 'an NNB')):
        message = refusal(tmp_path / f'a.{name}', 'd3net')
        assert message.startswith(f'is {what} file: an exported graph')
        assert message.endswith('pass the .h5 that it was exported from, mine.h5')
    for name in ('other.onnx', 'other.nnp', 'other.nnb', 'a.xml', 'a.bin', 'a.engine', 'a.tflite'):
        (tmp_path / name).write_bytes(b'PK\x03\x04 no archive' if 'nnp' in name else b'\x08\x07abc')
        assert refusal(tmp_path / name, 'd3net').endswith('.h5 that it was exported from')
    (tmp_path / 'a.protobuf').touch()
    assert "nn.load_parameters('" in refusal(tmp_path / 'a.protobuf', 'd3net')


def test_hostile_metadata_of_exported_files_is_not_used(tmp_path, capfd):
    """The name of the weights is missing from the message, which is one line."""
    bomb = b'{"weights": "' + bytes(MAX_METADATA_BYTES) + b'"}'
    for content in (
        b'[' * 100_000,
        b'{"weights": ["mine.h5"]}',
        b'{"weights": "mine\\u001b[31m.h5"}',
        b'{"weights": "%s"}' % (b'x' * 5000),
        b'{"weights": 1' + b'0' * 5000 + b'}',
        bomb,
    ):
        with zipfile.ZipFile(tmp_path / 'a.nnp', 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('metadata.json', content)
        (tmp_path / 'a.nnb').touch()
        (tmp_path / 'a.nnb.json').write_bytes(content)
        for name in ('a.nnp', 'a.nnb'):
            assert refusal(tmp_path / name, 'd3net').endswith('.h5 that it was exported from')
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, {'weights': 'mine.h5'})
    (tmp_path / 'a.onnx').write_bytes(model.SerializeToString().replace(b'mine', b'mi\xff\xfe'))
    assert refusal(tmp_path / 'a.onnx', 'd3net').endswith('.h5 that it was exported from')
    (tmp_path / 'a.onnx').write_bytes(b'\x0c')  # the end of a group that has not begun
    assert refusal(tmp_path / 'a.onnx', 'd3net').endswith('.h5 that it was exported from')
    assert capfd.readouterr() == ('', '')
    content = (tmp_path / 'a.nnp').read_bytes()
    unknown = content.replace(b'\x08\x00', b'\x63\x00')  # compression 99
    assert unknown != content
    (tmp_path / 'a.nnp').write_bytes(unknown)
    assert refusal(tmp_path / 'a.nnp', 'd3net').endswith('.h5 that it was exported from')


def test_the_state_of_a_training_is_refused_with_its_weights(tmp_path):
    path = tmp_path / 'state.h5'
    checkpoints.save(path, make_state())
    assert refusal(path, 'd3net').endswith(f'{tmp_path}/best.h5 or {tmp_path}/final.h5')


def test_advice_names_the_published_file_its_place_and_the_command():
    def advice(network, **statistics):
        return weights.published.advice_for(network, models.describe(network, **statistics))

    text = advice('ddrnet23_slim_aux')
    assert text.startswith('best_val_smaller.pth (Cityscapes, 19 classes) is published at https://')
    assert '--network ddrnet23_slim_aux -i best_val_smaller.pth -o best_val_smaller.h5, ' in text
    assert text.endswith('then pass -m best_val_smaller.h5')
    text = advice('csail_resnet50_upernet')
    assert text.startswith('ade20k-resnet50-upernet/encoder_epoch_30.pth (')
    assert '-i ade20k-resnet50-upernet/decoder_epoch_30.pth -o csail_resnet50_upernet.h5,' in text
    assert advice('d3net_l') == (
        'D3Net-L.h5 (Cityscapes, 19 classes) is published, and downloaded if it is missing: '
        '-m D3Net-L.h5'
    )
    assert '-i FILE.pth -o FILE.h5' in advice('dabnet_e')
    assert advice('dabnet_e', num_classes=171).count('--num-classes 171') == 1
    text = advice('dabnet_r18_p8')
    assert text.startswith('none are published for dabnet_r18_p8 with 19 classes (')
    assert 'train.py writes some' in advice('d3net_t', num_classes=11)


def test_the_commands_that_are_advised_can_be_parsed(capsys):
    """Only the file is missing then."""
    commands = 0
    for network in sorted(SAMPLE - {'d3net'}):
        text = weights.published.advice_for(network, models.describe(network))
        if 'models.convert' in text:
            commands += 1
            options = shlex.split(
                text.split('with python -m models.convert ')[1].split(', then')[0]
            )
            options[options.index('-i') + 1] = 'none.pth'
            assert convert(*options) == 2
            assert 'none.pth: no such file' in capsys.readouterr().err
    assert commands > 4
