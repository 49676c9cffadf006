"""Config sections: types, ranges, defaults and their descriptions."""

from dataclasses import FrozenInstanceError, dataclass

import pytest

from common.errors import UserError
from common.sections import Section, SectionError, config_key, keys_of, plain


@dataclass(frozen=True, kw_only=True)
class BaseKeys(Section):
    height: int = config_key(meaning='of the picture in pixels', least=1)
    share: float = config_key(0.5, 'of the pixels', above=0, most=1)


@dataclass(frozen=True, kw_only=True)
class PictureKeys(BaseKeys):
    share: float = config_key(0.25, 'of the pixels', above=0, most=1)
    kind: str | None = config_key(
        None, 'what it shows', choices=('road', 'field'), default_text='anything'
    )
    sides: tuple[int, int] = config_key((1, 2), 'both', least=1)
    colours: tuple[tuple[int, int, int], ...] = config_key((), 'all', least=0, most=255)
    flip: bool = config_key(False, 'mirrored')


def test_values_are_converted_to_the_types_of_their_keys():
    keys = PictureKeys(height=3, share='1e-1', sides=[4, 5], colours=[[0, 1, 2]], flip=True)
    assert keys == PictureKeys(
        height=3, share=0.1, sides=(4, 5), colours=((0, 1, 2),), kind=None, flip=True
    )
    assert isinstance(PictureKeys(height=3, share=1).share, float)
    assert plain(keys.colours) == [[0, 1, 2]]
    with pytest.raises(FrozenInstanceError):
        keys.height = 4


@pytest.mark.parametrize(
    'values, message',
    [
        (dict(height=0), 'height: must be at least 1, not 0'),
        (dict(height=True), 'height: must be a whole number, not True'),
        (dict(height=1.0), 'height: must be a whole number, not 1.0'),
        (dict(share=0), 'share: must be at most 1 and greater than 0, not 0'),
        (dict(share='much'), "share: must be a number, not 'much'"),
        (dict(share=float('nan')), 'share: must be finite, not nan'),
        (dict(kind='sea'), "kind: must be road or field, not 'sea'"),
        (dict(kind=3), 'kind: must be text, not 3'),
        (dict(sides=[1]), r'sides: must be a list of 2 values, not \[1\]'),
        (dict(sides=[]), r'sides: must be a list of 2 values, not \[\]'),
        (dict(sides=[1, 0]), 'sides: must be at least 1'),
        (dict(colours=[[1, 2, 256]]), 'colours: must be at least 0 and at most 255'),
        (dict(colours=[[1, 2]]), 'colours: must be a list of 3 values'),
        (dict(flip=1), 'flip: must be true or false, not 1'),
    ],
)
def test_a_wrong_value_names_its_key(values, message):
    with pytest.raises(SectionError, match=f'^{message}') as caught:
        PictureKeys(**{'height': 1, **values})
    assert caught.value.key in values
    assert isinstance(caught.value, UserError)


def test_a_section_uses_only_its_own_keys_of_a_config():
    values = {'height': 2, 'share': None, 'lr': 0.1}
    assert PictureKeys.of(values) == PictureKeys(height=2)
    assert PictureKeys.missing({'lr': 0.1, 'height': None}) == ['height']
    with pytest.raises(SectionError, match='height: must be given'):
        PictureKeys.of({'lr': 0.1})


def test_a_subclass_can_override_a_default():
    assert (BaseKeys(height=1).share, PictureKeys(height=1).share) == (0.5, 0.25)
    assert list(keys_of(PictureKeys)) == ['height', 'share', 'kind', 'sides', 'colours', 'flip']


def test_keys_describe_themselves():
    keys = keys_of(PictureKeys)
    assert {name: (key.type_text(), key.range_text(), key.default_words())
            for name, key in keys.items()} == {
        'height': ('whole number', 'at least 1', 'required'),
        'share': ('number', 'at most 1 and greater than 0', '0.25'),
        'kind': ('text', 'one of road, field', 'anything'),
        'sides': ('list of 2 whole numbers', 'at least 1', '[1, 2]'),
        'colours': ('list of lists of 3 whole numbers', 'at least 0 and at most 255', 'none'),
        'flip': ('true or false', '', 'false'),
    }  # fmt: skip


def test_choices_grow_with_their_registry():
    table = {'a': 1}

    @dataclass(frozen=True, kw_only=True)
    class ChoiceKeys(Section):
        choice: str = config_key('a', 'of a table', choices=table.keys())

    with pytest.raises(SectionError, match="choice: must be a, not 'c'"):
        ChoiceKeys(choice='c')
    table |= {'b': 2, 'c': 3}
    assert ChoiceKeys(choice='c').choice == 'c'
    with pytest.raises(SectionError, match="choice: must be a, b or c, not 'd'"):
        ChoiceKeys(choice='d')
