"""Loading of a network: the backend of the settings computes its maps."""

import logging

from engine.backends.settings import BackendSettings
from engine.device.context import DeviceChoice
from engine.inference import loading
from support.backend_runs import CPU


def test_unused_on_host_is_reported(tiny, caplog):
    caplog.set_level(logging.INFO, 'nnseg')

    def release():
        pass

    line = '--on-host has no effect: only NNabla on a GPU resizes on the device'
    for name, on_host, here in (('auto', True, 1), ('nnabla', True, 1), ('auto', False, 0)):
        caplog.clear()
        loading.use_backend(tiny, BackendSettings(name, on_host=on_host), CPU, release)
        assert caplog.messages.count(line) == here
    assert tiny.on_device is None
    gpu = DeviceChoice('cudnn', 'float')
    for on_host in (True, False):
        caplog.clear()
        loading.use_backend(tiny, BackendSettings('nnabla', on_host=on_host), gpu, release)
        assert line not in caplog.messages
        assert (tiny.on_device is None) == on_host
