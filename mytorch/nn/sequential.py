"""Sequential: layers one after another, as one module.
The output of each is the input of the next."""

from mytorch.nn.module import Module


class Sequential(Module):
    """Calls its layers in order.

    Args:
        *layers (Module): any number of layers.

    Attributes:
        layers (tuple): the modules in it, in the order in which they were assigned;
            ``model[i]``, ``len(model)`` and iteration work too; ``model[:2]`` is a Sequential.

    Raises:
        TypeError: if a layer is not a Module.

    >>> model = Sequential(Linear(784, 20), ReLU(), Linear(20, 10))
    """

    def __init__(self, *layers):
        super().__init__()
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)

    @property
    def layers(self):
        """The registered modules: what an optimizer trains is what ``forward`` calls."""
        return tuple(self.children().values())

    def forward(self, x):
        """x (Tensor): what the first layer takes. Returns what the last one returns."""
        # BEGIN SOLUTION 2.1: pass x through the layers
        for layer in self.layers:
            x = layer(x)
        return x
        # END SOLUTION 2.1

    def __iter__(self):
        return iter(self.layers)

    def __len__(self):
        return len(self.layers)

    def __getitem__(self, index):
        found = self.layers[index]
        return Sequential(*found) if isinstance(index, slice) else found
