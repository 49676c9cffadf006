"""A setting of the process that threads change for a while."""

import threading
import time

from common.shared_setting import SharedSetting


def test_the_last_thread_that_leaves_restores_the_setting():
    values = ['before']

    def change():
        return values.append('changed') or values[-2]

    setting, both_inside = SharedSetting(change, values.append), threading.Barrier(2)

    def hold(leaves_late):
        with setting:
            both_inside.wait(10)
            time.sleep(0.05 * leaves_late)
            assert values[-1] == 'changed'

    threads = [threading.Thread(target=hold, args=(late,)) for late in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == ['before', 'changed', 'before']
