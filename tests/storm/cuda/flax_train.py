"""Flax and Optax, memory taken as it is needed: XLA_PYTHON_CLIENT_PREALLOCATE=false."""

import os

import digests

os.environ.setdefault("XLA_FLAGS", "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0")
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy
import optax

if jax.default_backend() != "gpu":
    digests.absent("this JAX sees no GPU")


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        for features in (32, 64):
            x = nn.relu(nn.Conv(features, (3, 3), strides=2)(x))
        return nn.Dense(10)(x.reshape((x.shape[0], -1)))


net, optimizer = Net(), optax.adamw(1e-3)
parameters = net.init(jax.random.PRNGKey(1), jnp.zeros((1, 32, 32, 3)))
state = optimizer.init(parameters)


@jax.jit
def steps(parameters, state, key):
    """Twenty of them, in one loop on the device."""
    def one(carry, key):
        parameters, state = carry
        x = jax.random.normal(key, (64, 32, 32, 3))
        y = jax.random.randint(key, (64,), 0, 10)

        def loss(parameters):
            return optax.softmax_cross_entropy_with_integer_labels(net.apply(parameters, x), y).mean()
        value, slope = jax.value_and_grad(loss)(parameters)
        change, state = optimizer.update(slope, state, parameters)
        return (optax.apply_updates(parameters, change), state), value
    return jax.lax.scan(one, (parameters, state), jax.random.split(key, 20))


for number in range(digests.steps(150)):
    (parameters, state), values = steps(parameters, state, jax.random.PRNGKey(number))
digests.tell("loss", float(values[-1]))
digests.show("parameters", *map(numpy.asarray, jax.tree.leaves(parameters)))
