"""What a network's data layers are asked for."""

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from swwae.nets.data_layers import in_phase


@pytest.mark.parametrize(
    ("rules", "phases"),
    [
        ("", "TRAIN TEST"),
        ("include { phase: TRAIN }", "TRAIN"),
        ("include { phase: TEST }", "TEST"),
        ("include { phase: TRAIN } include { phase: TEST }", "TRAIN TEST"),
        ("include { stage: 'deploy' }", "TRAIN TEST"),
        ("include { stage: 'a' } include { phase: TEST }", "TRAIN TEST"),
        ("exclude { phase: TEST }", "TRAIN"),
        ("exclude { stage: 'a' }", "TRAIN TEST"),
    ],
)
def test_a_layer_is_there_in_the_phases_that_caffe_puts_it_in(rules, phases):
    layer = text_format.Parse(f"name: 'data' {rules}", caffe_pb2.LayerParameter())
    there = [
        name
        for name in ("TRAIN", "TEST")
        if in_phase(layer, caffe_pb2.Phase.Value(name))
    ]
    assert there == phases.split()
