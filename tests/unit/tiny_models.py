"""OpenVINO models of every contract that find known objects: constants where a network would compute."""

import re

import numpy as np
import openvino as ov
from openvino import opset13 as op


def save(outputs, inputs, path, rt_info=None):
    """Write an IR with named inputs and outputs (name → node); returns the .xml's path."""
    results = []
    for name, node in outputs.items():
        result = op.result(node)
        result.output(0).get_tensor().set_names({name})
        results.append(result)
    for name, node in inputs.items():
        node.output(0).get_tensor().set_names({name})
        node.set_friendly_name(name)
    model = ov.Model(results, list(inputs.values()))
    for key, value in (rt_info or {}).items():
        model.set_rt_info(value, ["model_info", key])
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def constant(values, dtype=np.float32):
    return op.constant(np.asarray(values, dtype))


def image_input(shape=(1, 3, 64, 96)):
    return op.parameter(list(shape), np.float32)


def mask_rcnn(path, boxes=((24, 16, 72, 48, 0.9),), labels=(1,), rt_info=None, shape=(1, 3, 64, 96), batch=False,
              probability=1.0):
    """Three outputs; the box's score is multiplied by the mean brightness / 255, so that black images are empty."""
    image = image_input(shape)
    brightness = op.divide(op.reduce_mean(image, constant([0, 1, 2, 3], np.int64), True), constant([[255.0]]))
    brightness = op.reshape(brightness, constant([1, 1], np.int64), False)
    boxes = constant(np.reshape(boxes, (-1, 5)))
    corners, scores = op.split(boxes, op.constant(np.int64(1)), 5).outputs()[:4], boxes
    scores = op.multiply(op.split(boxes, op.constant(np.int64(1)), 5).output(4), brightness)
    found = [op.concat([*corners, scores], 1), constant(labels, np.int64), constant(np.full((len(labels), 14, 14), probability))]
    if batch:
        found = [op.unsqueeze(node, op.constant(np.int64(0))) for node in found]
    return save(dict(zip(("boxes", "labels", "masks"), found, strict=True)), dict(image=image), path, rt_info)


def segmentoly(path, size_hw=(64, 96)):
    """One object of class 2 in the middle half of what `im_info` says the image covers; class 1's mask is empty."""
    image, info = image_input((1, 3, *size_hw)), op.parameter([1, 3], np.float32)
    sides = op.gather(info, constant([1, 0, 1, 0], np.int64), constant(1, np.int64))
    masks = np.zeros((2, 4, 14, 14))
    masks[:, 2] = 1
    outputs = dict(boxes=op.concat([op.multiply(sides, constant([[0.25, 0.25, 0.75, 0.75]])), constant([[0, 0, 9, 9]])], 0),
                   scores=constant([0.8, 0.1]), classes=constant([2, 1]), raw_masks=constant(masks), batch_ids=constant([0, 0]))
    return save(outputs, dict(im_data=image, im_info=info), path)


def yolact(path, sides=(16, 24)):
    """Two overlapping boxes of class 1, of which NMS leaves the surer, and one of class 2; masks cover the left half."""
    prototypes = np.full((1, *sides, 2), -20.0)
    prototypes[:, :, :sides[1] // 2, 0] = 20
    outputs = dict(
        boxes=constant([[[0.25, 0.25, 0.75, 0.75], [0.26, 0.25, 0.76, 0.75], [0.25, 0, 0.5, 1]]]),
        conf=constant([[[0.1, 0.7, 0.2], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]]]),
        mask=constant([[[1, 0]] * 3]), proto=constant(prototypes))
    return save(outputs, dict(input=image_input()), path)


def _unnamed(outputs, image, path, rt_info):
    """As `ov.convert_model` writes networks of PyTorch: neither inputs nor outputs have names."""
    model = ov.Model([op.result(node) for node in outputs], [image])
    for key, value in rt_info.items():
        model.set_rt_info(value, ["model_info", key])
    ov.save_model(model, path, compress_to_fp16=False)
    text = path.read_text()
    path.write_text(re.sub(r' (names|output_names)="[^"]*"', "", text))
    return path


def yolo(path, end_to_end=False):
    """A YOLO-seg of 4 classes as Ultralytics exports it: 32 coefficients and prototypes."""
    found = np.zeros((1, 300, 38) if end_to_end else (1, 40, 126))
    return _unnamed([constant(found), constant(np.zeros((1, 32, 16, 24)))], image_input(), path, dict(
        model_type="YOLO", reverse_input_channels=True, pad_value=114, scale_values=[255.0], iou_threshold=0.7,
        labels=["cat", "dog", "cow", "big_hen"], resize_type="fit_to_window_letterbox"))


def rf_detr(path, named=False):
    """An RF-DETR-Seg of 2 classes with 10 queries, without any metadata."""
    outputs = dict(dets=constant(np.zeros((1, 10, 4))), labels=constant(np.zeros((1, 10, 3))),
                   masks=constant(np.zeros((1, 10, 16, 24))))
    if named:
        return save(outputs, dict(input=image_input()), path)
    return _unnamed(outputs.values(), image_input(), path, {})


GETITUNE = dict(getitune_version="0.4.0", model_type="MaskRCNN", task_type="instance_segmentation", resize_type="standard",
                labels="getitune_empty_lbl cat red_dog", label_ids="None 0 1", mean_values="0.0 0.0 0.0",
                scale_values="1.0 1.0 1.0", input_dtype="u8", intensity_mode="scale_to_unit", reverse_input_channels="False",
                label_info='{"label_names": ["getitune_empty_lbl", "cat", "red dog"], "label_ids": ["None", "0", "1"]}')


def getitune(path, whole_masks=False, **entries):
    """A Mask R-CNN of getitune: a batch dimension whose length is open, and a first label that means nothing."""
    kind = dict(model_type="DETRInstSeg") if whole_masks else {}
    return mask_rcnn(path, batch=True, shape=(-1, 3, 64, 96), rt_info=GETITUNE | kind | entries)


def onnx_mask_rcnn(path, name="image", nhwc=False, metadata=None, element_type="FLOAT"):
    """The `mask_rcnn` of one box as an .onnx: its score is 0.9 × the mean brightness / 255."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    shape = [1, 64, 96, 3] if nhwc else [1, 3, 64, 96]
    arrays = dict(corners=np.float32([[24, 16, 72, 48]]), factor=np.float32([[0.9 / 255]]), labels=np.int64([1]),
                  masks=np.ones((1, 14, 14), np.float32), whole=np.int64([1, 1]))
    nodes = [helper.make_node("Cast", [name], ["pixels"], to=TensorProto.FLOAT),
             helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[0, 1, 2, 3], keepdims=1),
             helper.make_node("Reshape", ["mean", "whole"], ["brightness"]),
             helper.make_node("Mul", ["brightness", "factor"], ["score"]),
             helper.make_node("Concat", ["corners", "score"], ["boxes"], axis=1),
             *(helper.make_node("Identity", [source], [f"found_{source}"]) for source in ("labels", "masks"))]
    outputs = [helper.make_tensor_value_info(*item) for item in (
        ("boxes", TensorProto.FLOAT, [1, 5]), ("found_labels", TensorProto.INT64, [1]),
        ("found_masks", TensorProto.FLOAT, [1, 14, 14]))]
    graph = helper.make_graph(nodes, "tiny", [helper.make_tensor_value_info(name, getattr(TensorProto, element_type), shape)],
                              outputs, [numpy_helper.from_array(array, key) for key, array in arrays.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {f"model_info {key}": text for key, text in (metadata or {}).items()})
    onnx.save(model, path)
    return path
