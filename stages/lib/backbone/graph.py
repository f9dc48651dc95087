#!/usr/bin/env python3
"""Walk the graph of a Keras model, and build it once more, node by node."""
from stages.lib.common.keras_runtime import keras, tf


def nodes(model):
    """Return the nodes of a model's graph, inputs first, in order."""
    return [node for depth in sorted(model._nodes_by_depth, reverse=True)
            for node in model._nodes_by_depth[depth]]


def rebuild(model, tensor, call):
    """Return the output of a copy of `model` for `tensor`.

    Models in models are replaced by their layers.

    Args:
        model: keras.Model of one input.
        tensor: symbolic, in place of its input.
        call: function of a layer, the arguments and the keywords of a call of
            it, which contain new tensors; returns what stands for its output.
    """
    def put(names_of, values):
        """Remember tensors, as often as they are used."""
        for old, new in zip(tf.nest.flatten(names_of),
                            tf.nest.flatten(values)):
            key = str(id(old))
            found[key] = [new] * model._tensor_usage_count[key]

    found = {}
    put(model.inputs, tensor)
    for node in nodes(model):
        if node.is_input:
            continue
        words, named = node.map_arguments(found)
        put(node.outputs, rebuild(node.layer, words[0], call) if isinstance(
            node.layer, keras.Model) else call(node.layer, words, named))
    outputs = [found[str(id(one))].pop() for one in model.outputs]
    return outputs[0] if len(outputs) == 1 else outputs


class Copies:
    """Copies of layers, each made once, and their weights."""

    def __init__(self, copy):
        """Begin without a layer.

        Args:
            copy: function of a layer; returns a layer of its own.
        """
        self._copy, self._pairs = copy, {}

    def __getitem__(self, layer):
        """Return the copy of `layer`."""
        if id(layer) not in self._pairs:
            self._pairs[id(layer)] = layer, self._copy(layer)
        return self._pairs[id(layer)][1]

    def set_weights(self):
        """Give each copy, which was called before, its layer's weights."""
        set_weights(self._pairs.values())


def set_weights(pairs):
    """Give the second layer of each pair the weights of the first."""
    for old, new in pairs:
        new.set_weights(old.get_weights())
        if isinstance(new, keras.layers.Normalization):
            new.finalize_state()
