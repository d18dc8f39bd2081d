"""onnxruntime with its CUDA provider on a small network made here."""

import digests
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
    digests.absent("this onnxruntime has no CUDA provider")
numbers = numpy.random.RandomState(1)
weights = [numpy_helper.from_array((numbers.rand(*shape).astype(numpy.float32) - 0.5) / 10, name)
           for name, shape in [("a", (512, 1024)), ("b", (1024, 512))]]
nodes = [helper.make_node("MatMul", ["x", "a"], ["m"]), helper.make_node("Relu", ["m"], ["r"]),
         helper.make_node("MatMul", ["r", "b"], ["n"]), helper.make_node("Tanh", ["n"], ["y"])]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 512]) for name in "xy"]
graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CUDAExecutionProvider"])
if session.get_providers()[0] != "CUDAExecutionProvider":
    digests.absent("onnxruntime's CUDA provider does not start")
x = numbers.rand(64, 512).astype(numpy.float32)
for number in range(digests.steps(4000)):
    x, = session.run(None, {"x": x})
    x += numpy.float32(0.5)
digests.show("x", x)
