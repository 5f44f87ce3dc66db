"""Every Triton kernel compiles to machine code for NVIDIA's sm_90; needs no GPU, only Triton's own ptxas.

The interpreter accepts more than the compiler does. So a process without the interpreter starts each kernel with
the launcher's own arguments, and compiles where it would launch.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

# Only looked for: once imported here, Triton could not be interpreted in the other files of this folder.
if importlib.util.find_spec("triton") is None:
    pytest.skip("needs triton: pip install 'isotherm[triton]'", allow_module_level=True)

PROGRAM = '''
import inspect
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction, mangle_type

SHARED = 99 << 10  # bytes that a program may have on the smallest of the sm_8x


def compile_instead(self, *args, grid, warmup, **kwargs):
    """Take the place of JITFunction.run."""
    options = {name: kwargs.pop(name) for name in list(kwargs) if name not in self.arg_names}
    given = inspect.signature(self.fn).bind(*args, **kwargs).arguments
    signature, constants, attributes = {}, {}, {}
    for position, parameter in enumerate(self.params):
        value = given[parameter.name]
        if parameter.is_constexpr or value is None or (type(value) is int and value == 1):
            signature[parameter.name], constants[(position,)] = "constexpr", value
        else:
            signature[parameter.name] = parameter.annotation_type or mangle_type(value)
        if isinstance(value, torch.Tensor):
            attributes[(position,)] = [["tt.divisibility", 16]]
    source = ASTSource(self, signature, constants, attributes)
    kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert kernel.asm["cubin"], self
    assert kernel.metadata.shared <= SHARED, (self.fn.__name__, kernel.metadata.shared)
    print(self.fn.__name__)


JITFunction.run = compile_instead

from isotherm.kernels.conditional.triton import launch_conditional_mean
from isotherm.kernels.hard_min.triton import hard_min
from isotherm.kernels.plan_apply.triton import launch_plan_apply, plan_cost, plan_rows
from isotherm.kernels.plan_grad.triton import source_grad
from isotherm.kernels.softmin.triton import launch_softmin, softmin_ragged
from isotherm.kernels.source import Formula

N = 100
CASES = [("sqeuclidean", 3, "float32"), ("sqeuclidean", 70, "float32"), ("sqeuclidean", 70, "float64")]
for kind, dimension, dtype in [*CASES, ("euclidean", 9, "float32"), ("dot", 5, "float32"), ("stored", N, "float32")]:
    x, values = torch.zeros(N, dimension), torch.zeros(N, 70, dtype=getattr(torch, dtype))
    x, h, starts = x.to(values.dtype), values[:, 0].contiguous(), torch.zeros(3, dtype=torch.int64)
    formula = Formula(kind, x, None if kind == "stored" else x.clone())
    launch_softmin(formula, h, epsilon=0.1, guess=h)
    launch_plan_apply(formula, h, h, values, epsilon=0.1)
    if kind == "sqeuclidean" and dtype == "float32":
        launch_softmin(formula, h, epsilon=0.1)
        softmin_ragged(formula, h, (starts, starts, 50), epsilon=0.1)
        plan_rows(formula, h, h, epsilon=0.1)
        plan_cost(formula, h, h, epsilon=0.1)
        launch_conditional_mean(formula, h, values, epsilon=0.1)
        hard_min(formula, h)
    if kind != "stored":
        source_grad(formula, h, h, epsilon=0.1)
        source_grad(formula, h, h, (values[:, :1], values[:, :1]), epsilon=0.1)
        source_grad(formula, h, h, (values, values), epsilon=0.1)
'''


@pytest.mark.slow  # 40 s, unless Triton finds the code in its cache
def test_triton_kernels_compile() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    names = set(done.stdout.split())
    assert names >= {"softmin_kernel", "hard_min_kernel", "plan_rows_kernel", "plan_apply_kernel", "plan_grad_kernel"}
