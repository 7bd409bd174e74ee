"""The guard of the handout, by planted leaks: what it must refuse, and what it must let pass.
First code that hands gradients down a graph, then lines of a solution, then marks."""

import textwrap

import handout
import leaks
import pytest

WALKS = {  # ways to run nodes, each beside a way to find them
    "a node's apply": """
        def descend(n, g):
            for p, share in zip(n.next_functions, n.apply(g)):
                descend(p, share)
        """,
    "no function at all": """
        while todo:
            node, grad = todo.pop()
            todo.extend(zip(node.next_functions, node.apply(grad)))
        """,
    "the operation's backward": """
        def down(node, grad):
            return [down(p, g) for p, g in zip(
                node.next_functions, node.function.backward(node.ctx, grad))]
        """,
    "getattr": """
        def down(node, grad):
            for p, g in zip(getattr(node, "next_functions"), getattr(node, "apply")(grad)):
                down(p, g)
        """,
    "another name for apply": """
        def down(node, grad):
            run = node.apply
            for p, g in zip(node.next_functions, run(grad)):
                down(p, g)
        """,
    "a class's apply": """
        def down(nodes, grad):
            for node in nodes:
                down(node.next_functions, BackwardFunction.apply(node, grad))
        """,
    "filter and reduce": """
        def down(nodes, grad):
            reduce(lambda found, node: found + node.next_functions, filter(nodes[0].apply, grad), [])
        """,
}


def walks(**files):
    return list(leaks.graph_walks({name.replace("_py", ".py"): textwrap.dedent(text)
                                   for name, text in files.items()}))


@pytest.mark.parametrize("way", WALKS)
def test_code_that_hands_gradients_down_a_graph_is_found_written_as(way):
    (complaint,) = walks(a_py=WALKS[way])
    assert complaint.startswith("a.py:") and "hands gradients down a graph" in complaint


@pytest.mark.parametrize("asking, call", [
    ("from show.graph import parents_of", "parents_of(n)"),
    ("from show import graph", "graph.parents_of(n)"),
    ("import show.graph as g", "g.parents_of(n)")])
def test_such_code_is_found_spread_over_two_files(asking, call):
    (complaint,) = leaks.graph_walks({
        "show/graph.py": "def parents_of(node):\n    return node.next_functions\n",
        "trace.py": f"{asking}\ndef down(n, grad):\n    for p, share in zip({call}, n.apply(grad)):\n"
                    "        down(p, share)\n"})
    assert complaint.startswith("trace.py:3: ")


@pytest.mark.parametrize("prompt", ["", ">>> "])
def test_such_code_is_found_in_a_text(prompt):
    block = textwrap.indent(WALKS["a node's apply"].replace("\n        ", "\n").strip() + "\n", prompt)
    text = f"Like this:\n\n```python\n{block}```\n\n```python\nfor node in ...\n```\n"
    assert len(list(leaks.graph_walks({"hw1/README.md": text}))) == 1


INNOCENT = {
    "counting nodes": """
        def count(root):
            todo, seen = [root], {root}
            while todo:
                for parent in todo.pop().next_functions:
                    if parent not in seen:
                        seen.add(parent)
                        todo.append(parent)
        """,
    "watching apply from outside": """
        def watch(tensor):
            for cls in (BackwardFunction, AccumulateGrad):
                original = cls.apply

                def watched(node, grad):
                    shares = original(node, grad)
                    note(node, list(zip(node.next_functions, shares)))
                    return shares
                cls.apply = watched
            tensor.backward()
        """,
    "forward passes and the student's backward": """
        for a in leaves:
            b = F.Mul.apply(a, a)
            b.backward()
            engine = autograd_engine.backward(b.grad_fn, ones)
            print(b.grad_fn.next_functions)
        """,
    "an operation looked up": """
        def place(node):
            return getattr(node.function.backward, "__code__", None), node.next_functions
        """,
    "running nodes, and not finding them": """
        def run(case):
            for node in case.order:
                case.visit(node).apply(1)
        """,
}


@pytest.mark.parametrize("way", INNOCENT)
def test_other_code_passes_such_as(way):
    other = "def visit(node):\n    return node.next_functions\n"
    assert walks(a_py=INNOCENT[way], b_py=other) == []


def test_the_reference_engine_itself_would_be_found():
    name = "mytorch/autograd_engine.py"
    text = (handout.ROOT / name).read_text(encoding="utf-8")
    assert list(leaks.graph_walks({name: text})) and not list(
        leaks.graph_walks({name: handout.hand_out(name, text)}))


# Lines of a solution.


def survivors(text, solution):
    return list(leaks.surviving_lines({"other.py": text}, {solution: "a.py:3"}))


@pytest.mark.parametrize("text", [
    "x = 1\n    grad_a = grad * b.data\n", "grad_a=grad*b.data", "# so: grad_a = grad * b.data"])
def test_a_telling_line_is_found_wherever_it_stands(text):
    (complaint,) = survivors(text, "    grad_a = grad * b.data")
    assert complaint.startswith("other.py:") and "from a.py:3: grad_a = grad * b.data" in complaint


def test_a_short_line_is_found_alone_but_not_inside_another():
    assert survivors("x = layer(x)", "x = layer(x)")
    assert survivors("max = layer(x)", "x = layer(x)") == []


@pytest.mark.parametrize("line, telling", [
    ("", False), ("for layer in self.layers:", False), ("loss.backward()", False),
    ("def forward(ctx, a, b):", False), ("@staticmethod", False), ("raise RuntimeError(", False),
    ("a, b = ctx.saved_tensors", False), ("# both of them", False),
    ("x = layer(x)", True), ("return -a", True), ("grad[rows] -= 1", True), ("if a == 2:", True),
    ("# the sums wait until all of them have come", True)])
def test_a_line_is_telling_if_it_computes_or_explains(line, telling):
    assert leaks.is_telling(line) == telling


def test_the_operations_that_are_given_may_say_the_same_and_other_given_lines_may_not():
    text = "class Add(Function):\n    x = a.data + 1\n\nclass Other:\n    y = a.data + 2\n"
    assert survivors(text, "x = a.data + 1") == []
    assert survivors(text, "y = a.data + 2")[0].startswith("other.py:5: a line of the solution")


# Marks, and all of it on the whole tree.


@pytest.mark.parametrize("line", ["    # END SOLUTION 2.4", "SOLUTION", "#BEGIN  SOLUTION"])
def test_a_surviving_mark_is_found_in_any_file(line):
    assert list(leaks.surviving_marks({"grade.sh": "a\n" + line})) == [
        f"grade.sh:2: a mark would survive: {line.strip()}"]


@pytest.fixture(scope="module")
def reference():
    """The files that hold solutions, and those that are planted into."""
    return {name: text for name, text in handout.read_given(handout.ROOT).items()
            if name.startswith(("mytorch/", "hw1/mnist.py", "sandbox.py", "grade.sh"))
            or name.endswith("test_mlp.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name, planted, complaint", [
    ("sandbox.py", textwrap.dedent(WALKS["no function at all"]), "hands gradients down a graph"),
    ("autograder/hw1_autograder/test_mlp.py",
     "grad_a = Tensor(unbroadcast(grad_output.data * b.data, a.shape))",
     "a line of the solution would survive, from mytorch/nn/functional.py"),
    ("grade.sh", "# END SOLUTION 1.2", "a mark would survive"),
])
def test_the_builder_refuses_a_tree_with_such_a_leak(name, planted, complaint, reference, monkeypatch):
    leaky = {**reference, name: reference[name] + "\n" + planted + "\n"}
    monkeypatch.setattr(handout, "read_given", lambda root: leaky)
    with pytest.raises(handout.HandoutError, match=f"^{name}:[0-9]+: .*{complaint}"):
        handout.make(handout.ROOT)
