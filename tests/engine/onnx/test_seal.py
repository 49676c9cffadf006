"""A checksum inside of a file: every changed byte is noticed."""

from engine.onnx import seal


def test_a_sealed_file_is_whole_until_a_byte_changes():
    content = seal.sealed(b'before ' + seal.PLACEHOLDER.encode() + b' after')
    assert seal.is_whole(content)
    assert seal.PLACEHOLDER.encode() not in content
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        assert not seal.is_whole(changed), place


def test_a_file_without_a_checksum_or_with_two_is_none():
    content = seal.sealed(seal.PLACEHOLDER.encode())
    assert seal.is_whole(b'nothing') is None
    assert seal.is_whole(content + content) is None
