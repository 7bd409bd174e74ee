"""Deep graphs, memory and threads: depth bounded by memory alone, nothing left behind.
Freeing is observed with the cycle collector switched off."""

import gc
import inspect
import signal
import sys
import threading
import time
import weakref
from contextlib import contextmanager

import numpy as np
import pytest

import mytorch.nn.functional as F
from central_differences import function, leaf, uneven
from mytorch import deep_recursion
from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.sequential import Sequential
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor

class Canary:
    """Kept by a graph: a weak reference to it tells when that part of the graph is freed."""


@contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def unchanged(ctx, a, *kept):
    ctx.kept = kept
    return Tensor(a.data)


def fail(ctx, grad_output):
    raise ZeroDivisionError("planted")


PassOn = function(unchanged, lambda ctx, grad_output: grad_output)
Fail = function(unchanged, fail)


def chain(start, length):
    for _ in range(length):
        start = PassOn.apply(start)
    return start


def limits():
    return sys.getrecursionlimit(), threading.stack_size()


@pytest.fixture
def limits_before():
    """What ``limits()`` is to be again after a test; the stack size starts as Python's own."""
    threading.stack_size(0)
    return limits()


@pytest.mark.parametrize("operation, length", [(PassOn.apply, 20_000), (lambda a: a * 1.0, 5_000)])
def test_a_long_chain_goes_backward_and_is_freed_with_its_last_result(
        operation, length, limits_before):
    a, canary = leaf([1.0]), Canary()
    alive = weakref.ref(canary)
    with no_collector():
        output = PassOn.apply(a, canary)
        del canary
        for _ in range(length):
            output = operation(output)
        output.backward()
        assert alive() is not None
        del output
        assert alive() is None
    assert (a.grad.data.tolist(), limits()) == ([1], limits_before)


def test_an_intermediate_result_that_no_operation_saved_is_freed_at_once():
    with no_collector():
        intermediate = leaf([1.0]) + 1.0
        alive, output = weakref.ref(intermediate), intermediate + 1.0
        del intermediate
        assert alive() is None and output.requires_grad


@pytest.mark.parametrize("room", [700, 40])
def test_a_deep_graph_may_be_walked_when_the_caller_is_deep_itself(room, limits_before):
    a = leaf([1.0])

    def call_from(depth):
        if depth:
            return call_from(depth - 1)
        return chain(a, 5_000).backward()

    call_from(sys.getrecursionlimit() - len(inspect.stack(0)) - room)
    assert (a.grad.data.tolist(), limits()) == ([1], limits_before)


@pytest.mark.parametrize("length", [10, 5_000])
def test_backward_may_be_called_inside_a_backward(length):
    inner, outer = leaf([1.0]), leaf([1.0])

    def backward(ctx, grad_output):
        chain(inner, length).backward()
        return grad_output

    nested = function(unchanged, backward).apply(chain(outer, length))
    chain(nested, length).backward()
    assert (inner.grad.data, outer.grad.data) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("input_requires_grad", [False, True])
def test_500_training_steps_leave_neither_objects_nor_memory_behind(input_requires_grad):
    model = Sequential(Linear(3, 2), BatchNorm1d(2), ReLU())
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs, labels, held = uneven(6, 3), Tensor(np.arange(6) % 2), []
    with no_collector():
        for steps in (200, 500):  # the first ones fill Python's own stores of freed tuples
            for _ in range(steps):
                optimizer.zero_grad()
                x = Tensor(inputs.copy(), requires_grad=input_requires_grad)
                F.cross_entropy(model(x), labels).backward()
                optimizer.step()
            if input_requires_grad:  # leaves and their nodes hold each other
                gc.collect()
            held.append(np.array([len(gc.get_objects()), sys.getallocatedblocks()]))
    assert (held[1] - held[0] < 250).all()


# What a deep walk changes for its time

@pytest.fixture(params=[False, True], ids=["here", "in a thread"])
def in_a_thread(request, monkeypatch):
    """Deep walks as on 3.11 and newer, and as on 3.10 and older, whatever Python runs."""
    if not request.param and deep_recursion.CALLS_TAKE_C_STACK:
        pytest.skip("this Python needs the thread")
    monkeypatch.setattr(deep_recursion, "CALLS_TAKE_C_STACK", request.param)


@pytest.mark.parametrize("enabled", [True, False])
def test_collector_and_limits_are_changed_in_a_deep_walk_alone_and_put_back_after_an_exception(
        enabled, in_a_thread, limits_before):
    a, seen = leaf([1.0]), []
    look = function(unchanged, lambda ctx, grad_output: seen.append(gc.isenabled()) or grad_output)
    (gc.enable if enabled else gc.disable)()
    try:
        look.apply(leaf([1.0])).backward()
        look.apply(chain(leaf([1.0]), 5_000)).backward()
        with pytest.raises(ZeroDivisionError, match="planted"):
            chain(Fail.apply(a), 5_000).backward()
        assert seen == [enabled, False] and gc.isenabled() == enabled
        assert limits() == limits_before and a.grad is None
    finally:
        gc.enable()


@pytest.mark.slow
def test_two_threads_may_each_walk_a_deep_graph_at_the_same_time(in_a_thread, limits_before):
    leaves = [leaf([float(number)]) for number in range(4)]

    def walk(a):
        for _ in range(2):
            (a * a + chain(a, 20)).backward()
            chain(a, 2_000).backward()

    threads = [threading.Thread(target=walk, args=(a,)) for a in leaves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.grad.data.tolist() for a in leaves] == [[2 * (2 * n + 2)] for n in range(4)]
    assert limits() == limits_before


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no pthread_kill here")
def test_an_interrupt_ends_a_deep_walk_before_it_is_raised(in_a_thread, limits_before):
    a, ended = leaf([1.0]), []

    def interrupt(ctx, grad_output):
        time.sleep(0.1)  # by then the caller waits
        try:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            for _ in range(100):
                time.sleep(0.01)
        finally:
            ended.append(True)
        return grad_output

    slow = function(unchanged, interrupt)
    with pytest.raises(KeyboardInterrupt):
        chain(slow.apply(chain(a, 1_000)), 1_000).backward()
    assert (a.grad, ended, limits()) == (None, [True], limits_before)


def test_numpys_errstate_holds_in_a_deep_walk_too(in_a_thread):
    divide = function(unchanged, lambda ctx, grad_output: Tensor(grad_output.data / 0.0))
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        chain(divide.apply(leaf([1.0])), 1_000).backward()
