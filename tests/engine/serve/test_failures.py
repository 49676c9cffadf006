"""Faults inside of the server: one line for the client, the whole story in the log."""

import time

import pytest

from common.errors import InputError, UserError
from datasets.image_files import encode_image
from engine.serve import answers
from engine.serve.failures import refusal_for
from support import stand_ins

PNG = encode_image('.png', stand_ins.image(40, 56))


def raised(error):
    def fail(*arguments):
        raise error

    return fail


def test_a_programming_error(small_server, monkeypatch, caplog):
    monkeypatch.setattr(answers, 'encode_image', raised(RuntimeError('a secret')))
    answer = small_server.segment(PNG)
    assert answer.status == 500
    assert answer.error == 'the server has a fault; its log says which'
    while 'RuntimeError: a secret' not in caplog.text:  # logged once the client has its answer
        time.sleep(0.01)
    assert 'Traceback' in caplog.text
    monkeypatch.undo()
    assert small_server.segment(PNG).status == 200


def test_a_failed_allocation(small_server, monkeypatch):
    monkeypatch.setattr(answers, 'encode_image', raised(MemoryError()))
    answer = small_server.segment(PNG)
    assert answer.status == 507
    assert answer.error == answers.TOO_LITTLE_MEMORY


def test_memory_that_the_network_lacks():
    error = InputError('not enough memory for a view of 64x64 pixels')
    error.__cause__ = MemoryError()
    assert refusal_for(error).status == 507
    assert refusal_for(InputError('a.png: damaged')).status == 415


def test_a_fault_of_the_server_is_logged_alone(caplog):
    with caplog.at_level('ERROR'):
        refusal = refusal_for(UserError('/home/me/weights.h5: damaged'))
    assert refusal.status == 500 and 'weights' not in str(refusal)
    assert 'error: /home/me/weights.h5: damaged' in caplog.text


@pytest.mark.parametrize('text', ['a\nb', '\x1b[31m'])
def test_a_message_stays_one_printable_line(text):
    assert str(refusal_for(InputError(f'{text}: damaged'))).isprintable()
