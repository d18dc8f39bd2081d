"""JAX with its own arena of most of the device."""

import os

import digests

# Else which kernels it takes is a matter of what was fastest when it tried.
os.environ.setdefault("XLA_FLAGS", "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0")
import jax
import jax.numpy as jnp
import numpy

if jax.default_backend() != "gpu":
    digests.absent("this JAX sees no GPU")


@jax.jit
def step(parameters, x, y):
    def loss(parameters):
        hidden = jnp.tanh(x @ parameters[0])
        return jnp.mean((hidden @ parameters[1] - y) ** 2)
    value, slope = jax.value_and_grad(loss)(parameters)
    return [p - 0.05 * s for p, s in zip(parameters, slope)], value


key = jax.random.PRNGKey(1)
parameters = [jax.random.normal(key, (512, 2048)) / 30, jax.random.normal(key, (2048, 64)) / 50]
for number in range(digests.steps(1500)):
    key, part = jax.random.split(key)
    x = jax.random.normal(part, (256, 512))
    parameters, value = step(parameters, x, x[:, :64])
digests.tell("loss", float(value))
digests.show("parameters", *map(numpy.asarray, parameters))
