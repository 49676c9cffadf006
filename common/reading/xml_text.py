"""Read XML that others wrote: plain elements, or one kind of error that names file and line.

    for element in xml_text.children(path, 'annotations'):
        print(element.tag, element.attrib)

Document types are refused, and with them all entities but those of XML itself: entities can unfold
to gigabytes, or name other files. Depth and size are limited.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element
from xml.parsers import expat

from common.reading.text_files import MAX_BYTES, TextFileError, read_bytes
from common.terminal.short_repr import short_text

MAX_DEPTH = 20  # of elements in each other
MAX_ELEMENTS = 500_000  # in a child of the root
_CHUNK_BYTES = 1 << 16


class XmlError(TextFileError):
    """A text is not XML, or not the kind of document that is expected."""


class _RefusedError(Exception):
    """An element or a declaration that is not read."""


def children(path: Path, root: str, max_bytes: int = MAX_BYTES) -> Iterator[Element]:
    """Yield the children of the root element, each complete, one after the other.

    Args:
        path: The file.
        root: The name that the root element must have.
        max_bytes: The largest size of the file.

    Raises:
        XmlError: The file is not XML, or has another root element.
        TextFileError: The file is missing, unreadable or too large.
    """
    content = read_bytes(path, max_bytes)
    builder, parser = _Builder(root), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text.append
    for start in range(0, len(content) + 1, _CHUNK_BYTES):
        chunk = content[start : start + _CHUNK_BYTES]
        try:
            parser.Parse(chunk, start + _CHUNK_BYTES > len(content))
        except expat.ExpatError as error:
            problem = expat.ErrorString(error.code) if content.strip() else 'it is empty'
            where = f' (line {error.lineno}, column {error.offset + 1})' if content.strip() else ''
            raise XmlError(path, f'not valid XML{where}: {problem}') from error
        except _RefusedError as error:
            line = parser.CurrentLineNumber
            raise XmlError(path, f'cannot be read (line {line}): {error}') from error
        except (ValueError, LookupError, TypeError) as error:  # of Python's decoders
            raise XmlError(
                path, f'not text in the encoding that it declares ({error}); save it as UTF-8'
            ) from error
        yield from builder.complete
        builder.complete.clear()


class _Builder:
    """Builds elements from what the parser reports.

    Attributes:
        complete: Children of the root that have ended.
        text: Parts of the text since the last tag.
    """

    def __init__(self, root: str):
        self.complete: list[Element] = []
        self.text: list[str] = []
        self._root, self._open, self._count = root, list[Element](), 0

    def start(self, name: str, attributes: dict[str, Any]) -> None:
        """Open an element."""
        if not self._open and name != self._root:
            raise _RefusedError(f'its root element is {short_text(name)}, not {self._root}')
        if len(self._open) == MAX_DEPTH:
            raise _RefusedError(f'more than {MAX_DEPTH} elements in each other')
        self._count = self._count + 1 if len(self._open) > 1 else 0
        if self._count > MAX_ELEMENTS:
            raise _RefusedError(f'more than {MAX_ELEMENTS} elements in one')
        element = Element(name, attributes)
        if len(self._open) > 1:
            self._open[-1].append(element)
        self._open.append(element)
        self.text.clear()

    def end(self, name: str) -> None:
        """Close the innermost element."""
        element = self._open.pop()
        if not len(element):
            element.text = ''.join(self.text)
        self.text.clear()
        if len(self._open) == 1:
            self.complete.append(element)


def _refuse_doctype(*declaration: Any) -> None:
    raise _RefusedError('it declares a document type, which may hide other content; remove that')
