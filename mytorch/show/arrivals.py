"""Where the gradients that arrive at a node come from, found by comparing what was seen.
One arrives alone, in a sum of several, or, in a wrong engine, changed or at another node."""

from itertools import combinations

import numpy as np

from mytorch.show import graph


def find_sources(watch):
    """Set ``call.sources``, a list of the Shares whose sum arrived, or None if there are none
    such, and ``share.arrived_in``. The calls of one graph.key_of belong together."""
    passed = {}
    for call in watch.calls:
        call.sources = sources_of(call, passed, watch.writes)
        for share in call.sources or ():
            share.arrived_in.append(call)
        for share in call.shares:
            if share.array is not None:
                key = graph.key_of(share.node) if share.node is not None else None
                passed.setdefault(key, []).append(share)


def sources_of(call, passed, writes):
    """The Shares that what arrived in ``call`` consists of, or None. The first that fits is
    taken: whole and on the right way before changed, repeated, or meant for another node."""
    if call.array is None:
        return []
    mine = passed.get(call.key, [])
    waiting = [share for share in mine if not share.arrived_in]
    candidates = [[share] for share in waiting if share.array is call.array]
    candidates += [*groups(waiting), *groups(mine)]
    for group in candidates:
        if fits(call.copy, [share.copy for share in group]):
            return group
    for group in candidates:  # written into on the way
        if fits(call.copy, [content(share, call, writes) for share in group]):
            return group
    others = [share for key, shares in passed.items() if key != call.key for share in shares
              if call.node in graph.inputs_of(share.call.node)]
    found = [share for share in others if share.array is call.array]
    if not found and not any(share.call.array is call.array for share in others):
        found = [share for share in others if fits(call.copy, [share.copy])]
    return found[-1:] or None


def groups(shares):
    """All of some Shares, then each of them, late ones first; of few also all other parts."""
    sizes = range(1, len(shares)) if len(shares) <= 8 else [1]
    return [shares] * bool(shares) + [
        list(some) for size in sizes for some in combinations(shares[::-1], size)]


def content(share, call, writes):
    """What the array of a Share held when ``call`` began."""
    held = [write.after for write in writes if write.what is share.array
            and (write.call is None or write.call.step < call.step)]
    return held[-1] if held else share.copy


def total(arrays):
    """The sum of some ndarrays, at least one."""
    return sum(arrays[1:], arrays[0])


def fits(array, parts):
    """Whether ``array`` is the sum of ``parts``, as far as their precision tells; numbers that
    are not finite are not held against anybody."""
    if array is None or any(part is None or part.shape != array.shape for part in parts):
        return False
    kinds = {part.dtype for part in [array, *parts]}
    allowed = max(1000 * np.finfo(kind if kind.kind == "f" else float).eps for kind in kinds)
    array, *parts = [np.asarray(part, float) for part in [array, *parts]]  # masks can't be added
    with np.errstate(all="ignore"):
        difference = array - total(parts) if parts else array
        scale = sum(np.abs(part) for part in parts) + np.abs(array)
        return not np.any(np.abs(difference) > allowed * scale)
