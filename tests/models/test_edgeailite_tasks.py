"""EdgeAI-Lite with several inputs and several tasks: the original's numbers."""

import pytest

from support import reference_outputs
from support.reference_tester import Reference

FIXTURES = (
    'deeplabv3plus_mobilenetv2_tv_edgeailite_2in_depth_seg_motion',
    'deeplabv3plus_mobilenetv2_tv_edgeailite_2in_motion',
    'deeplabv3plus_mobilenetv2_tv_edgeailite_depth',
    'deeplabv3plus_mobilenetv2_tv_edgeailite_seg_depth',
    'deeplabv3plus_mobilenetv2_tv_edgeailite_seg_depth_motion',
    'deeplabv3plus_regnetx800mf_edgeailite_2in_depth_seg_motion',
    'fpn_aspp_regnetx800mf_edgeailite_2in_depth_seg_motion',
    'fpn_aspp_regnetx800mf_edgeailite_2in_motion',
    'fpn_aspp_regnetx800mf_edgeailite_seg_depth',
    'fpn_aspp_regnetx800mf_edgeailite_seg_depth_motion',
    'unet_aspp_mobilenetv2_tv_edgeailite_2in_depth_seg_motion',
    'unet_aspp_mobilenetv2_tv_edgeailite_2in_motion',
    'unet_aspp_mobilenetv2_tv_edgeailite_seg_depth',
    'unet_aspp_mobilenetv2_tv_edgeailite_seg_depth_motion',
)
# One of each encoder and decoder, with a clamp and without, with one and with two inputs. `make
# test` compares these at all sizes and in training, the others at the smallest size.
COMPARED_IN_FULL = (
    'deeplabv3plus_mobilenetv2_tv_edgeailite_depth',
    'fpn_aspp_regnetx800mf_edgeailite_2in_motion',
    'unet_aspp_mobilenetv2_tv_edgeailite_2in_depth_seg_motion',
)


def compare_with_reference(name, shared, in_full):
    reference = Reference.with_tasks(name, shared)
    reference.check_state()
    if not in_full:
        reference.meta['cases'] = reference.meta['cases'][:1]
    worst = reference.check_outputs(reference_outputs.edgeailite_tasks_evaluation)
    if in_full:
        reference.check_training(reference_outputs.edgeailite_tasks_training)
    return worst


@pytest.mark.parametrize('name', FIXTURES)
def test_computes_what_the_original_computes(name, shared):
    compare_with_reference(name, shared, in_full=name in COMPARED_IN_FULL)


@pytest.mark.whole_registry
@pytest.mark.parametrize('name', sorted(set(FIXTURES) - set(COMPARED_IN_FULL)))
def test_computes_what_the_original_computes_at_all_sizes_and_in_training(name, shared):
    compare_with_reference(name, shared, in_full=True)
