"""XML of others: children of the root one after the other, or one line."""

import pytest

from common.reading import xml_text


def read(tmp_path, content):
    path = tmp_path / 'a.xml'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(xml_text.children(path, 'root'))


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16', 'latin-1'])
def test_children_are_complete_in_each_encoding(tmp_path, encoding):
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?><!-- c -->\n<root a="b">text<one x="&lt;ü"/>'
        '<two><in> \n ä &amp; <![CDATA[<b>]]></in>tail<in/></two></root>'
    )
    one, two = read(tmp_path, text.encode(encoding))
    assert (one.tag, one.attrib, len(one)) == ('one', {'x': '<ü'}, 0)
    assert [child.text for child in two] == [' \n ä & <b>', '']


def test_children_come_before_the_file_is_parsed(tmp_path):
    path = tmp_path / 'a.xml'
    path.write_text('<root>' + '<one/>' * 100_000 + '<broken')
    children = xml_text.children(path, 'root')
    assert next(children).tag == 'one'
    with pytest.raises(xml_text.XmlError, match=r'not valid XML \(line 1, column 600007\)'):
        list(children)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', 'not valid XML: it is empty'),
        ('<root><a></root>', 'not valid XML (line 1, column 12): mismatched tag'),
        ('<other/>', 'cannot be read (line 1): its root element is other, not root'),
        ('<!DOCTYPE root SYSTEM "a.dtd"><root/>', 'it declares a document type'),
        ('\n<!DOCTYPE r [<!ENTITY a SYSTEM "/etc/passwd">]><root>&a;</root>', '(line 2): it decl'),
        ('<root>&a;</root>', 'undefined entity'),
        ('<root>' + '<a>' * 20, 'more than 20 elements in each other'),
        ('<root><a>' + '<b/>' * 41, 'more than 40 elements in one'),
        ('<?xml version="1.0" encoding="x"?><root/>', 'a.xml: not'),
        ('<?xml version="1.0" encoding="utf-7"?><root/>', 'a.xml: not'),
        (b'<root a="\xff"/>', 'not valid XML (line 1, column 10): not well-formed'),
    ],
)
def test_what_is_not_read_is_one_line(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(xml_text, 'MAX_ELEMENTS', 40)
    with pytest.raises(xml_text.XmlError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f'{tmp_path}/a.xml: ')
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_the_size_is_limited(tmp_path):
    path = tmp_path / 'a.xml'
    path.write_text('<root/>')
    with pytest.raises(xml_text.TextFileError, match='has 7 bytes, more than 5'):
        list(xml_text.children(path, 'root', max_bytes=5))
